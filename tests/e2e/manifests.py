"""Manifests that the tests start from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.e2e.api import Manifest

API_VERSION = "clm-operator.io/v1alpha1"
CA_NAMESPACE = "clm-system"
ROOT, ISSUING, LEAF = "e2e-root", "e2e-issuing", "e2e-leaf"
"""Names of the Policies; the CAs have the names of what they are issued under."""

UPN = "1.3.6.1.4.1.311.20.2.3"
CA_USAGES = ["digital signature", "cert sign", "crl sign"]
LEAF_USAGES = ["digital signature", "key encipherment", "server auth", "client auth"]

_ANY = {"values": ["*"]}
_ATTRIBUTES = (
    "organizations",
    "countries",
    "organizationalUnits",
    "localities",
    "provinces",
    "streetAddresses",
    "postalCodes",
    "serialNumber",
)


def policy(name: str, issuer: dict[str, Any], **spec: object) -> Manifest:
    """Make a Policy that allows everything, but for what `spec` says."""
    allowed = {
        "commonName": _ANY,
        "dnsNames": _ANY,
        "uris": _ANY,
        "emailAddresses": _ANY,
        "ipAddresses": {"cidrs": ["0.0.0.0/0", "::/0"]},
        "otherNames": [{"oid": UPN, "values": ["*"]}],
        "subject": dict.fromkeys(_ATTRIBUTES, _ANY),
        "usages": [*LEAF_USAGES, "cert sign", "crl sign"],
        "isCA": True,
    }
    spec = {"issuer": issuer, "allowed": allowed, **spec}
    return {"apiVersion": API_VERSION, "kind": "Policy", "metadata": {"name": name}, "spec": spec}


def issued_by(name: str, namespace: str = CA_NAMESPACE) -> dict[str, Any]:
    """Name the CA that a Policy issues by."""
    return {"ca": {"namespace": namespace, "name": name}}


def certificate(namespace: str, name: str, **spec: object) -> Manifest:
    """Make a leaf Certificate; `spec` adds to it and takes from it (None)."""
    whole: dict[str, object] = {
        "policyRef": {"name": LEAF},
        "secretName": f"{name}-tls",
        "dnsNames": [f"{name}.example.com"],
        "usages": ["digital signature", "server auth"],
        **spec,
    }
    given = {field: value for field, value in whole.items() if value is not None}
    return {
        "apiVersion": API_VERSION,
        "kind": "Certificate",
        "metadata": {"namespace": namespace, "name": name},
        "spec": given,
    }


def authority(namespace: str, name: str, policy_name: str, **spec: object) -> Manifest:
    """Make a CA whose key is in the token."""
    whole: dict[str, object] = {
        "policyRef": {"name": policy_name},
        "secretName": name,
        "isCA": True,
        "commonName": f"E2E {name}",
        "dnsNames": None,
        "duration": "43800h",
        "usages": CA_USAGES,
        **spec,
    }
    return certificate(namespace, name, **whole)
