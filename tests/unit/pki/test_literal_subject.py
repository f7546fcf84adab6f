"""A subject as one string is the name that RFC 4514 says, or is refused with what is wrong and where."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from clm.errors import InvalidInput
from clm.pki.literal_subject import attribute_label, parse_literal_subject

CN, ORG, OU, DC, UID = (
    NameOID.COMMON_NAME,
    NameOID.ORGANIZATION_NAME,
    NameOID.ORGANIZATIONAL_UNIT_NAME,
    NameOID.DOMAIN_COMPONENT,
    NameOID.USER_ID,
)
FREE = (CN, ORG, OU, UID, NameOID.LOCALITY_NAME, NameOID.TITLE, x509.ObjectIdentifier("1.3.6.1.4.1.55555.2"))
"""Types whose values are any text."""


def pairs(text: str) -> list[list[tuple[x509.ObjectIdentifier, str]]]:
    """Read a name: relative names in the order of the certificate, attributes sorted within each."""
    rdns = parse_literal_subject(text).rdns
    return [
        sorted(((each.oid, str(each.value)) for each in rdn), key=lambda pair: pair[0].dotted_string) for rdn in rdns
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("UID=jsmith,DC=example,DC=net", [[(DC, "net")], [(DC, "example")], [(UID, "jsmith")]]),
        (
            "OU=Sales+CN=J.  Smith,DC=example,DC=net",
            [[(DC, "net")], [(DC, "example")], [(OU, "Sales"), (CN, "J.  Smith")]],
        ),
        (
            'CN=James \\"Jim\\" Smith\\, III,DC=example,DC=net',
            [[(DC, "net")], [(DC, "example")], [(CN, 'James "Jim" Smith, III')]],
        ),
        ("CN=Lu\\C4\\8Di\\C4\\87", [[(CN, "Lučić")]]),
    ],
)
def test_examples_of_the_rfc(text: str, expected: list[list[tuple[x509.ObjectIdentifier, str]]]) -> None:
    """RFC 4514 4; the certificate has the last relative name first."""
    assert pairs(text) == [sorted(rdn, key=lambda pair: pair[0].dotted_string) for rdn in expected]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("CN = web , O = Shop", "CN=web,O=Shop"),
        ("cn=web,Organizationname=Shop", "CN=web,O=Shop"),
        ("2.5.4.3=web,2.5.4.10=Shop", "CN=web,O=Shop"),
        ("CN=#0C03776562,O=#130453686F70", "CN=web,O=Shop"),
        ("CN=\\77\\65\\62", "CN=web"),
        ("CN=a\\=b", "CN=a=b"),
        ("CN=a#b", "CN=a\\#b"),
        ("O=Shop+CN=web", "CN=web+O=Shop"),
    ],
)
def test_one_name_in_two_ways(text: str, same: str) -> None:
    """White space between parts, case of keywords, object identifiers and hexadecimal values make no other name."""
    assert parse_literal_subject(text).public_bytes() == parse_literal_subject(same).public_bytes()


def test_spaces_that_are_escaped_belong_to_the_value() -> None:
    """At its ends only those; within it every one."""
    assert pairs("CN=\\ a  b\\ ,O= c ") == [[(ORG, "c")], [(CN, " a  b ")]]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("CN=web", _ASN1Type.UTF8String),
        ("UID=web", _ASN1Type.UTF8String),
        ("C=DE", _ASN1Type.PrintableString),
        ("serialNumber=42", _ASN1Type.PrintableString),
        ("dnQualifier=a", _ASN1Type.PrintableString),
        ("DC=example", _ASN1Type.IA5String),
        ("E=a@example.com", _ASN1Type.IA5String),
        ("C=#0C024445", _ASN1Type.PrintableString),
    ],
)
def test_strings_are_of_the_type_of_the_attribute(text: str, kind: _ASN1Type) -> None:
    """RFC 5280 4.1.2.4 and appendix A.1, whatever a `#` value was."""
    ((attribute,),) = parse_literal_subject(text).rdns
    assert attribute._type is kind


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("web", "after web (character 4; RFC 4514)"),
        ("CN=web,", "an attribute type is missing, such as CN or 2.5.4.3 (character 8"),
        ("CN=web+", "an attribute type is missing"),
        ("=web", "an attribute type is missing"),
        ("CN=a;O=b", '";" needs a backslash before it (character 5'),
        ('CN="web"', '""" needs a backslash before it'),
        ("CN=a\\zb", "a backslash stands before a special character or two hexadecimal digits"),
        ("CN=a\\", "a backslash stands before"),
        ("CN=\\C4", "are not UTF-8"),
        ("CN=#zz", 'after "#" come pairs of hexadecimal digits'),
        ("CN=#0C03776562x", '"x" needs a backslash'),
        ("1.3.6.1.4.1.1466.0=#04024869", "is not one UTF8String, PrintableString or IA5String in DER"),
        ("CN=#0C04776562", "is not one UTF8String"),
        ("CN=Before\\0dAfter", "CN: has characters that cannot be printed"),
        ("CN=", "CN: must have 1 to 64 characters, not 0"),
        (f"CN={'x' * 65}", "CN: must have 1 to 64 characters, not 65"),
        (f"CN={'é' * 33}", "CN: must have 64 octets at most in UTF-8, not 66"),
        (f"2.5.4.10={'x' * 65}", "2.5.4.10: must have 1 to 64 characters, not 65"),
        (f"1.2.3={'x' * 257}", "1.2.3: must have 1 to 256 characters"),
        ("C=de", 'C: "de" is not a country code of two capital letters'),
        ("C=Germany", "C: must have 1 to 2 characters"),
        ("DC=example.com", 'DC: "example.com" is not one label of a DNS name'),
        ("E=nobody", 'E: "nobody" is not a mailbox in ASCII'),
        ("serialNumber=é", "has other characters than"),
        ("X=1", "X: is not a known attribute type; write its object identifier, or one of CN, L,"),
        ("0.40.1=a", "0.40.1: is not an object identifier"),
        ("CN=a+CN=b", "CN: an attribute type stands twice in one relative name"),
        ("CN=a+2.5.4.3=b", "stands twice"),
    ],
)
def test_what_is_wrong_is_told(text: str, says: str) -> None:
    """The field is named, and the place or the attribute."""
    with pytest.raises(InvalidInput) as refused:
        parse_literal_subject(text)
    assert refused.value.field == "spec.literalSubject"
    assert says in refused.value.message


