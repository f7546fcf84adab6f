output "dsns" {
  description = "Connection strings without user and password. rds-ca.pem is the bundle of the region's authorities."
  value = {
    for key, instance in aws_db_instance.this : key => join(" ", [
      "host=${instance.address} port=${instance.port} dbname=${instance.db_name}",
      "sslmode=verify-full sslrootcert=rds-ca.pem channel_binding=require",
    ])
  }
}

output "administrator_secrets" {
  description = "Secrets that hold the administrators' passwords."
  value       = { for key, instance in aws_db_instance.this : key => instance.master_user_secret[0].secret_arn }
}
