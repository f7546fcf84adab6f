"""Keystores as Java and others read them: a private key with its chain, or certificates to trust, under a password.

What is written depends on nothing but what goes in: see `salts`.
"""
