"""Which errors ask for a new connection, and which are the token's answer."""

from __future__ import annotations

import pytest
from pkcs11 import exceptions as p11

from clm.errors import HsmError, Unsupported
from clm.hsm.faults import LostError, describe, is_lost, to_clm_error


@pytest.mark.parametrize(
    "error",
    [
        LostError(),
        p11.DeviceRemoved(),
        p11.SessionHandleInvalid(),
        p11.ObjectHandleInvalid(),
        p11.UserNotLoggedIn(),
        p11.GeneralError(),
        p11.PKCS11Error("Unmapped error code 0x30"),
        p11.PKCS11Error("C_Initialize answers error code 0x5"),
        p11.PKCS11Error("Initialisation error (not initialized). Should never see this."),
    ],
)
def test_lost(error: Exception) -> None:
    """The token or the session is gone."""
    assert is_lost(error)


@pytest.mark.parametrize(
    "error",
    [
        p11.MechanismInvalid(),
        p11.KeyUnextractable(),
        p11.AttributeSensitive(),
        p11.PKCS11Error("Unmapped error code 0x1b"),
        p11.PKCS11Error("Unmapped error code 0x54"),
        ValueError("error code 0x30"),
    ],
)
def test_answered(error: Exception) -> None:
    """The token answered: connecting again would not change it."""
    assert not is_lost(error)


def test_answers_become_clm_errors() -> None:
    """A missing mechanism is told from other errors."""
    assert isinstance(to_clm_error(p11.MechanismInvalid()), Unsupported)
    other = to_clm_error(p11.TemplateInconsistent())
    assert type(other) is HsmError
    assert "TemplateInconsistent" in str(other)
    assert describe(p11.PKCS11Error("code")) == "PKCS11Error: code"
