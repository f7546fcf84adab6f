"""PKCS #11 URIs: the RFC's own examples, what is refused, and what is never shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clm.errors import InvalidInput
from clm.hsm.uri import TokenUri

# RFC 7512 section 3, unfolded.
RFC_EXAMPLES = (
    "pkcs11:",
    "pkcs11:object=my-pubkey;type=public",
    "pkcs11:object=my-key;type=private?pin-source=file:/etc/token",
    (
        "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;"
        "object=my-certificate;type=cert;id=%69%95%3E%5C%F4%BD%EC%91;serial=?pin-source=file:/etc/token_pin"
    ),
    "pkcs11:object=my-sign-key;type=private?module-name=mypkcs11",
    "pkcs11:object=my-sign-key;type=private?module-path=/mnt/libmypkcs11.so.1",
    "pkcs11:token=Software%20PKCS%2311%20softtoken;manufacturer=Snake%20Oil,%20Inc.?pin-value=the-pin",
    "pkcs11:slot-description=Sun%20Metaslot",
    (
        "pkcs11:library-manufacturer=Snake%20Oil,%20Inc.;library-description=Soft%20Token%20Library;"
        "library-version=1.23;token=My%20token%25%20created%20by%20Joe;model=3.1"
    ),
    "pkcs11:token=A%20name%20with%20a%20substring%20%25%3B;object=my-certificate;type=cert",
    "pkcs11:token=Name%20with%20a%20small%20A%20with%20acute:%20%C3%A1;object=my-certificate;type=cert",
)


@pytest.mark.parametrize("text", RFC_EXAMPLES)
def test_example_of_the_rfc(text: str) -> None:
    """Each example is read, and reads the same after being written."""
    uri = TokenUri.parse(text)
    assert TokenUri.parse(str(uri)) == uri


def test_values_are_decoded() -> None:
    """Percent-encoding is undone, also where the octets are no text."""
    uri = TokenUri.parse(RFC_EXAMPLES[3])
    assert uri.token == "The Software PKCS#11 Softtoken"
    assert uri.key_id == bytes.fromhex("69953e5cf4bdec91")
    assert uri.serial == ""
    assert uri.text("pin-source") == "file:/etc/token_pin"
    assert TokenUri.parse(RFC_EXAMPLES[10]).token == "Name with a small A with acute: á"


@pytest.mark.parametrize(
    "text",
    [
        "http:token=x",
        "pkcs11",
        "pkcs11:token=a;token=b",
        "pkcs11:?pin-value=1&pin-value=2",
        "pkcs11:vendor=x",
        "pkcs11:token",
        "pkcs11:token=a;;object=b",
        "pkcs11:token=a;",
        "pkcs11:token=%4",
        "pkcs11:token=%zz",
        "pkcs11:token=100%",
        "pkcs11:token=a b",
        "pkcs11:token=a/b",
        "pkcs11:type=key",
        "pkcs11:slot-id=one",
        "pkcs11:token=a?pin-value=1&pin-source=file:/pin",
        "pkcs11:token=a?pin-source=|/bin/cat%20/pin",
        "pkcs11:token=a?pin-source=%7C/bin/cat%20/pin",
        "pkcs11:token=a?secret=x",
        "pkcs11:token=á",
    ],
)
def test_refused(text: str) -> None:
    """What the grammar or CLM forbids is refused."""
    with pytest.raises(InvalidInput):
        TokenUri.parse(text)


@pytest.mark.parametrize("text", ["pkcs11:?pin-value=hunter2", "pkcs11:token=x?pin-value=hunter2&module-name=m"])
def test_pin_is_not_shown(text: str) -> None:
    """Neither `redacted` nor `repr` shows the PIN."""
    uri = TokenUri.parse(text)
    assert "hunter2" not in uri.redacted() + repr(uri)
    assert "hunter2" in str(uri)


@pytest.mark.parametrize("text", ["pkcs11:?pin-value=hunter2%", "pkcs11:?pin-value=a&hunter2", "pkcs11:hunter2=x"])
def test_pin_is_not_in_the_error(text: str) -> None:
    """A URI that cannot be read may still hold a PIN: no error shows it."""
    with pytest.raises(InvalidInput) as caught:
        TokenUri.parse(text)
    assert "hunter2" not in str(caught.value)


@given(st.binary(max_size=40), st.binary(min_size=1, max_size=20), st.text(max_size=20).filter(lambda t: t[:1] != "|"))
def test_any_octets_survive_writing_and_reading(label: bytes, key_id: bytes, source: str) -> None:
    """Whatever the octets, they are the same after str and parse."""
    uri = TokenUri(path=(("token", label), ("id", key_id)), query=(("pin-source", source.encode()),))
    assert TokenUri.parse(str(uri)) == uri


@given(st.text(max_size=60))
def test_no_text_breaks_the_parser(rest: str) -> None:
    """Any text is either read or refused."""
    try:
        uri = TokenUri.parse("pkcs11:" + rest)
    except InvalidInput:
        return
    assert TokenUri.parse(str(uri)) == uri