def test_all_attributes_are_told_at_once() -> None:
    """Whoever reads it mends all of them."""
    with pytest.raises(InvalidInput) as refused:
        parse_literal_subject("X=1,C=de,CN=")
    assert all(f"{name}: " in str(refused.value) for name in ("X", "C", "CN"))


_VALUES = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), min_size=1, max_size=16)
_RDNS = st.dictionaries(st.sampled_from(FREE), _VALUES, min_size=1, max_size=3)


def name_of(rdns: list[dict[x509.ObjectIdentifier, str]]) -> x509.Name:
    """Make a name of relative names."""
    return x509.Name(
        x509.RelativeDistinguishedName(x509.NameAttribute(oid, value) for oid, value in rdn.items()) for rdn in rdns
    )


_NAMES = st.lists(_RDNS, min_size=1, max_size=5).map(name_of)


@given(_NAMES)
def test_what_others_write_is_read(name: x509.Name) -> None:
    """What cryptography writes of any name is that name again, to the byte."""
    assert parse_literal_subject(name.rfc4514_string()).public_bytes() == name.public_bytes()


@given(st.text(st.characters() | st.sampled_from('CNO=+,;\\#"<> 0123456789.ABCDEF'), max_size=60))
def test_any_text_is_a_name_or_is_refused(text: str) -> None:
    """Nothing but InvalidInput is raised; what is a name can be written down and has only what the Policy can see."""
    try:
        name = parse_literal_subject(text)
    except InvalidInput:
        return
    assert x509.Name(name.rdns).public_bytes()
    assert all(attribute_label(attribute.oid) for attribute in name)
