"""Which PKCS#11 errors mean that the token or its sessions are lost, and what the others become.

After a loss nothing but finalize, initialize, login and looking the keys up again helps, so these errors are never
the answer to a caller: the token connects again and repeats the operation.
"""

from __future__ import annotations

import re

from pkcs11 import exceptions as p11

from clm.errors import ClmError, HsmError, Unsupported
from clm.hsm.library import StaleGenerationError

_LOST = (
    StaleGenerationError,
    p11.DeviceError,
    p11.DeviceRemoved,
    p11.TokenNotPresent,
    p11.TokenNotRecognised,
    p11.SessionHandleInvalid,
    p11.SessionClosed,
    p11.SessionCount,
    p11.SlotIDInvalid,
    p11.ObjectHandleInvalid,
    p11.KeyHandleInvalid,
    p11.WrappingKeyHandleInvalid,
    p11.UserNotLoggedIn,
    p11.GeneralError,
    p11.FunctionFailed,
    p11.OperationActive,
    p11.OperationNotInitialized,
)
# python-pkcs11 has no class for these, they arrive as the bare class with the code in the text:
# CKR_GENERAL_ERROR of C_Initialize (a token store that vanished), CKR_DEVICE_ERROR, CKR_CRYPTOKI_NOT_INITIALIZED, and
# what kryoptic answers for a token that was emptied.
_LOST_CODES = (0x5, 0x30, 0x190, 0x208)
_CODE = re.compile(r"error code (0x[0-9a-f]+)", re.IGNORECASE)

_UNSUPPORTED = (p11.MechanismInvalid, p11.MechanismParamInvalid, p11.FunctionNotSupported, p11.KeySizeRange)


class LostError(Exception):
    """The token does not look as it should; connect again and repeat. Never leaves this room."""


def is_lost(error: BaseException) -> bool:
    """Whether `error` asks for a new connection, not for an answer to the caller."""
    if isinstance(error, (LostError, *_LOST)):
        return True
    if type(error) is not p11.PKCS11Error:
        return False
    code = _CODE.search(str(error))
    return "not initialized" in str(error) or (code is not None and int(code[1], 16) in _LOST_CODES)


def describe(error: BaseException) -> str:
    """Name of a PKCS#11 error with its text, which may be empty."""
    name = type(error).__name__
    return f"{name}: {error}" if str(error) else name


def to_clm_error(error: p11.PKCS11Error) -> ClmError:
    """Exception of CLM for an answer of the token that is no loss."""
    if isinstance(error, _UNSUPPORTED):
        return Unsupported(f"the token does not do this: {describe(error)}")
    return HsmError(f"the token answers {describe(error)}")
