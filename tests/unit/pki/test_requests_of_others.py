"""Requests as other programs make them: Java's keytool, Go's crypto/x509. OpenSSL's are in the end-to-end tests."""

from __future__ import annotations

from clm.pki.literal_subject import parse_literal_subject
from clm.pki.tbs import check_names
from clm.resources.keys import KeySpec
from clm.resources.subject import Subject
from tests.unit.pki.requests import spec_of

# keytool -certreq -ext san=dns:web.shop.svc -ext eku=serverAuth, with -dname "CN=web.shop.svc, O=Shop, C=DE"
_KEYTOOL = """
-----BEGIN NEW CERTIFICATE REQUEST-----
MIIBSzCB8wIBADAzMQswCQYDVQQGEwJERTENMAsGA1UEChMEU2hvcDEVMBMGA1UE
AxMMd2ViLnNob3Auc3ZjMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEJ/wRIM8g
VBAS/t/jl9/BWfyqgLNOM3dFFlWKipllvnTYSHWtMlXpLtIiUY2KtnQEei6lPROA
OUYn5d5si2Ib+KBeMFwGCSqGSIb3DQEJDjFPME0wHQYDVR0OBBYEFDYJ1dtMDJur
8R3Q009PWxnbk1OyMBcGA1UdEQQQMA6CDHdlYi5zaG9wLnN2YzATBgNVHSUEDDAK
BggrBgEFBQcDATAKBggqhkjOPQQDAgNHADBEAiA25DJhE5FEucEUpxT3YfbjFiFC
ThwwYASGuaPo2QGtZgIgNZKwQAinYOi9q9tKYWVxnqxzS0bJm5dTCD4GYzWZA84=
-----END NEW CERTIFICATE REQUEST-----
"""
# keytool -certreq, with -keyalg RSA -dname "EMAILADDRESS=a@b.example, CN=web.shop.svc, OU=x, DC=example, DC=org"
_KEYTOOL_DOMAIN = """
-----BEGIN NEW CERTIFICATE REQUEST-----
MIID4jCCAkoCAQAwbTETMBEGCgmSJomT8ixkARkWA29yZzEXMBUGCgmSJomT8ixk
ARkWB2V4YW1wbGUxCjAIBgNVBAsTAXgxFTATBgNVBAMTDHdlYi5zaG9wLnN2YzEa
MBgGCSqGSIb3DQEJARYLYUBiLmV4YW1wbGUwggGiMA0GCSqGSIb3DQEBAQUAA4IB
jwAwggGKAoIBgQCmOiKcjxiEhaKX0C3zOHQpJkK2Ik16yhBlHPH3rIY8cdKDLSgj
XlPci0aLXa0py00YY8cJoC0DUkTF4/XLA6pEji56UN5nAju7m2kmwI1ObJwCOiTB
Y9gstXHbae2ut6TWG40dvlR8I4wtDNnRA9j3uMJH3o4P9NY+v690JPLxL8A9lIKe
nOe8skBXJ/fVPIGlCmt+vi6c+GhqQ0mfXFLVmu12hvdlXr8oaejgWZbMQQAwR1in
X8xaH4tG6+0ZmwH3y05IihADxIM3UojmgFh62PO0sqUDO1NmzYkYcatNcOPSZMzT
vsm+o0dzj7/RJPNyAclN4XN7/882rat3VNwwKAmcLsPKDWsPR4EnDctQQnjNCHNY
lupd0oxmFC6qfalyJXujF0IW+Fmj4Tf/ITvnOvLSZhviSKysvtVjAR9r9dtNribY
bqASZxjyjuMRDMLqtJFtlPd/fkaqSxa/1gjiEATsRBwyVDJO8LjD9gk4IecNUDCF
kgG62qRbsEaoHx8CAwEAAaAwMC4GCSqGSIb3DQEJDjEhMB8wHQYDVR0OBBYEFC8+
NSaltkz0y5o2M2gSrZzElcdbMA0GCSqGSIb3DQEBCwUAA4IBgQBnVogS/hpvb9N3
/1DPbI2+qzQ/azbS8ogUKNcg4mFCs1WJ16MQcB8O1vx96XxuySyfPzAALRjRu9zl
H4M5dbAz5YyqQIj243Kw2zVwDmOLZ0oEGaiyqKBZPs9mq9MQfdqDMXOgDCWKVlOl
i8tviqzrL5waqS21rb68aoUm6fOTOn2ws0s4Hl6UdhHbM0N6jZ5xqudrt0U4jOsx
aCjQ2RtOiLgHIBnM6geSUxzW3fzuiW+mzp6MyohOaZPYVC2nRq/wBpei7CvSmR9x
1Xq6mH/urDJHWge4o4X2Qz4nnAdDQ4VnUWSqSKFLF21XtT8QSgso//kIH6SVwrTS
Wo6u2vuSJjuK9c4M3I3wP9qLZpX97Jphg7oqtsoc9k0Pnf/gFLTaQe0ZQv/OnaTZ
/pMmip5HEfAKFPn6lGHc+t/Ey7RDr8Ecsp3BPFR5cOeZeOYY23ShwMuuyEdGK86p
m7UPBt1TPh+ayBXuKHGifwF76GQz2f4GXXTeNw6vnaxwDCMc4YY=
-----END NEW CERTIFICATE REQUEST-----
"""
# x509.CreateCertificateRequest of Go, with names of every kind that it has
_GO = """
-----BEGIN CERTIFICATE REQUEST-----
MIIBjjCCARQCAQAwQDELMAkGA1UEBhMCREUxDTALBgNVBAoTBFNob3AxFTATBgNV
BAMTDHdlYi5zaG9wLnN2YzELMAkGA1UEBRMCMTcwdjAQBgcqhkjOPQIBBgUrgQQA
IgNiAATpNs+RVyygdwDUv4LGcLo80AwsF8FMrXOEZNDG6ADUDrBWEW0gag92hFYU
3pqIVl4IzDmpG4ttWO0sHs9aO/s2ZeE2aGPMBhzLJr175z9vt0OFSOVENIikLrfV
yDpwbhOgVTBTBgkqhkiG9w0BCQ4xRjBEMEIGA1UdEQQ7MDmCDHdlYi5zaG9wLnN2
Y4EQd2ViQHNob3AuZXhhbXBsZYcECgECA4YRc3BpZmZlOi8vc2hvcC93ZWIwCgYI
KoZIzj0EAwMDaAAwZQIxAMjtXJLA+rVJcSB0nBtbKGQ0zsw4/bpmUfGgcVNrREmW
eDk6c8bY9h7oT5cqDZwGMwIwCf88VrF5nyjX3CsRa9E5y5rn/X5UNbBpCrk2lYxl
Z8nOOD3ef6Rpk5sxh0QC+n0u
-----END CERTIFICATE REQUEST-----
"""


