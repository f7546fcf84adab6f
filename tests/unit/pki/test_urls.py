"""The URLs that are fixed in a certificate: of its CRL, of OCSP, and of its CA's certificate."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from clm.pki.urls import Publishing, crl_url
from clm.resources.authority import AuthoritySpec, CrlSpec
from tests.unit.pki.issuing import LEAF, Authority, Keys, certificate_spec

if TYPE_CHECKING:
    from clm.pki.profile import Urls
    from clm.pki.tbs import ThrowawayKeys

KEY = uuid.UUID(int=1)
BASE = "http://pki.example.com"


def publishing(*, shards: int | None = 1, ocsp: bool = True) -> Publishing:
    """A CA that publishes."""
    return Publishing(BASE, KEY, AuthoritySpec(crl=CrlSpec(shards=shards) if shards else None, ocsp=ocsp))


@pytest.mark.parametrize(
    ("made", "serial", "crl", "ocsp"),
    [
        (publishing(), 7, (f"{BASE}/crl/{KEY}.crl",), (f"{BASE}/ocsp",)),
        (publishing(shards=4), 7, (f"{BASE}/crl/{KEY}/4/3.crl",), (f"{BASE}/ocsp",)),
        (publishing(shards=4, ocsp=False), 8, (f"{BASE}/crl/{KEY}/4/0.crl",), ()),
        (publishing(shards=None), 7, (), (f"{BASE}/ocsp",)),
    ],
)
def test_urls_of_a_certificate(made: Publishing, serial: int, crl: tuple[str, ...], ocsp: tuple[str, ...]) -> None:
    """Of what is published, and no other; the CA's certificate is found in any case."""
    urls: Urls = made.urls(serial)
    assert (urls.crl, urls.ocsp, urls.ca_issuers) == (crl, ocsp, (f"{BASE}/ca/{KEY}.cer",))


@given(st.integers(1, 2**159), st.integers(1, 256))
def test_a_serial_falls_into_one_partition(serial: int, shards: int) -> None:
    """Which one, anybody can compute from the serial."""
    assert publishing(shards=shards).urls(serial).crl == (
        crl_url(BASE, KEY, shards=shards, shard=serial - serial // shards * shards),
    )


def test_they_are_in_the_certificate(keys: Keys, throwaway: ThrowawayKeys) -> None:
    """CRLDistributionPoints and AuthorityInfoAccess say them, as cryptography reads them."""
    root = Authority.root(keys, throwaway)
    der = root.issue(certificate_spec(LEAF), keys.get("leaf"), publishing(shards=4).urls(6))
    extensions = x509.load_der_x509_certificate(der).extensions
    (point,) = extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    access = extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    assert [name.value for name in point.full_name or ()] == [f"{BASE}/crl/{KEY}/4/2.crl"]
    assert [each.access_location.value for each in access] == [f"{BASE}/ocsp", f"{BASE}/ca/{KEY}.cer"]
