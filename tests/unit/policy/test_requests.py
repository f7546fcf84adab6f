"""A Policy judges a request as it would a spec that says the same: nothing gets past it by being in a CSR."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from clm.pki import der
from clm.pki.keys import generate
from clm.pki.literal_subject import parse_literal_subject
from clm.resources.keys import KeySpec
from tests.unit.pki.requests import alternative_names, csr, extension_request, raw_csr
from tests.unit.policy.deciding import OPEN, decide

_NAMES = st.fixed_dictionaries(
    {
        "dnsNames": st.lists(st.sampled_from(["a.shop.svc", "*.shop.svc", "b.example.com"]), min_size=1, max_size=3),
        "ipAddresses": st.lists(st.sampled_from(["10.0.0.1", "192.0.2.1", "2001:db8::1"]), max_size=2),
        "uris": st.lists(st.sampled_from(["spiffe://shop/a", "https://b.example"]), max_size=2),
        "emailAddresses": st.lists(st.sampled_from(["a@shop.svc", "b@example.com"]), max_size=2),
        "otherNames": st.lists(st.sampled_from([("1.2.3", "a"), ("1.2.4", "b")]), max_size=2),
        "organizations": st.lists(st.sampled_from(["Shop", "Other"]), max_size=2),
        "countries": st.lists(st.sampled_from(["DE", "FR"]), max_size=2),
        "serialNumber": st.sampled_from(["", "17"]),
        "commonName": st.sampled_from(["", "a.shop.svc", "root"]),
    }
)
_STRICT = OPEN | {
    "dnsNames": {"values": ["*.shop.svc"], "required": True},
    "ipAddresses": {"cidrs": ["10.0.0.0/8"], "required": True},
    "uris": {"values": ["spiffe://*"]},
    "emailAddresses": {"values": ["*@shop.svc"]},
    "otherNames": [{"oid": "1.2.3", "values": ["a"], "required": True}],
    "subject": {"organizations": {"values": ["Shop"]}, "countries": {"values": ["DE"], "required": True}},
    "commonName": {"values": ["*.svc"]},
}

_OTHERS = [{"oid": "0.9.2342.19200300.100.1.25", "values": ["example", "org"]}, {"oid": "1.2.3", "values": ["y"]}]


def as_spec(names: dict[str, Any]) -> dict[str, Any]:
    """Write names as fields of a spec."""
    subject = {field: names[field] for field in ("organizations", "countries", "serialNumber") if names[field]}
    return {
        **{field: names[field] for field in ("dnsNames", "ipAddresses", "uris", "emailAddresses")},
        "otherNames": [{"oid": oid, "utf8Value": value} for oid, value in names["otherNames"]],
        "subject": subject,
        "commonName": names["commonName"],
    }


def as_request(names: dict[str, Any]) -> dict[str, Any]:
    """Write the same names as a request."""
    single = ((NameOID.COMMON_NAME, names["commonName"]), (NameOID.SERIAL_NUMBER, names["serialNumber"]))
    subject = [
        *((NameOID.COUNTRY_NAME, value) for value in names["countries"]),
        *((NameOID.ORGANIZATION_NAME, value) for value in names["organizations"]),
        *((oid, value) for oid, value in single if value),
    ]
    alternative = [
        *map(x509.DNSName, names["dnsNames"]),
        *(x509.IPAddress(ipaddress.ip_address(text)) for text in names["ipAddresses"]),
        *map(x509.UniformResourceIdentifier, names["uris"]),
        *map(x509.RFC822Name, names["emailAddresses"]),
        *(
            x509.OtherName(x509.ObjectIdentifier(oid), der.tlv(der.UTF8_STRING, value.encode()))
            for oid, value in names["otherNames"]
        ),
    ]
    return {"request": csr(subject=subject, names=alternative)}


@given(_NAMES, st.sampled_from([OPEN, _STRICT, {"usages": OPEN["usages"]}]))
def test_is_judged_as_a_spec(names: dict[str, Any], allowed: dict[str, Any]) -> None:
    """The same names bring the same violations, word for word."""
    assert decide(as_request(names), allowed=allowed) == decide(as_spec(names), allowed=allowed)


@pytest.mark.parametrize("allowed", [OPEN, _STRICT, OPEN | {"subject": {"otherAttributes": _OTHERS}}])
@pytest.mark.parametrize("literal", ["CN=web,DC=example,DC=org", "CN=web,title=Dr", "CN=a+O=b,1.2.3=x", "CN=a,CN=b"])
def test_is_judged_as_a_literal_subject(literal: str, allowed: dict[str, Any]) -> None:
    """So is a subject that has no fields in a spec: by its types, each of which has to be allowed."""
    subject = parse_literal_subject(literal).public_bytes()
    request = raw_csr(subject=subject, attributes=extension_request(alternative_names(b"\x82\x0aa.shop.svc")))
    said = {"literalSubject": literal, "dnsNames": ["a.shop.svc"]}
    assert decide({"request": request}, allowed=allowed) == decide(said, allowed=allowed)


@pytest.mark.parametrize(
    ("key", "constraints", "says"),
    [
        (KeySpec("ECDSA", 256), {"algorithms": ["RSA"]}, 'spec.request: "ECDSA" is not allowed; allowed: RSA'),
        (KeySpec("ECDSA", 256), {"minSize": {"ECDSA": 384}}, "spec.request: 256 is too small; ECDSA keys need 384"),
        (KeySpec("ECDSA", 384), {"maxSize": {"ECDSA": 256}}, "spec.request: 384 is too large"),
        (KeySpec("ECDSA", 256), {"rotationPolicy": "Always"}, "leave out the request, so that CLM makes the keys"),
    ],
)
def test_the_key_is_judged(key: KeySpec, constraints: dict[str, Any], says: str) -> None:
    """What a Policy wants of keys counts for one that is brought; a new one each time it cannot be."""
    (violation,) = decide({"request": csr(key=generate(key))}, constraints={"privateKey": constraints}).violations
    assert violation.field == "spec.request"
    assert says in violation.message


def test_a_policy_that_wants_keys_to_stay() -> None:
    """A brought key stays, which is what rotationPolicy Never asks for."""
    assert decide({"request": csr()}, constraints={"privateKey": {"rotationPolicy": "Never"}}).allowed


def test_a_ca_with_a_key_of_its_own() -> None:
    """Only a Policy that allows CAs lets somebody else's key become one."""
    spec = {"request": csr(subject=((NameOID.COMMON_NAME, "Sub CA"),), names=()), "isCA": True}
    assert decide(spec).allowed
    assert [violation.field for violation in decide(spec, allowed=OPEN | {"isCA": False}).violations] == ["spec.isCA"]
