"""The few Cryptoki functions that python-pkcs11 lacks or calls in a way that CLM cannot use.

python-pkcs11 calls ``C_Initialize(NULL)``, by which an application promises to use one thread only (PKCS#11 2.40
base 5.4); modules then switch their locks off, and threads crash the process. It has no ``C_InitToken``, and its
login leaks a session for every rejected PIN.
"""

from __future__ import annotations

import ctypes

CKF_OS_LOCKING_OK = 0x2
CKU_SO = 0
CKU_USER = 1
CKS_RW_USER_FUNCTIONS = 3

CKR_OK = 0x00
CKR_PIN_INCORRECT = 0xA0
CKR_PIN_INVALID = 0xA1
CKR_PIN_LEN_RANGE = 0xA2
CKR_PIN_EXPIRED = 0xA3
CKR_PIN_LOCKED = 0xA4
CKR_USER_ALREADY_LOGGED_IN = 0x100
CKR_USER_PIN_NOT_INITIALIZED = 0x102
CKR_CRYPTOKI_NOT_INITIALIZED = 0x190
CKR_CRYPTOKI_ALREADY_INITIALIZED = 0x191

_FUNCTION_NAMES = (
    "C_Initialize",
    "C_Finalize",
    "C_GetInfo",
    "C_GetFunctionList",
    "C_GetSlotList",
    "C_GetSlotInfo",
    "C_GetTokenInfo",
    "C_GetMechanismList",
    "C_GetMechanismInfo",
    "C_InitToken",
    "C_InitPIN",
    "C_SetPIN",
    "C_OpenSession",
    "C_CloseSession",
    "C_CloseAllSessions",
    "C_GetSessionInfo",
    "C_GetOperationState",
    "C_SetOperationState",
    "C_Login",
    "C_Logout",
)
_LABEL_OCTETS = 32


class _Version(ctypes.Structure):
    _fields_ = (("major", ctypes.c_ubyte), ("minor", ctypes.c_ubyte))


class _FunctionList(ctypes.Structure):
    """Head of CK_FUNCTION_LIST (PKCS#11 2.40 base, pkcs11f.h gives the order)."""

    _fields_ = (("version", _Version), *((name, ctypes.c_void_p) for name in _FUNCTION_NAMES))


class _InitializeArguments(ctypes.Structure):
    """CK_C_INITIALIZE_ARGS (PKCS#11 2.40 base 3.7)."""

    _fields_ = (
        ("CreateMutex", ctypes.c_void_p),
        ("DestroyMutex", ctypes.c_void_p),
        ("LockMutex", ctypes.c_void_p),
        ("UnlockMutex", ctypes.c_void_p),
        ("flags", ctypes.c_ulong),
        ("pReserved", ctypes.c_void_p),
    )


class _SessionInfo(ctypes.Structure):
    """CK_SESSION_INFO (PKCS#11 2.40 base 3.3)."""

    _fields_ = (
        ("slotID", ctypes.c_ulong),
        ("state", ctypes.c_ulong),
        ("flags", ctypes.c_ulong),
        ("ulDeviceError", ctypes.c_ulong),
    )


class Cryptoki:
    """Direct calls into one module. Every method returns a CK_RV and raises nothing of its own."""

    def __init__(self, module_path: str) -> None:
        """Load the module. Raises OSError when it cannot be loaded or is no PKCS#11 module."""
        module = ctypes.CDLL(module_path)
        functions = ctypes.POINTER(_FunctionList)()
        try:
            result = module.C_GetFunctionList(ctypes.byref(functions))
        except AttributeError:
            raise OSError(f"{module_path} is not a PKCS#11 module") from None
        if result != CKR_OK:
            raise OSError(f"{module_path}: C_GetFunctionList answers {result:#x}")
        self._module = module
        self._functions = functions

    def initialize(self) -> int:
        """Call C_Initialize with operating system locks, so that every thread may call the module."""
        arguments = _InitializeArguments(flags=CKF_OS_LOCKING_OK)
        return self._call("C_Initialize", ctypes.byref(arguments))

    def finalize(self) -> int:
        """Call C_Finalize. No other call may be in flight."""
        return self._call("C_Finalize", None)

    def init_token(self, slot_id: int, so_pin: str, label: str) -> int:
        """Call C_InitToken: the label is padded with blanks, not terminated (PKCS#11 2.40 base 5.5)."""
        pin = so_pin.encode()
        padded = label.encode().ljust(_LABEL_OCTETS)
        return self._call("C_InitToken", ctypes.c_ulong(slot_id), pin, ctypes.c_ulong(len(pin)), padded)

    def login(self, session: int, user_type: int, pin: str) -> int:
        """Call C_Login. It logs in every session that this process has with the token, also later ones."""
        octets = pin.encode()
        return self._call(
            "C_Login", ctypes.c_ulong(session), ctypes.c_ulong(user_type), octets, ctypes.c_ulong(len(octets))
        )

    def session_state(self, session: int) -> tuple[int, int]:
        """Call C_GetSessionInfo: the CK_RV and the state (CKS_*)."""
        info = _SessionInfo()
        return self._call("C_GetSessionInfo", ctypes.c_ulong(session), ctypes.byref(info)), int(info.state)

    def _call(self, name: str, *arguments: object) -> int:
        prototype = ctypes.CFUNCTYPE(ctypes.c_ulong)
        function = prototype(getattr(self._functions.contents, name))
        return int(function(*arguments))
