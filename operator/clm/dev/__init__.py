"""The embedded environment: PostgreSQL, token and control plane on one machine, for evaluation and tests."""
