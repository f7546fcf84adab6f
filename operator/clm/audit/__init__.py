"""Sealing of the audit logs, and the proof that they are what was sealed."""
