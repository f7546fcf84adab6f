"""A Certificate against a Policy, from manifests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clm.pki.csr import requested
from clm.pki.known_keys import PublishedKeys
from clm.policy.evaluate import Decision, Request, evaluate
from clm.resources.certificate import parse_certificate
from clm.resources.policy import parse_policy

if TYPE_CHECKING:
    from collections.abc import Mapping

BASE: dict[str, Any] = {"policyRef": {"name": "p"}, "secretName": "s"}
NAME = {"commonName": "web.shop.svc"}
ANY = {"values": ["*"]}
OPEN: dict[str, Any] = {
    "commonName": ANY,
    "dnsNames": ANY,
    "uris": ANY,
    "emailAddresses": ANY,
    "ipAddresses": {"cidrs": ["0.0.0.0/0", "::/0"]},
    "otherNames": [{"oid": "1.2.3", "values": ["*"]}],
    "subject": {
        "organizations": ANY,
        "countries": ANY,
        "organizationalUnits": ANY,
        "localities": ANY,
        "provinces": ANY,
        "streetAddresses": ANY,
        "postalCodes": ANY,
        "serialNumber": ANY,
    },
    "usages": ["digital signature", "key encipherment", "server auth", "cert sign", "crl sign"],
    "isCA": True,
}


def decide(
    certificate: Mapping[str, Any],
    *,
    allowed: Mapping[str, Any] | None = None,
    constraints: Mapping[str, Any] | None = None,
    namespaces: Mapping[str, Any] | None = None,
    namespace: str = "shop",
    labels: Mapping[str, str] | None = None,
) -> Decision:
    """Hold a manifest against a Policy that is open where nothing else is said."""
    policy = parse_policy(
        {
            "issuer": {"selfSigned": {}},
            "allowed": OPEN if allowed is None else allowed,
            "constraints": constraints,
            "namespaces": namespaces,
        }
    )
    spec = requested(parse_certificate(BASE | dict(certificate)), PublishedKeys())
    return evaluate(Request(spec=spec, namespace=namespace, namespace_labels=labels or {}), policy)
