variable "name" {
  description = "Start of every name."
  type        = string
  default     = "clm"
}

variable "vpc_id" {
  description = "VPC of the databases."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets, in two availability zones at least."
  type        = list(string)
}

variable "secure_client_groups" {
  description = "Security groups that reach clm_secure_db, by names of your choice: the operator's and the auditors'."
  type        = map(string)
}

variable "core_client_groups" {
  description = "Security groups that reach clm_core_db, likewise: those two, and the API's, webhook's and responder's."
  type        = map(string)
}

variable "postgres_major" {
  description = "Major version of PostgreSQL, 15 or newer."
  type        = string
  default     = "17"
}

variable "instance_class" {
  description = "Size of each instance."
  type        = string
  default     = "db.m7g.large"
}

variable "storage_gib" {
  description = "Storage of each instance at first; it grows to ten times that."
  type        = number
  default     = 50
}

variable "secure_backup_days" {
  description = "Days to which clm_secure_db can be restored. It holds the keys of erased persons for as long."
  type        = number
  default     = 14
}

variable "core_backup_days" {
  description = "Days to which clm_core_db can be restored."
  type        = number
  default     = 35
}
