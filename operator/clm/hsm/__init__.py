"""PKCS#11: token sessions, signing keys, key wrapping and the capability probe."""
