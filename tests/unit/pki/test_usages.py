"""cert-manager's usage names become the bits and object identifiers of RFC 5280."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clm.errors import InvalidInput
from clm.pki.usages import SYNONYMS, canonical, extended_key_usage, key_usage, usage_names
from clm.resources.usages import USAGES

if TYPE_CHECKING:
    from cryptography import x509

    from clm.resources.keys import KeyAlgorithm

ALGORITHMS: tuple[KeyAlgorithm, ...] = ("RSA", "ECDSA", "Ed25519")
NOT_OF: dict[KeyAlgorithm, set[str]] = {
    "RSA": {"key agreement", "encipher only", "decipher only"},
    "ECDSA": {"key encipherment", "data encipherment"},
    "Ed25519": {"key encipherment", "data encipherment", "key agreement", "encipher only", "decipher only"},
}


def extensions(usages: tuple[str, ...], algorithm: KeyAlgorithm) -> list[x509.ExtensionType]:
    """Build both extensions, as far as there are any."""
    both = (key_usage(usages, algorithm=algorithm), extended_key_usage(usages))
    return [extension for extension in both if extension is not None]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(chosen=st.sets(st.sampled_from(USAGES)))
def test_what_is_asked_for_is_written(algorithm: KeyAlgorithm, chosen: set[str]) -> None:
    """Every usage comes back by its common name, but for those that the key does not have; none is added."""
    expected = set(map(canonical, chosen)) - NOT_OF[algorithm]
    if "cert sign" in chosen:
        expected -= {"key encipherment", "data encipherment"}  # RFC 3279 2.3.1
    try:
        written = set(usage_names(extensions(tuple(chosen), algorithm)))
    except InvalidInput as error:
        only = "encipher only" in chosen or "decipher only" in chosen
        assert (only and "key agreement" not in chosen) or "have none of these usages" in str(error)  # noqa: PT017
        return
    assert written == expected


def test_synonyms_are_usages() -> None:
    """Both names of a pair stand in the API."""
    assert set(SYNONYMS) | set(SYNONYMS.values()) <= set(USAGES)


def test_only_extended_usages_leave_key_usage_out() -> None:
    """As in cert-manager: an extension that restricts nothing is better than one that allows nothing."""
    assert key_usage(("server auth", "client auth"), algorithm="ECDSA") is None
    assert extended_key_usage(("digital signature",)) is None


def test_the_default_of_an_elliptic_curve_key_signs_only() -> None:
    """RFC 8813 3: keyEncipherment must not be present."""
    usage = key_usage(("digital signature", "key encipherment"), algorithm="ECDSA")
    assert usage is not None
    assert (usage.digital_signature, usage.key_encipherment) == (True, False)


def test_object_identifiers_are_usages_too() -> None:
    """One that has a name is that usage, one that has none is written as it is, and both are read back."""
    own = "1.3.6.1.4.1.55555.1"
    asked = ("server auth", "1.3.6.1.5.5.7.3.1", own, "2.5.29.37.0")
    extended = extended_key_usage(asked)
    assert extended is not None
    assert [oid.dotted_string for oid in extended] == ["1.3.6.1.5.5.7.3.1", own, "2.5.29.37.0"]
    assert list(usage_names([extended])) == ["any", "server auth", own]
    assert key_usage(asked, algorithm="ECDSA") is None


@pytest.mark.parametrize("wrong", ["0.40.1", "2", "magic", "1.2.3 ", "1." + "9" * 600])
def test_what_is_no_usage_is_refused(wrong: str) -> None:
    """It is named, with its field."""
    with pytest.raises(InvalidInput, match=r"spec\.usages: .*is not an object identifier"):
        extended_key_usage(("server auth", wrong))


def test_the_order_of_extended_usages_is_kept() -> None:
    """And each is there once, under whichever name."""
    extended = extended_key_usage(("s/mime", "server auth", "email protection"))
    assert extended is not None
    assert [oid.dotted_string for oid in extended] == ["1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.1"]
