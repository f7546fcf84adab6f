"""Keys that are made once a session, and a CA over them."""

from __future__ import annotations

import pytest

from clm.pki.tbs import ThrowawayKeys
from tests.unit.pki.issuing import Authority, Keys


@pytest.fixture(scope="session")
def keys() -> Keys:
    """Key pairs of every kind."""
    return Keys()


@pytest.fixture(scope="session")
def throwaway() -> ThrowawayKeys:
    """Keys whose signatures are thrown away."""
    return ThrowawayKeys()


@pytest.fixture(scope="session")
def root(keys: Keys, throwaway: ThrowawayKeys) -> Authority:
    """A self-signed P-256 CA."""
    return Authority.root(keys, throwaway)
