# The two databases of CLM on AWS RDS: two instances, two keys, two networks' worth of rules. Users and schema come
# after it: docs/database-quickstart.md.

terraform {
  required_version = ">= 1.9"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.80, < 7.0"
    }
  }
}

locals {
  databases = {
    secure = { name = "clm_secure_db", backup_days = var.secure_backup_days }
    core   = { name = "clm_core_db", backup_days = var.core_backup_days }
  }
}

resource "aws_kms_key" "storage" {
  for_each            = local.databases
  description         = "Storage and backups of ${each.value.name}"
  enable_key_rotation = true
}

resource "aws_db_subnet_group" "this" {
  for_each   = local.databases
  name       = "${var.name}-${each.key}"
  subnet_ids = var.subnet_ids
}

# Only the security groups named in the variables come in, and nothing goes out.
resource "aws_security_group" "this" {
  for_each    = local.databases
  name        = "${var.name}-${each.key}"
  description = "Clients of ${each.value.name}"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  for_each = merge([
    for database, groups in { secure = var.secure_client_groups, core = var.core_client_groups } : {
      for client, group in groups : "${database}-${client}" => { database = database, group = group }
    }
  ]...)
  security_group_id            = aws_security_group.this[each.value.database].id
  referenced_security_group_id = each.value.group
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

resource "aws_db_parameter_group" "this" {
  for_each = local.databases
  name     = "${var.name}-${each.key}"
  family   = "postgres${var.postgres_major}"

  # Nobody comes in the clear, whatever the client asks for.
  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }
  parameter {
    name  = "ssl_min_protocol_version"
    value = "TLSv1.3"
  }
  parameter {
    name  = "password_encryption"
    value = "scram-sha-256"
  }
  # Values of parameters may be wrapped keys.
  parameter {
    name  = "log_parameter_max_length"
    value = "0"
  }
  parameter {
    name  = "log_parameter_max_length_on_error"
    value = "0"
  }
  parameter {
    name  = "log_connections"
    value = "1"
  }
}

resource "aws_db_instance" "this" {
  for_each       = local.databases
  identifier     = "${var.name}-${each.key}"
  engine         = "postgres"
  engine_version = var.postgres_major
  instance_class = var.instance_class
  db_name        = each.value.name

  # The administrator, who makes CLM's users once; no process of CLM connects as this user.
  username                    = "clm_admin"
  manage_master_user_password = true

  storage_type          = "gp3"
  allocated_storage     = var.storage_gib
  max_allocated_storage = var.storage_gib * 10
  storage_encrypted     = true
  kms_key_id            = aws_kms_key.storage[each.key].arn

  db_subnet_group_name   = aws_db_subnet_group.this[each.key].name
  vpc_security_group_ids = [aws_security_group.this[each.key].id]
  parameter_group_name   = aws_db_parameter_group.this[each.key].name
  publicly_accessible    = false
  multi_az               = true

  backup_retention_period         = each.value.backup_days
  copy_tags_to_snapshot           = true
  deletion_protection             = true
  skip_final_snapshot             = false
  final_snapshot_identifier       = "${var.name}-${each.key}-final"
  auto_minor_version_upgrade      = true
  enabled_cloudwatch_logs_exports = ["postgresql", "upgrade"]
  performance_insights_enabled    = true
}
