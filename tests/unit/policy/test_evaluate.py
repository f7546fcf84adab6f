"""A Policy's decision: every violation at once, each naming field and rule and saying what to change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from clm.policy.evaluate import CHECKS
from tests.unit.policy.deciding import NAME, OPEN, decide

if TYPE_CHECKING:
    from collections.abc import Mapping


def without(field: str) -> dict[str, Any]:
    """Build what is allowed, but for one attribute."""
    return {name: value for name, value in OPEN.items() if name != field}


SAID: list[tuple[Mapping[str, Any], Mapping[str, Any], str, str, str]] = [
    (
        {"dnsNames": ["a.shop.svc", "evil.example.com"]},
        OPEN | {"dnsNames": {"values": ["*.shop.svc"]}},
        "spec.dnsNames[1]",
        "allowed.dnsNames",
        'spec.dnsNames[1]: "evil.example.com" is not allowed; allowed: *.shop.svc',
    ),
    (
        NAME,
        without("commonName"),
        "spec.commonName",
        "allowed.commonName",
        'spec.commonName: "web.shop.svc" is not allowed; none is allowed (spec.allowed.commonName)',
    ),
    (
        NAME,
        OPEN | {"dnsNames": {"values": ["*"], "required": True}},
        "spec.dnsNames",
        "allowed.dnsNames",
        "spec.dnsNames: is required",
    ),
    (
        NAME | {"uris": ["https://a/"]},
        without("uris"),
        "spec.uris[0]",
        "allowed.uris",
        'spec.uris[0]: "https://a/" is not allowed; none is allowed (spec.allowed.uris)',
    ),
    (
        NAME | {"emailAddresses": ["a@b"]},
        OPEN | {"emailAddresses": {"values": ["*@c", "*@d"]}},
        "spec.emailAddresses[0]",
        "allowed.emailAddresses",
        'spec.emailAddresses[0]: "a@b" is not allowed; allowed: *@c, *@d',
    ),
    (
        NAME | {"ipAddresses": ["10.0.0.1", "11.0.0.1"]},
        OPEN | {"ipAddresses": {"cidrs": ["10.0.0.0/8"]}},
        "spec.ipAddresses[1]",
        "allowed.ipAddresses",
        'spec.ipAddresses[1]: "11.0.0.1" is not allowed; allowed: 10.0.0.0/8',
    ),
    (
        NAME,
        OPEN | {"ipAddresses": {"cidrs": ["10.0.0.0/8"], "required": True}},
        "spec.ipAddresses",
        "allowed.ipAddresses",
        "spec.ipAddresses: at least one is required",
    ),
    (
        NAME | {"otherNames": [{"oid": "1.2.4", "utf8Value": "x"}]},
        OPEN,
        "spec.otherNames[0]",
        "allowed.otherNames",
        'spec.otherNames[0]: "1.2.4=x" is not allowed; none is allowed (spec.allowed.otherNames)',
    ),
    (
        NAME,
        OPEN | {"otherNames": [{"oid": "1.2.3", "values": ["*"], "required": True}]},
        "spec.otherNames",
        "allowed.otherNames",
        "spec.otherNames: one of type 1.2.3 is required",
    ),
    (
        NAME | {"subject": {"organizations": ["Shop", "Bank"]}},
        OPEN | {"subject": {"organizations": {"values": ["Shop"]}}},
        "spec.subject.organizations[1]",
        "allowed.subject.organizations",
        'spec.subject.organizations[1]: "Bank" is not allowed; allowed: Shop',
    ),
    (
        NAME | {"subject": {"serialNumber": "1"}},
        without("subject"),
        "spec.subject.serialNumber",
        "allowed.subject.serialNumber",
        'spec.subject.serialNumber: "1" is not allowed; none is allowed (spec.allowed.subject.serialNumber)',
    ),
    (
        NAME | {"usages": ["digital signature", "client auth"]},
        OPEN | {"usages": ["digital signature"]},
        "spec.usages",
        "allowed.usages",
        'spec.usages: "client auth" is not allowed; allowed: digital signature',
    ),
    (
        NAME,
        OPEN | {"usages": ["digital signature"]},
        "spec.usages",
        "allowed.usages",
        'spec.usages: "key encipherment" is not allowed; allowed: digital signature',
    ),
    (
        NAME | {"isCA": True},
        without("isCA"),
        "spec.isCA",
        "allowed.isCA",
        "spec.isCA: this Policy allows no CAs (spec.allowed.isCA)",
    ),
]


@pytest.mark.parametrize(("certificate", "allowed", "field", "rule", "message"), SAID)
def test_what_is_not_allowed(
    certificate: Mapping[str, Any], allowed: Mapping[str, Any], field: str, rule: str, message: str
) -> None:
    """One thing too much is one violation, in words to act on."""
    (violation,) = decide(certificate, allowed=allowed).violations
    assert violation == (field, rule, message)


BOUNDS: list[tuple[Mapping[str, Any], Mapping[str, Any], str, str]] = [
    (
        {"duration": "2h"},
        {"minDuration": "3h"},
        "minDuration",
        "spec.duration: 2h0m0s is too short; ask for 3h0m0s or more",
    ),
    (
        {"duration": "2h"},
        {"maxDuration": "1h"},
        "maxDuration",
        "spec.duration: 2h0m0s is too long; ask for 1h0m0s or less",
    ),
    (
        {"privateKey": {"algorithm": "RSA"}},
        {"privateKey": {"algorithms": ["ECDSA"]}},
        "privateKey.algorithms",
        'spec.privateKey.algorithm: "RSA" is not allowed; allowed: ECDSA',
    ),
    (
        {"privateKey": {"algorithm": "RSA", "size": 2048}},
        {"privateKey": {"minSize": {"RSA": 3072}}},
        "privateKey.minSize",
        "spec.privateKey.size: 2048 is too small; RSA keys need 3072 bits or more",
    ),
    (
        {"privateKey": {"algorithm": "ECDSA", "size": 521}},
        {"privateKey": {"maxSize": {"ECDSA": 384}}},
        "privateKey.maxSize",
        "spec.privateKey.size: 521 is too large; ECDSA keys may have 384 bits at most",
    ),
    (
        {"privateKey": {"rotationPolicy": "Never"}},
        {"privateKey": {"rotationPolicy": "Always"}},
        "privateKey.rotationPolicy",
        "spec.privateKey.rotationPolicy: must be Always",
    ),
]


@pytest.mark.parametrize(("certificate", "constraints", "rule", "message"), BOUNDS)
def test_what_is_out_of_bounds(
    certificate: Mapping[str, Any], constraints: Mapping[str, Any], rule: str, message: str
) -> None:
    """The message says what the bound is; without the constraint nothing is said."""
    (violation,) = decide(NAME | dict(certificate), constraints=constraints).violations
    assert (violation.rule, violation.message) == (f"constraints.{rule}", message)
    assert decide(NAME | dict(certificate)).allowed


def test_bounds_are_inclusive() -> None:
    """What lies exactly on a bound is within it."""
    key = {"minSize": {"ECDSA": 384}, "maxSize": {"ECDSA": 384, "RSA": 2048}}
    bounds = {"minDuration": "2h", "maxDuration": "2h", "privateKey": key}
    asked = NAME | {"duration": "120m", "privateKey": {"algorithm": "ECDSA", "size": 384}}
    assert decide(asked, constraints=bounds).allowed


@pytest.mark.parametrize(
    ("selector", "namespace", "labels", "selected"),
    [
        (None, "any", {}, True),
        ({"matchNames": ["shop-*"]}, "shop-eu", {}, True),
        ({"matchNames": ["shop-*"]}, "shop", {}, False),
        ({"matchLabels": {"team": "shop"}}, "any", {"team": "shop", "x": "y"}, True),
        ({"matchLabels": {"team": "shop"}}, "any", {"team": "bank"}, False),
        ({"matchLabels": {"team": ""}}, "any", {}, False),
        ({"matchLabels": {"team": "shop"}, "matchNames": ["shop"]}, "bank", {"team": "shop"}, False),
        ({"matchLabels": {"team": "shop"}, "matchNames": ["shop"]}, "shop", {}, False),
    ],
)
def test_who_may_use_a_policy(
    selector: Mapping[str, Any] | None,
    namespace: str,
    labels: Mapping[str, str],
    selected: bool,  # noqa: FBT001
) -> None:
    """All labels and one of the names; without a selector everybody."""
    decision = decide(NAME, namespaces=selector, namespace=namespace, labels=labels)
    assert decision.allowed == selected
    assert [violation.rule for violation in decision.violations] == ([] if selected else ["namespaces"])


@pytest.mark.parametrize(
    ("address", "cidrs", "within"),
    [
        ("10.1.2.3", ["10.0.0.0/8"], True),
        ("::ffff:10.1.2.3", ["10.0.0.0/8"], True),
        ("::ffff:11.1.2.3", ["10.0.0.0/8", "::/0"], False),
        ("FD00:0::1", ["fd00::1/128"], True),
        ("fd00::1", ["10.0.0.0/8"], False),
        ("10.1.2.3", [], False),
    ],
)
def test_addresses_are_compared_as_addresses(address: str, cidrs: list[str], within: bool) -> None:  # noqa: FBT001
    """Not as text; an IPv4 address in IPv6's clothes is an IPv4 address."""
    assert decide(NAME | {"ipAddresses": [address]}, allowed=OPEN | {"ipAddresses": {"cidrs": cidrs}}).allowed == within


