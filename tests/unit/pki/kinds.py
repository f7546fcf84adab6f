"""One certificate and one CRL of every kind that CLM makes: for linters that it had no hand in."""

from __future__ import annotations

import dataclasses
import uuid
from datetime import timedelta
from functools import cache
from typing import Any

from cryptography.x509.oid import NameOID

from clm.pki.algorithms import signature_hash
from clm.pki.assemble import assemble_crl
from clm.pki.chain import to_pem
from clm.pki.crl import CrlPlan, RevokedEntry, build_crl, encode_entries, next_number
from clm.pki.profile import Urls
from clm.pki.tbs import ThrowawayKeys
from clm.pki.urls import crl_url
from clm.resources.keys import KeySpec
from tests.unit.pki.issuing import LEAF, NOW, P256, ROOT, Authority, Keys, certificate_spec, sign
from tests.unit.pki.requests import csr, spec_of
from tests.unit.pki.test_profile import RICH

_URLS = Urls(crl=("http://pki.example/crl",), ocsp=("http://pki.example/ocsp",), ca_issuers=("http://pki.example/ca",))
_CONSTRAINTS = {
    "permitted": {
        "dnsDomains": ["shop.example"],
        "ipRanges": ["10.0.0.0/8", "2001:db8::/32"],
        "emailAddresses": ["shop.example"],
        "uriDomains": ["shop.example"],
    },
    "excluded": {"dnsDomains": ["secret.shop.example"]},
}
_INTERMEDIATE: dict[str, Any] = {"commonName": "Issuing", "isCA": True, "duration": "720h"}
_RSA, _P384, _P521, _ED = (
    KeySpec("RSA", 2048),
    KeySpec("ECDSA", 384),
    KeySpec("ECDSA", 521),
    KeySpec("Ed25519", 256),
)

# Every kind of leaf, by what is asked for and the key that is certified.
_LEAVES: dict[str, tuple[dict[str, Any], KeySpec]] = {
    "P-256": (LEAF, P256),
    "P-384": (LEAF, _P384),
    "P-521": (LEAF, _P521),
    "RSA": (LEAF, _RSA),
    "Ed25519": (LEAF, _ED),
    "wildcard": ({"dnsNames": ["*.shop.example"], "usages": ["server auth"]}, P256),
    "every name": (RICH | {"dnsNames": ["web.shop.example", "xn--mnchen-3ya.example"]}, _P384),
    "no subject": ({"dnsNames": ["only.example"], "usages": ["server auth"]}, P256),
    "SPIFFE": ({"uris": ["spiffe://shop/ns/a/sa/b"], "usages": ["digital signature", "client auth"]}, P256),
    "literal subject": ({"literalSubject": "UID=web,CN=web+OU=Shop,DC=shop,DC=example"}, P256),
    "client": ({"commonName": "web", "usages": ["digital signature", "client auth"]}, P256),
    "code": ({"commonName": "web", "usages": ["digital signature", "code signing"]}, P256),
    "mail": ({"emailAddresses": ["a@shop.example"], "usages": ["digital signature", "email protection"]}, _RSA),
    "time stamping": ({"commonName": "tsa", "usages": ["digital signature", "timestamping"]}, P256),
    "own usage": ({"commonName": "web", "usages": ["digital signature", "1.3.6.1.4.1.55555.1"]}, P256),
    "key agreement": ({"commonName": "web", "usages": ["key agreement", "decipher only"]}, P256),
    "default usages": ({"commonName": "web"}, _RSA),
    "SHA-512": (LEAF | {"signatureAlgorithm": "ECDSAWithSHA512"}, P256),
}
_AUTHORITIES: dict[str, dict[str, Any]] = {
    "CA": {},
    "CA with a path length": {"maxPathLen": 0},
    "CA with constraints": {"nameConstraints": _CONSTRAINTS},
    "CA with lax constraints": {"nameConstraints": {"critical": False, **_CONSTRAINTS}},
    "CA with purposes": {"usages": ["digital signature", "server auth", "client auth", "ocsp signing"]},
}


