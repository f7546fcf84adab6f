"""A request is read as a spec would be: all that a spec can say, and nothing else slips through."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from clm.errors import InvalidInput
from clm.pki import der
from clm.pki.keys import generate, spki_der
from clm.pki.literal_subject import parse_literal_subject
from clm.pki.names import subject_name
from clm.pki.sans import general_names
from clm.pki.tbs import ThrowawayKeys, check_names
from clm.resources.certificate import issuance_hash, parse_certificate
from clm.resources.keys import KeySpec
from clm.resources.subject import OtherName, Subject
from tests.unit.pki.issuing import Authority, Keys
from tests.unit.pki.requests import (
    KEY,
    OTHER,
    alternative_names,
    attribute,
    csr,
    der_of,
    extension_request,
    name,
    object_identifier,
    pem,
    raw_csr,
    signed,
    spec_of,
)

UPN = "1.3.6.1.4.1.311.20.2.3"
CN, COUNTRY, ORGANIZATION, TITLE = "2.5.4.3", "2.5.4.6", "2.5.4.10", "2.5.4.12"
DC, EMAIL = "0.9.2342.19200300.100.1.25", "1.2.840.113549.1.9.1"
UTF8, PRINTABLE, TELETEX, BMP = 0x0C, 0x13, 0x14, 0x1E


def refused(request: str, **spec: Any) -> str:
    """Give the message with which a request is refused, always by its field."""
    with pytest.raises(InvalidInput) as caught:
        check_names(spec_of(request, **spec))
    return str(caught.value)


def test_says_what_a_spec_would_say() -> None:
    """Subject, names of every kind and the key stand where a spec has them."""
    subject = (
        (NameOID.COUNTRY_NAME, "DE"),
        (NameOID.ORGANIZATION_NAME, "Shop"),
        (NameOID.ORGANIZATION_NAME, "Shop & Söhne"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "Web"),
        (NameOID.LOCALITY_NAME, "Ulm"),
        (NameOID.STATE_OR_PROVINCE_NAME, "BW"),
        (NameOID.STREET_ADDRESS, "Hafen 1"),
        (NameOID.POSTAL_CODE, "89073"),
        (NameOID.SERIAL_NUMBER, "17"),
        (NameOID.COMMON_NAME, "web"),
    )
    names = (
        x509.DNSName("*.shop.svc"),
        x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
        x509.UniformResourceIdentifier("spiffe://shop/web"),
        x509.RFC822Name("web@shop.example"),
        x509.OtherName(x509.ObjectIdentifier(UPN), der.tlv(der.UTF8_STRING, b"web@shop")),
    )
    spec = spec_of(csr(key=generate(KeySpec("ECDSA", 384)), subject=subject, names=names), usages=["server auth"])
    assert spec.subject == Subject(
        countries=("DE",),
        organizations=("Shop", "Shop & Söhne"),
        organizational_units=("Web",),
        localities=("Ulm",),
        provinces=("BW",),
        street_addresses=("Hafen 1",),
        postal_codes=("89073",),
        serial_number="17",
    )
    assert spec.common_name == "web"
    assert spec.dns_names == ("*.shop.svc",)
    assert spec.ip_addresses == ("2001:db8::1",)
    assert spec.uris == ("spiffe://shop/web",)
    assert spec.email_addresses == ("web@shop.example",)
    assert spec.other_names == (OtherName(oid=UPN, utf8_value="web@shop"),)
    assert spec.private_key.key == KeySpec("ECDSA", 384)
    assert (spec.private_key.storage, spec.private_key.rotation_policy) == ("External", "Never")
    check_names(spec)


def test_the_certificate_has_key_and_subject_as_they_came() -> None:
    """Order and string types of the subject stay, so that whoever compares it with the request finds it equal."""
    keys = Keys()
    written = name((CN, UTF8, b"web"), (ORGANIZATION, PRINTABLE, b"Shop"), (COUNTRY, PRINTABLE, b"DE"))
    request = raw_csr(subject=written, attributes=extension_request(alternative_names(b"\x82\x03web")))
    authority = Authority.root(keys, ThrowawayKeys())
    certificate = x509.load_der_x509_certificate(authority.issue(spec_of(request), KEY))
    assert certificate.subject.public_bytes() == written
    assert certificate.public_key() == KEY.public_key()


@pytest.mark.parametrize(
    "spec", [KeySpec("ECDSA", 256), KeySpec("ECDSA", 521), KeySpec("Ed25519", 256), KeySpec("RSA", 2048)], ids=str
)
def test_takes_every_kind_of_key(spec: KeySpec) -> None:
    """The key of the request counts for the Policy as spec.privateKey would."""
    assert spec_of(csr(key=generate(spec))).private_key.key == spec


def test_takes_a_signature_by_rsa_pss() -> None:
    """An rsaEncryption key may sign with either padding (RFC 4055 1.2)."""
    assert spec_of(csr(key=generate(KeySpec("RSA", 2048)), pss=True)).common_name == "web.shop.svc"


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("label", ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"])
def test_takes_both_labels(label: str, ending: str) -> None:
    """Microsoft's and Java's tools write NEW (RFC 7468 7), and other line ends."""
    assert spec_of("\n " + pem(der_of(csr()), label).replace("\n", ending)).dns_names == ("web.shop.svc",)


GOOD = der_of(csr())


@pytest.mark.parametrize(
    ("request_text", "says"),
    [
        ("", "one PEM block"),
        ("MII=", "one PEM block"),
        (pem(GOOD) + pem(GOOD), "one PEM block"),
        (pem(GOOD) + "more", "one PEM block"),
        ("# mine\n" + pem(GOOD), "one PEM block"),
        (pem(GOOD, "CERTIFICATE"), "one PEM block"),
        (pem(GOOD).replace("-----END ", "-----END NEW "), "one PEM block"),
        (pem(GOOD).replace("REQUEST-----\n", "REQUEST-----\nProc-Type: 4,ENCRYPTED\n\n", 1), "one PEM block"),
        (pem(GOOD).replace("-----\n", "-----\nA=A", 1), "not base64"),
        (pem(b""), "one PEM block"),
        (pem(GOOD + b"\0"), "not a PKCS#10 request in DER"),
        (pem(GOOD[:-1]), "not a PKCS#10 request in DER"),
        (pem(b"\x30\x83\x00" + GOOD[2:4] + GOOD[4:]), "not a PKCS#10 request in DER"),
        (pem(b"\0" * 32), "not a PKCS#10 request in DER"),
        (pem(GOOD) + " " * 32_768, "32768 are the most"),
        (raw_csr(version=b"\x02\x01\x02"), "not a PKCS#10 request in DER"),
    ],
)
def test_what_is_not_one_request_in_der(request_text: str, says: str) -> None:
    """Anything but one block with one request in strict DER is refused."""
    if not request_text:
        return  # an empty field is no request
    assert says in refused(request_text)


def test_possession_is_proven() -> None:
    """A signature of another key, one byte changed, and a digest of yesterday are refused."""
    assert "does not verify" in refused(raw_csr(key=OTHER))
    changed = GOOD.replace(b"web.shop.svc", b"w3b.shop.svc")
    assert "does not verify" in refused(pem(changed))
    assert "does not verify" in refused(pem(GOOD[:-1] + bytes([GOOD[-1] ^ 1])))
    assert "must be signed with SHA-256" in refused(csr(digest=hashes.SHA224()))
    assert "must be signed with SHA-256" in refused(csr(digest=hashes.SHA3_256()))


def test_signature_algorithm_of_another_kind_of_key() -> None:
    """An elliptic-curve key under the name of an RSA signature proves nothing."""
    rsa_with_sha256 = bytes.fromhex("300d06092a864886f70d01010b0500")
    info, _, signature = der.children(GOOD)
    assert "does not verify" in refused(pem(der.tlv(der.SEQUENCE, info + rsa_with_sha256 + signature)))


@pytest.mark.parametrize(
    ("subject", "says"),
    [
        (
            name((CN, TELETEX, b"web")),
            "commonName (2.5.4.3) is a TeletexString; write it as a PrintableString or UTF8String",
        ),
        (name((CN, BMP, "web".encode("utf-16-be"))), "is a BMPString"),
        (name((COUNTRY, UTF8, b"DE")), "countryName (2.5.4.6) is a UTF8String; write it as a PrintableString"),
        (
            name((DC, UTF8, b"example")),
            "domainComponent (0.9.2342.19200300.100.1.25) is a UTF8String; write it as a IA5String",
        ),
        (name((EMAIL, UTF8, b"a@b.example")), "write it as a IA5String"),
        (name((EMAIL, 0x16, b"no mailbox")), "is not a mailbox"),
        (name((DC, 0x16, b"a.b")), "is not one label"),
        (name((TITLE, UTF8, b"Dr\0")), "cannot be printed"),
        (name((TITLE, UTF8, b"D" * 65)), "1 to 64 characters"),
        (name(*[(ORGANIZATION, UTF8, b"%d" % n * 60) for n in range(10)] * 2), "1024 are the most"),
        (
            der.tlv(0x30, der.tlv(0x31, attribute(CN, UTF8, b"a") + attribute(CN, UTF8, b"b"))),
            "stands twice in one relative name",
        ),
        (name((CN, UTF8, b"web\0.evil")), "characters that cannot be printed"),
        (name((CN, UTF8, b"w" * 65)), "1 to 64 characters"),
        (name((CN, UTF8, b"")), "commonName (2.5.4.3) is empty"),
        (name((CN, UTF8, b"\xff")), "is not valid text"),
        (name((CN, PRINTABLE, b"*.a@b")), "PKCS#10 request in DER"),
        (der.tlv(0x30, der.tlv(0x31, b"")), "a relative name has no attribute"),
        (name((COUNTRY, PRINTABLE, b"DEU")), "country"),
    ],
)
def test_subjects_that_a_spec_cannot_say(subject: bytes, says: str) -> None:
    """An unknown attribute, an old string type, several values of one: each is refused by its name."""
    request = raw_csr(subject=subject, attributes=extension_request(alternative_names(b"\x82\x03web")))
    assert says in refused(request)


@pytest.mark.parametrize(
    ("subject", "literal"),
    [
        (name((DC, 0x16, b"org"), (DC, 0x16, b"example"), (CN, UTF8, b"web")), "CN=web,DC=example,DC=org"),
        (name((TITLE, UTF8, "Dr. ü, +=#".encode()), (CN, UTF8, b" a")), r"CN=\ a,title=Dr. ü\, \+=#"),
        (name((CN, UTF8, b"a"), (CN, UTF8, b"b"), (EMAIL, 0x16, b"a@b.example")), "emailAddress=a@b.example,CN=b,CN=a"),
        (name(("1.2.3", UTF8, b"x"), (COUNTRY, PRINTABLE, b"DE")), "C=DE,1.2.3=x"),
        (
            der.tlv(0x30, der.tlv(0x31, attribute(CN, UTF8, b"a") + attribute(ORGANIZATION, UTF8, b"b"))),
            "CN=a+O=b",
        ),
        (name(*[(ORGANIZATION, UTF8, b"%d" % n) for n in range(9)]), ",".join(f"O={n}" for n in reversed(range(9)))),
    ],
)
def test_subjects_that_only_a_literal_subject_can_say(subject: bytes, literal: str) -> None:
    """What has no field, several attributes in one relative name, and more than fields hold: as spec.literalSubject."""
    request = raw_csr(subject=subject, attributes=extension_request(alternative_names(b"\x82\x03web")))
    spec = spec_of(request)
    check_names(spec)
    assert spec.literal_subject is not None
    assert parse_literal_subject(spec.literal_subject) == parse_literal_subject(literal)
    assert (spec.subject, spec.common_name) == (Subject(), None)
    assert subject_name(spec).public_bytes() == subject


@pytest.mark.parametrize(
    ("general_name", "says"),
    [
        (b"\xa4\x0f" + name((CN, UTF8, b"a")), "cannot be read"),
        (b"\xa4\x0e" + name((CN, UTF8, b"a")), "subjectAltName[1]: a Certificate has no directoryName"),
        (b"\x88\x02\x2a\x03", "subjectAltName[1]: a Certificate has no registeredID"),
        (b"\xa3\x02\x30\x00", ""),
        (b"\xa5\x05\xa1\x03\x0c\x01a", ""),
        (b"\x87\x08\x0a\x00\x00\x00\xff\x00\x00\x00", ""),
        (b"\x87\x05\x0a\x00\x00\x01\x00", ""),
        (b"\x82\x07a\0.evil", '"a\\u0000.evil" is not a DNS name'),
        (b"\x82\x04\xc3\xa4.b", ""),
        (b"\x82\x00", "is not a DNS name"),
        (b"\x82\x01 ", "is not a DNS name"),
        (b"\x82\x0210", "is not a DNS name"),
        (b"\x81\x03a@\0", "is not an e-mail address"),
        (b"\x86\x03a:\0", "is not an absolute URI"),
        (b"\xa0\x0a" + object_identifier("1.2.3") + b"\xa0\x04\x16\x02ab", "otherName 1.2.3 is not a UTF8String"),
        (b"\xa0\x0a" + object_identifier("1.2.3") + b"\xa0\x04\x0c\x02\xffb", ""),
        (b"\xa0\x09" + object_identifier("1.2.3") + b"\xa0\x03\x0c\x01\0", "cannot be printed"),
    ],
)
def test_names_that_a_spec_cannot_say(general_name: bytes, says: str) -> None:
    """Every other kind of name, and every value that is not one, is refused; nothing is cut at a NUL."""
    assert says in refused(raw_csr(attributes=extension_request(alternative_names(b"\x82\x03web", general_name))))


def test_too_many_names() -> None:
    """A request carries as many names as a spec may, not more."""
    most = csr(names=[x509.DNSName(f"a{n}.svc") for n in range(250)])
    assert len(spec_of(most).dns_names) == 250
    assert "has 251 of dnsNames" in refused(csr(names=[x509.DNSName(f"a{n}.svc") for n in range(251)]))
    assert "are the most" in refused(csr(names=[x509.UniformResourceIdentifier("a:" + "b" * 2047)]))


def test_nothing_at_all() -> None:
    """A request without any name is refused as such a spec is."""
    assert "spec.request: must have a commonName" in refused(raw_csr())


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ([("1.2.3.4", b"x")], "has the attribute 1.2.3.4"),
        ([("1.3.6.1.4.1.311.2.1.14", b"x")], "attribute"),
    ],
)
def test_unknown_attributes(attributes: list[tuple[str, bytes]], says: str) -> None:
    """An attribute that may ask for something is not passed over."""
    assert says in refused(csr(attributes=attributes))


def test_attributes_that_are_passed_over() -> None:
    """OpenSSL asks for a challenge password, and takes an empty one for none."""
    assert spec_of(csr(attributes=[("1.2.840.113549.1.9.7", b"secret"), ("1.2.840.113549.1.9.2", b"x")])).dns_names


def test_two_extension_requests() -> None:
    """Of two lists of extensions only one would be looked at: neither is."""
    one = extension_request(alternative_names(b"\x82\x03web"))
    two = extension_request(alternative_names(b"\x82\x04evil"))
    assert "more than one extensionRequest" in refused(raw_csr(attributes=one + two))
    assert "cannot be read" in refused(
        raw_csr(attributes=extension_request(alternative_names(b"\x82\x03web"), alternative_names(b"\x82\x04evil")))
    )


DIGITAL_SIGNATURE = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=True,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
CERT_SIGN = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


@pytest.mark.parametrize(
    ("extension", "spec"),
    [
        (x509.BasicConstraints(ca=False, path_length=None), {}),
        (x509.BasicConstraints(ca=True, path_length=None), {"isCA": True, "maxPathLen": 0}),
        (x509.BasicConstraints(ca=True, path_length=0), {"isCA": True, "maxPathLen": 0}),
        (DIGITAL_SIGNATURE, {}),
        (DIGITAL_SIGNATURE, {"usages": ["signing"]}),
        (CERT_SIGN, {"isCA": True}),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), {"usages": ["server auth", "client auth"]}),
        (x509.SubjectKeyIdentifier(b"mine"), {}),
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2"), b"\x1e\x02\x00a"), {}),
        (
            x509.NameConstraints([x509.DNSName("shop.svc")], None),
            {"isCA": True, "nameConstraints": {"permitted": {"dnsDomains": ["shop.svc"]}}},
        ),
    ],
)
def test_extensions_that_agree(extension: x509.ExtensionType, spec: dict[str, Any]) -> None:
    """A request may say what the spec says, or less; what the issuer decides is passed over."""
    check_names(spec_of(csr(extensions=[(extension, False)]), **spec))


@pytest.mark.parametrize(
    ("extension", "spec", "says"),
    [
        (x509.BasicConstraints(ca=True, path_length=None), {}, "asks for a CA; spec.isCA says otherwise"),
        (x509.BasicConstraints(ca=False, path_length=None), {"isCA": True}, "asks for no CA"),
        (x509.BasicConstraints(ca=True, path_length=0), {"isCA": True}, "set spec.maxPathLen"),
        (x509.BasicConstraints(ca=True, path_length=1), {"isCA": True, "maxPathLen": 0}, "set spec.maxPathLen"),
        (CERT_SIGN, {}, 'asks for the usage "cert sign"; add it to spec.usages'),
        (DIGITAL_SIGNATURE, {"usages": ["server auth"]}, 'asks for the usage "digital signature"'),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), {}, 'asks for the usage "code signing"'),
        (x509.ExtendedKeyUsage([x509.ObjectIdentifier("1.2.3")]), {}, 'asks for the usage "1.2.3"'),
        (x509.NameConstraints([x509.DNSName("a")], None), {"isCA": True}, "other nameConstraints"),
        (x509.TLSFeature([x509.TLSFeatureType.status_request]), {}, "extension TLSFeature (1.3.6.1.5.5.7.1.24)"),
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\0"), {}, "the extension 1.2.3.4"),
        (x509.OCSPNoCheck(), {}, "the extension OCSPNoCheck"),
    ],
)
def test_extensions_that_contradict(extension: x509.ExtensionType, spec: dict[str, object], says: str) -> None:
    """What would be another certificate than the request asks for is refused, with what to change."""
    assert says in refused(csr(extensions=[(extension, True)]), **spec)


def test_usage_that_the_key_cannot_have() -> None:
    """Tools ask for key encipherment by default; no certificate of an elliptic-curve key has it, whoever asks."""
    assert spec_of(csr(extensions=[(DIGITAL_SIGNATURE, True)]), usages=["digital signature"]).is_ca is False


@pytest.mark.parametrize("curve", [ec.SECP224R1(), ec.SECP256K1(), ec.BrainpoolP256R1()], ids=lambda curve: curve.name)
def test_curves_that_are_not_certified(curve: ec.EllipticCurve) -> None:
    """Only the curves that a spec can name."""
    assert "not a curve that CLM uses" in refused(csr(key=ec.generate_private_key(curve)))


def test_keys_that_are_written_otherwise() -> None:
    """A compressed point is the same key under another hash: lists of known keys would miss it."""
    spki = spki_der(KEY.public_key())
    point = KEY.public_key().public_numbers()
    compressed = bytes([2 + point.y % 2]) + point.x.to_bytes(32, "big")
    algorithm = der.children(spki)[0]
    other = der.tlv(der.SEQUENCE, algorithm + der.tlv(der.BIT_STRING, b"\0" + compressed))
    assert "not written in the one form" in refused(raw_csr(spki=other, subject=name((CN, UTF8, b"web"))))


def test_key_of_no_known_kind() -> None:
    """Another algorithm is refused by a message, not by a library's error."""
    unknown = der.tlv(0x30, der.tlv(0x30, object_identifier("1.2.3")) + der.tlv(0x03, b"\0a"))
    assert "spec.request" in refused(raw_csr(spki=unknown, subject=name((CN, UTF8, b"web"))))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("commonName", "a"),
        ("subject", {"organizations": ["a"]}),
        ("literalSubject", "CN=a"),
        ("dnsNames", ["a"]),
        ("ipAddresses", ["10.0.0.1"]),
        ("uris", ["a:b"]),
        ("emailAddresses", ["a@b"]),
        ("otherNames", [{"oid": "1.2.3", "utf8Value": "a"}]),
        ("privateKey", {"algorithm": "RSA"}),
        ("keystores", {"jks": {"create": True}}),
        ("additionalOutputFormats", [{"type": "DER"}]),
        ("authority", {"crl": {}}),
    ],
)
def test_fields_that_cannot_stand_beside_it(field: str, value: object) -> None:
    """Whatever the request says itself, or makes impossible, is refused by its field."""
    with pytest.raises(InvalidInput, match=rf"spec\.{field}: must not stand beside request"):
        parse_certificate({"policyRef": {"name": "p"}, "secretName": "s", "request": csr(), field: value})


