"""Pure X.509: names, profiles, to-be-signed certificates, chains, lint. No I/O, no Kubernetes, no PostgreSQL."""
