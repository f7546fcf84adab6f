"""What may not be issued is not issued, and the condition says what to change; once that is changed, it is issued."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.api import ApiError
from tests.e2e.manifests import ISSUING, authority, certificate, issued_by, policy
from tests.e2e.world import condition

if TYPE_CHECKING:
    from tests.e2e.world import World

_POLICY_NOT_SUPPORTED: dict[str, dict[str, Any]] = {
    "spec.rules": {"rules": [{"expression": "certificate.dnsNames.size() <= 10", "message": "at most 10 names"}]},
    "spec.approval": {"approval": {"required": 1, "approvers": {"groups": ["pki"]}}},
    "spec.quota": {"quota": {"certificatesPerNamespace": 5}},
    "spec.enforcement": {"enforcement": "Audit"},
}


def test_unknown_policy(world: World, namespace: str) -> None:
    """A Certificate of a Policy that does not exist waits for it, and goes on when it is created."""
    world.apply(certificate(namespace, "web", policyRef={"name": f"{namespace}-later"}))
    said = world.wait_refused(namespace, "web", "PolicyNotFound")
    assert "spec.policyRef.name" in said["message"]
    assert f'"{namespace}-later"' in said["message"]
    world.apply(policy(f"{namespace}-later", issued_by(ISSUING)))
    world.wait_ready(namespace, "web")


def test_all_violations_at_once(world: World, namespace: str) -> None:
    """Everything that a Policy forbids is told at once, each with its field, and nothing is recorded or written."""
    strict = policy(
        namespace,
        issued_by(ISSUING),
        allowed={"dnsNames": {"values": ["*.shop.svc"]}, "usages": ["digital signature"]},
        constraints={"maxDuration": "720h", "privateKey": {"algorithms": ["RSA"]}},
    )
    world.apply(strict)
    wrong = certificate(
        namespace,
        "web",
        policyRef={"name": namespace},
        commonName="admin",
        dnsNames=["a.shop.svc", "evil.example.com"],
        ipAddresses=["10.0.0.1"],
        subject={"organizations": ["Other"]},
        duration="721h",
    )
    made = world.apply(wrong)
    message = world.wait_refused(namespace, "web", "PolicyViolation")["message"]
    for field in (
        "spec.commonName",
        "spec.dnsNames[1]",
        "spec.ipAddresses[0]",
        "spec.subject.organizations",
        "spec.usages",
        "spec.duration: 721h0m0s is too long; ask for 720h0m0s or less",
        "spec.privateKey.algorithm",
    ):
        assert field in message
    assert "spec.dnsNames[0]" not in message
    assert world.recorded(made) == []
    assert world.api.get("Secret", namespace, "web-tls") is None
    audit = world.query(
        "core", "SELECT outcome, reason FROM audit_log WHERE object_id = %(uid)s", uid=made["metadata"]["uid"]
    )
    assert audit == [{"outcome": "denied", "reason": "PolicyViolation"}]


def test_more_violations_than_a_condition_holds(world: World, namespace: str) -> None:
    """As many as fit are told, each of them whole, and how many more there are."""
    world.apply(policy(namespace, issued_by(ISSUING), allowed={"dnsNames": {"values": [f"*.{'x' * 150}"]}}))
    names = [f"{number}.{'.'.join(['label'] * 10)}.example" for number in range(250)]
    world.apply(certificate(namespace, "web", policyRef={"name": namespace}, dnsNames=names, usages=["server auth"]))
    message = world.wait_refused(namespace, "web", "PolicyViolation")["message"]
    assert 31_000 < len(message) <= 32_768
    *told, more = message.removeprefix(f"Policy {namespace}: ").split("; spec.")
    last, _, rest = more.partition("; and ")
    assert last.endswith("x" * 150)
    # The usage is one more.
    assert int(rest.removesuffix(" more")) == len(names) + 1 - len(told) - 1


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"privateKey": {"algorithm": "RSA", "size": 1024}}, "spec.privateKey.size"),
        ({"privateKey": {"algorithm": "ECDSA", "size": 2048}}, "spec.privateKey.size"),
        ({"privateKey": {"algorithm": "DSA"}}, "spec.privateKey.algorithm"),
        ({"privateKey": {"storage": "HSM"}}, "spec.isCA"),
        ({"duration": "59m"}, "spec.duration"),
        ({"renewBefore": "3000h"}, "spec.renewBefore"),
        ({"usages": ["everything"]}, "spec.usages[0]"),
        ({"maxPathLen": 1}, "spec.isCA"),
        ({"dnsNames": []}, "spec"),
        ({"secretTemplate": {"labels": {"clm-operator.io/managed": "false"}}}, "spec.secretTemplate.labels"),
    ],
)
def test_refused_by_the_api_server(world: World, namespace: str, spec: dict[str, Any], field: str) -> None:
    """What one manifest shows by itself to be wrong is refused when it is applied, and the field is named."""
    with pytest.raises(ApiError) as refused:
        world.api.create(certificate(namespace, "web", **spec))
    assert refused.value.status == 422
    assert field in refused.value.fields


def test_secret_of_somebody_else(world: World, namespace: str) -> None:
    """A Secret that CLM does not own is never touched; once it is gone, the certificate issued meanwhile comes in."""
    foreign = world.api.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"namespace": namespace, "name": "web-tls"},
            "stringData": {"password": "theirs"},
        }
    )
    made = world.apply(certificate(namespace, "web"))
    message = world.wait_refused(namespace, "web", "SecretConflict")["message"]
    assert "web-tls" in message
    assert "delete it, or choose another spec.secretName" in message
    issued = world.recorded(made)
    assert world.api.get("Secret", namespace, "web-tls") == foreign
    world.api.delete("Secret", namespace, "web-tls")
    ready = world.wait_ready(namespace, "web")
    assert [row["serial"] for row in world.recorded(ready)] == [row["serial"] for row in issued]
    assert len(issued) == 1


def test_namespace_not_selected(world: World, namespace: str) -> None:
    """A Policy serves only the namespaces that it selects; a namespace that gets the label is served at once."""
    world.apply(policy(namespace, issued_by(ISSUING), namespaces={"matchLabels": {"certificates": namespace}}))
    world.apply(certificate(namespace, "web", policyRef={"name": namespace}))
    message = world.wait_refused(namespace, "web", "PolicyViolation")["message"]
    assert f'namespace "{namespace}" may not use this Policy' in message
    world.api.patch("Namespace", None, namespace, {"metadata": {"labels": {"certificates": namespace}}})
    world.wait_ready(namespace, "web")


@pytest.mark.parametrize("field", _POLICY_NOT_SUPPORTED)
def test_policy_not_supported(world: World, namespace: str, field: str) -> None:
    """A Policy with a rule that this version does not enforce issues nothing, and both objects say so."""
    world.apply(policy(namespace, issued_by(ISSUING), **_POLICY_NOT_SUPPORTED[field]))
    made = world.apply(certificate(namespace, "web", policyRef={"name": namespace}))
    assert field in world.wait_refused(namespace, "web", "PolicyNotReady")["message"]
    assert world.recorded(made) == []
    of_policy = condition(world.wait_policy(namespace, status="False"), "Ready") or {}
    assert of_policy["reason"] == "NotSupported"
    assert field in of_policy["message"]
    world.apply(policy(namespace, issued_by(ISSUING)))
    world.wait_ready(namespace, "web")
    world.wait_policy(namespace, status="True")


def test_self_signed_leaf(world: World, namespace: str) -> None:
    """A selfSigned Policy makes roots and nothing else."""
    world.apply(policy(namespace, {"selfSigned": {}}))
    world.apply(certificate(namespace, "web", policyRef={"name": namespace}))
    message = world.wait_refused(namespace, "web", "PolicyViolation")["message"]
    assert "set spec.isCA" in message


def test_its_own_issuer(world: World, namespace: str) -> None:
    """A CA that its Policy names as its own issuer is told how to become a root."""
    world.apply(policy(namespace, issued_by("ca", namespace)))
    world.apply(authority(namespace, "ca", namespace))
    message = world.wait_refused(namespace, "ca", "IssuerNotReady")["message"]
    assert "spec.issuer.selfSigned" in message


def test_issuer_that_is_a_leaf(world: World, namespace: str) -> None:
    """A certificate that is no CA signs nothing."""
    world.apply(certificate(namespace, "leaf"))
    world.apply(policy(namespace, issued_by("leaf", namespace)))
    world.apply(certificate(namespace, "web", policyRef={"name": namespace}))
    message = world.wait_refused(namespace, "web", "IssuerNotReady")["message"]
    assert f"Certificate {namespace}/leaf is not a CA" in message


def test_missing_authority(world: World, namespace: str) -> None:
    """A Certificate waits for its CA, says for which, and is issued as soon as that is Ready."""
    world.apply(policy(namespace, issued_by("ca", namespace)))
    world.apply(certificate(namespace, "web", policyRef={"name": namespace}))
    message = world.wait_refused(namespace, "web", "IssuerNotReady")["message"]
    assert f"there is no Certificate {namespace}/ca" in message
    waiting = world.condition(namespace, "web", "Reconciling")
    assert waiting is not None
    assert waiting["status"] == "True"
    world.apply(authority(namespace, "ca", ISSUING))
    world.wait_ready(namespace, "web")
    assert world.condition(namespace, "web", "Reconciling") is None