def test_hash_of_what_is_issued() -> None:
    """Another key or name is another certificate; the same request signed again, or wrapped otherwise, is not."""
    digest = issuance_hash(spec_of(pem(GOOD)))
    assert issuance_hash(spec_of(csr(digest=hashes.SHA384()))) == digest
    assert issuance_hash(spec_of(pem(GOOD, "NEW CERTIFICATE REQUEST"))) == digest
    assert issuance_hash(spec_of(csr(key=OTHER))) != digest
    assert issuance_hash(spec_of(csr(names=[x509.DNSName("b.svc")]))) != digest
    assert issuance_hash(spec_of(pem(GOOD), duration="24h")) != digest


def test_ed25519_key_of_small_order() -> None:
    """For such a key everybody can make a signature that verifies."""
    spki = spki_der(ed25519.Ed25519PublicKey.from_public_bytes(bytes([1]) + bytes(31)))
    assert "small order" in refused(raw_csr(spki=spki, subject=name((CN, UTF8, b"web"))))


@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    """Whatever somebody writes there is refused as input, and never fails otherwise."""
    if text:
        refused(text)


@given(st.binary(max_size=300))
def test_any_octets(octets: bytes) -> None:
    """So are any octets in a well-formed block."""
    refused(pem(octets))


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=4), st.data())
def test_any_change(changes: list[tuple[int, int]], data: st.DataObject) -> None:
    """A request that was changed anywhere, cut or lengthened, is refused or is still the same."""
    changed = bytearray(GOOD)
    for at, value in changes:
        changed[at] = value
    cut = data.draw(st.integers(0, len(GOOD) - 1))
    if bytes(changed) != GOOD:
        refused(pem(bytes(changed)))
    refused(pem(bytes(changed[:cut]) + bytes(changed[cut + 1 :])))


