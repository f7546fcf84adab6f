"""What happens to a certificate. Only this room knows the order in which HSM, databases and cluster are touched."""