@pytest.mark.parametrize(
    ("asked", "allowed", "fits"),
    [
        ("1.3.6.1.5.5.7.3.17", "1.3.6.1.5.5.7.3.17", True),
        ("1.3.6.1.5.5.7.3.1", "server auth", True),
        ("server auth", "1.3.6.1.5.5.7.3.1", True),
        ("1.3.6.1.5.5.7.3.17", "1.3.6.1.5.5.7.3.18", False),
        ("1.3.6.1.5.5.7.3.17", "any", False),
    ],
)
def test_object_identifiers_of_usages(asked: str, allowed: str, *, fits: bool) -> None:
    """They are held against the names that they have, and "any" is one usage among others."""
    assert decide(NAME | {"usages": [asked]}, allowed=OPEN | {"usages": [allowed]}).allowed is fits


def test_both_names_of_a_usage_are_one() -> None:
    """Whoever may sign may write "digital signature", and the other way round."""
    for asked, allowed in (("signing", "digital signature"), ("digital signature", "signing")):
        assert decide(NAME | {"usages": [asked]}, allowed=OPEN | {"usages": [allowed]}).allowed


def test_everything_is_told_at_once() -> None:
    """Whoever mends a manifest mends it once."""
    asked = {
        "commonName": "x",
        "dnsNames": ["a", "b"],
        "ipAddresses": ["10.0.0.1"],
        "isCA": True,
        "duration": "2h",
        "subject": {"organizations": ["O"]},
    }
    decision = decide(asked, allowed={}, constraints={"maxDuration": "1h"}, namespaces={"matchNames": ["bank"]})
    assert [violation.field for violation in decision.violations] == [
        "metadata.namespace",
        "spec.commonName",
        "spec.dnsNames[0]",
        "spec.dnsNames[1]",
        "spec.ipAddresses[0]",
        "spec.subject.organizations[0]",
        *["spec.usages"] * 4,
        "spec.isCA",
        "spec.duration",
    ]


def test_messages_stay_short() -> None:
    """A long list of what is allowed is cut, and control characters are shown as what they are."""
    many = OPEN | {"commonName": {"values": [f"v{index}" for index in range(30)]}}
    (violation,) = decide({"commonName": "a\nb"}, allowed=many).violations
    assert violation.message.endswith("v6, v7 and 22 more")
    assert violation.message.startswith('spec.commonName: "a\\nb" is not allowed')


def test_every_check_says_what_it_checks() -> None:
    """The checks read as a list of rules."""
    assert all(check.__doc__ for check in CHECKS)
