"""A certificate lives exactly as long as was asked for, and never outside its issuer's life."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clm.errors import InvalidInput
from clm.pki.tbs import BACKDATE, validity
from tests.unit.pki.issuing import LEAF, NOW, certificate_spec

if TYPE_CHECKING:
    from tests.unit.pki.issuing import Authority

SECOND = timedelta(seconds=1)


def test_it_begins_a_little_before_now(root: Authority) -> None:
    """Backdated for slow clocks; both ends count (RFC 5280 4.1.2.5)."""
    issuer = dataclasses.replace(root.issuer, not_before=NOW - timedelta(days=1))
    begin, end = validity(certificate_spec(LEAF), issuer, NOW + timedelta(milliseconds=900))
    assert begin == NOW - BACKDATE
    assert end - begin + SECOND == timedelta(hours=24)


@given(
    moment=st.timedeltas(min_value=timedelta(), max_value=timedelta(days=3)),
    lifetime=st.timedeltas(min_value=timedelta(hours=1), max_value=timedelta(days=30)),
)
def test_it_lies_within_the_issuers(root: Authority, moment: timedelta, lifetime: timedelta) -> None:
    """Whenever it is issued: inside the issuer's life, not longer than asked for, in whole seconds."""
    issuer = dataclasses.replace(root.issuer, not_before=NOW, not_after=NOW + timedelta(days=4))
    spec = dataclasses.replace(certificate_spec(LEAF), duration=lifetime)
    begin, end = validity(spec, issuer, NOW + moment)
    assert NOW <= begin <= NOW + moment < end <= NOW + timedelta(days=4)
    assert end - begin + SECOND <= lifetime
    assert begin.microsecond == 0


@pytest.mark.parametrize("not_after", [NOW, NOW - timedelta(days=1)])
def test_an_expired_issuer_issues_nothing(root: Authority, not_after: datetime) -> None:
    """The message says what to renew."""
    issuer = dataclasses.replace(root.issuer, not_before=NOW - timedelta(days=9), not_after=not_after)
    with pytest.raises(InvalidInput, match="the issuing CA expired"):
        validity(certificate_spec(LEAF), issuer, NOW)