def test_keytool() -> None:
    """Its subject is of PrintableStrings, it writes NEW into the PEM label, and adds a key identifier."""
    spec = spec_of(_KEYTOOL, usages=["digital signature", "server auth"])
    check_names(spec)
    assert spec.private_key.key == KeySpec("ECDSA", 256)
    assert (spec.common_name, spec.dns_names) == ("web.shop.svc", ("web.shop.svc",))
    assert spec.subject == Subject(organizations=("Shop",), countries=("DE",))


def test_keytool_with_domain_components() -> None:
    """What has no field of its own is a literalSubject."""
    spec = spec_of(_KEYTOOL_DOMAIN)
    check_names(spec)
    assert spec.private_key.key == KeySpec("RSA", 3072)
    assert spec.literal_subject is not None
    read = parse_literal_subject(spec.literal_subject)
    assert read == parse_literal_subject("emailAddress=a@b.example,CN=web.shop.svc,OU=x,DC=example,DC=org")


def test_go() -> None:
    """Names of every kind that it can write."""
    spec = spec_of(_GO)
    check_names(spec)
    assert spec.private_key.key == KeySpec("ECDSA", 384)
    assert spec.subject == Subject(organizations=("Shop",), countries=("DE",), serial_number="17")
    assert (spec.dns_names, spec.ip_addresses) == (("web.shop.svc",), ("10.1.2.3",))
    assert (spec.uris, spec.email_addresses) == (("spiffe://shop/web",), ("web@shop.example",))