@given(
    subject=st.lists(
        st.tuples(
            st.sampled_from([CN, COUNTRY, ORGANIZATION, TITLE, DC, EMAIL, "2.5.4.5", "1.2.3"]),
            st.sampled_from([UTF8, PRINTABLE, TELETEX, BMP, 0x16, 0x04]),
            st.binary(max_size=12),
        ),
        max_size=3,
    ),
    names=st.lists(st.tuples(st.sampled_from(range(0x80, 0xA9)), st.binary(max_size=20)), max_size=3),
)
def test_any_names(subject: list[tuple[str, int, bytes]], names: list[tuple[int, bytes]]) -> None:
    """Whatever is signed as subject and names is taken over as it is, or refused as input."""
    listed = alternative_names(*(der.tlv(tag, octets) for tag, octets in names))
    request = raw_csr(subject=name(*subject), attributes=extension_request(listed))
    try:
        spec = spec_of(request)
        check_names(spec)
    except InvalidInput:
        return
    values = {*spec.dns_names, *spec.uris, *spec.email_addresses}
    assert values == {octets.decode() for tag, octets in names if tag in (0x81, 0x82, 0x86)}


INFO = der.children(GOOD)[0]


@given(
    changes=st.lists(st.tuples(st.integers(0, len(INFO) - 1), st.integers(0, 255)), min_size=1, max_size=3),
    cut=st.integers(0, len(INFO) - 1),
)
def test_any_signed_change(changes: list[tuple[int, int]], cut: int) -> None:
    """With a signature that fits too: what is taken is in the certificate as it is in the request, and nothing else."""
    changed = bytearray(INFO)
    for at, value in changes:
        changed[at] = value
    for info in (bytes(changed), bytes(changed[:cut] + changed[cut + 1 :])):
        request = signed(info)
        try:
            spec = spec_of(request)
            check_names(spec)
        except InvalidInput:
            continue
        brought = x509.load_der_x509_csr(der_of(request))
        assert subject_name(spec).public_bytes() == brought.subject.public_bytes()
        names = brought.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert set(general_names(spec)) == set(names)


def test_what_the_library_does_not_know() -> None:
    """A TLS feature without a name is a KeyError there (RFC 7633), and input that cannot be read here."""
    feature = der.tlv(0x30, bytes.fromhex("06082b06010505070118") + der.tlv(0x04, b"\x30\x03\x02\x01\x0d"))
    request = raw_csr(subject=name((CN, UTF8, b"web")), attributes=extension_request(feature))
    assert "cannot be read" in refused(request)
