"""Writes to the API server: Secrets, status, Events. And the watch of Secrets, metadata only."""
