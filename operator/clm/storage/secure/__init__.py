"""Access to clm_secure_db: keys, requests, certificates, their audit log and the outbox."""
