"""CLM: a certificate authority and certificate lifecycle manager that lives in Kubernetes."""

__version__ = "0.1.0"
