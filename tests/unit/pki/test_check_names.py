"""What X.509 cannot carry is told before anything is made for it, and all of it at once."""

from __future__ import annotations

import re
from typing import Any

import pytest

from clm.errors import InvalidInput
from clm.pki.tbs import check_names
from clm.resources.certificate import parse_certificate

LEAF: dict[str, Any] = {"policyRef": {"name": "p"}, "secretName": "s", "dnsNames": ["a.example"]}
BAD: dict[str, Any] = {
    "spec.subject.countries[1]": {"subject": {"countries": ["DE", "D1"]}},
    "spec.subject.organizations[0]": {"subject": {"organizations": ["x" * 65]}},
    "spec.commonName": {"commonName": "a\n"},
    "spec.subject.serialNumber": {"subject": {"serialNumber": "ü"}},
    "spec.dnsNames[1]": {"dnsNames": ["a.example", "a..example", "b.example"]},
    "spec.ipAddresses[0]": {"ipAddresses": ["fe80::1%eth0"]},
    "spec.uris[0]": {"uris": ["https://a/../b"]},
    "spec.emailAddresses[0]": {"emailAddresses": ["nobody"]},
    "spec.otherNames[0].oid": {"otherNames": [{"oid": "9.9", "utf8Value": "a"}]},
    "spec.otherNames[0].utf8Value": {"otherNames": [{"oid": "1.2", "utf8Value": "\n"}]},
    "spec.usages": {"usages": ["key encipherment"]},
    "spec.nameConstraints.permitted.dnsDomains[0]": {
        "isCA": True,
        "nameConstraints": {"permitted": {"dnsDomains": ["a..b"]}},
        "usages": ["cert sign"],
    },
    "spec.nameConstraints.excluded.ipRanges[0]": {
        "isCA": True,
        "nameConstraints": {"excluded": {"ipRanges": ["10.0.0.1/8"]}},
        "usages": ["cert sign"],
    },
}


def _told(spec: dict[str, Any]) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        check_names(parse_certificate({**LEAF, **spec}))
    return [part.group(1) for part in re.finditer(r"(?:^|; )(spec\.[\w.\[\]]+): ", str(caught.value))]


@pytest.mark.parametrize("field", BAD)
def test_by_its_field(field: str) -> None:
    """One mistake is told by its field, and nothing else is."""
    assert _told(BAD[field]) == [field]


def test_a_common_name_is_counted_in_octets() -> None:
    """As the library does that writes it: 33 letters of two octets are too long."""
    assert _told({"commonName": "é" * 33}) == ["spec.commonName"]
    check_names(parse_certificate({**LEAF, "commonName": "é" * 32}))


def test_a_literal_subject_is_read() -> None:
    """It is held against RFC 4514 and appendix A.1 of RFC 5280 before anything is made for it."""
    assert _told({"literalSubject": "CN=a,C=Germany"}) == ["spec.literalSubject"]
    check_names(parse_certificate({**LEAF, "literalSubject": "CN=a,C=DE"}))


def test_all_at_once() -> None:
    """Mistakes in every field are all told, not the first one only."""
    spec: dict[str, Any] = {}
    for change in BAD.values():
        for name, value in change.items():
            spec[name] = {**spec[name], **value} if name in spec and isinstance(value, dict) else value
    spec["otherNames"] = [{"oid": "9.9", "utf8Value": "\n"}]
    assert set(_told(spec)) == {*BAD} - {"spec.usages"}


def test_every_name_of_one_kind() -> None:
    """As many as there are."""
    assert _told({"dnsNames": ["a..b"] * 40}) == [f"spec.dnsNames[{index}]" for index in range(40)]