@cache
def certificates() -> dict[str, bytes]:
    """Every kind of certificate in DER, each with its name."""
    keys, throwaway = Keys(), ThrowawayKeys()
    made: dict[str, bytes] = {}
    for kind in (P256, _P384, _P521, _RSA, _ED):
        root = Authority.root(keys, throwaway, ROOT, kind)
        made[f"root {kind}"] = root.issuer.chain[0]
        made[f"below {kind}"] = root.issue(certificate_spec(LEAF), keys.get("leaf"), _URLS)
    root = Authority.root(keys, throwaway)
    for name, (manifest, kind) in _LEAVES.items():
        made[name] = root.issue(certificate_spec(manifest, kind), keys.get("leaf", kind), _URLS)
    made["without URLs"] = root.leaf()
    for name, (request, more) in _requests(keys).items():
        made[name] = root.issue(spec_of(request, duration="24h", **more), keys.get("brought"), _URLS)
    for name, more in _AUTHORITIES.items():
        made[name] = root.issue(certificate_spec(_INTERMEDIATE | more), keys.get(name), _URLS)
        made[f"{name}, RSA"] = root.issue(certificate_spec(_INTERMEDIATE | more, _RSA), keys.get(name, _RSA), _URLS)
    responder = certificate_spec({"commonName": "OCSP", "usages": ["digital signature", "ocsp signing"]})
    made["OCSP responder"] = root.issue(responder, keys.get("ocsp"), Urls(ca_issuers=_URLS.ca_issuers), no_check=True)
    return made


def _requests(keys: Keys) -> dict[str, tuple[str, dict[str, Any]]]:
    """Requests that somebody brings, with what the spec says besides."""
    key = keys.get("brought")
    web = [(NameOID.COMMON_NAME, "web")]
    authority = [*web, (NameOID.ORGANIZATION_NAME, "Shop"), (NameOID.COUNTRY_NAME, "DE")]
    domain = [(NameOID.DOMAIN_COMPONENT, "example"), (NameOID.DOMAIN_COMPONENT, "shop"), (NameOID.COMMON_NAME, "web")]
    return {
        "request": (csr(key=key, subject=web), {"usages": ["digital signature", "server auth"]}),
        "request, literal subject": (csr(key=key, subject=domain), {}),
        "request for a CA": (csr(key=key, subject=authority, names=()), {"isCA": True, "maxPathLen": 0}),
    }


@cache
def crls() -> dict[str, bytes]:
    """Every kind of CRL in DER, each with its name."""
    keys, throwaway = Keys(), ThrowawayKeys()
    entries = [
        RevokedEntry(2**100 + code, NOW, code, NOW - timedelta(days=1) if code == 1 else None)
        for code in (0, 1, 2, 3, 4, 5, 9)
    ]
    url = crl_url("http://pki.example", uuid.UUID(int=1), shards=4, shard=3)
    made: dict[str, bytes] = {}
    for kind in (P256, _P384, _RSA, _ED):
        root = Authority.root(keys, throwaway, ROOT, kind)
        plan = CrlPlan(
            issuer=root.issuer, number=next_number(None, NOW), this_update=NOW, next_update=NOW + timedelta(days=1)
        )
        partition = dataclasses.replace(plan, shards=4, shard=3, urls=(url,))
        for name, one, listed in (("empty", plan, []), ("full", plan, entries), ("partition", partition, entries)):
            draft = build_crl(one, encode_entries(listed, throwaway=throwaway), throwaway=throwaway)
            signature = sign(root.key, kind, draft.tbs, signature_hash(kind))
            made[f"{name} {kind}"] = assemble_crl(draft.tbs, signature, spec=kind)
    return made


def crl_pem(der: bytes) -> bytes:
    """Write a CRL in PEM (RFC 7468 6)."""
    return to_pem(der).replace(b"CERTIFICATE", b"X509 CRL")
