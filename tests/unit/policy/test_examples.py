"""The examples do what they teach: each Certificate passes its Policy, and X.509 can carry it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from clm.pki.csr import requested
from clm.pki.known_keys import PublishedKeys
from clm.pki.tbs import check_names
from clm.policy.evaluate import Request, evaluate
from clm.resources.certificate import parse_certificate
from clm.resources.policy import parse_policy

EXAMPLES = Path(__file__).parents[3] / "examples"
DOCUMENTS: list[dict[str, Any]] = [
    document for path in sorted(EXAMPLES.glob("*.yaml")) for document in yaml.safe_load_all(path.read_text("utf-8"))
]
POLICIES = {
    document["metadata"]["name"]: parse_policy(document["spec"])
    for document in DOCUMENTS
    if document["kind"] == "Policy"
}
LABELS = {
    document["metadata"]["name"]: document["metadata"].get("labels") or {}
    for document in DOCUMENTS
    if document["kind"] == "Namespace"
}
CERTIFICATES = [document for document in DOCUMENTS if document["kind"] == "Certificate"]


@pytest.mark.parametrize("document", CERTIFICATES, ids=lambda document: document["metadata"]["name"])
def test_an_example_is_allowed(document: dict[str, Any]) -> None:
    """By the Policy that it refers to, in its own namespace."""
    spec = requested(parse_certificate(document["spec"]), PublishedKeys())
    namespace = document["metadata"]["namespace"]
    request = Request(spec=spec, namespace=namespace, namespace_labels=LABELS[namespace])
    assert evaluate(request, POLICIES[spec.policy]).violations == ()
    check_names(spec)


def test_a_tenant_makes_no_authorities() -> None:
    """The Policies for CAs are for the system namespace alone."""
    for document in CERTIFICATES:
        spec = parse_certificate(document["spec"])
        if spec.is_ca:
            request = Request(spec=spec, namespace="shop", namespace_labels=LABELS["shop"])
            rules = {violation.rule for violation in evaluate(request, POLICIES[spec.policy]).violations}
            assert rules == {"namespaces"}
