"""States of a key and the way from one to the next (NIST SP 800-57 part 1, section 7), and how long a key is used."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clm.resources.records import KeyPurpose, KeyState

KeyAct = Literal["suspend", "resume", "deactivate", "compromise", "destroy"]

TRANSITIONS: Mapping[KeyState, frozenset[KeyState]] = {
    "generating": frozenset({"active", "destroyed"}),
    "active": frozenset({"suspended", "deactivated", "compromised"}),
    "suspended": frozenset({"active", "deactivated", "compromised"}),
    "deactivated": frozenset({"compromised", "destroyed"}),
    "compromised": frozenset({"destroyed"}),
    "destroyed": frozenset(),
}
"""States that may follow. The database refuses every other step by itself."""

ACTS: Mapping[KeyAct, KeyState] = {
    "suspend": "suspended",
    "resume": "active",
    "deactivate": "deactivated",
    "compromise": "compromised",
    "destroy": "destroyed",
}
"""State that each act leads to."""

DESTRUCTION_BEGUN = "destruction begun: "
"""How `state_reason` begins between the two commits of a destruction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cryptoperiod:
    """How long a key protects something new, and until when after that it may be used on what it protected."""

    originator: timedelta
    recipient: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Cryptoperiods:
    """Cryptoperiods by purpose; the defaults are within SP 800-57 part 1, table 1.

    Private signature keys 1 to 3 years; symmetric keys that wrap or encrypt up to 2 years, and 3 more to read.
    """

    ca_signing: timedelta = timedelta(days=3 * 365)
    key_encryption: timedelta = timedelta(days=2 * 365)
    audit_sealing: timedelta = timedelta(days=2 * 365)

    def of(self, purpose: KeyPurpose) -> Cryptoperiod:
        """Period of a purpose. A signature verifies for as long as somebody asks: private keys have no second one."""
        match purpose:
            case "ca-signing":
                return Cryptoperiod(originator=self.ca_signing, recipient=self.ca_signing)
            case "audit-sealing":
                return Cryptoperiod(originator=self.audit_sealing, recipient=self.audit_sealing)
            case _:
                read_on = timedelta(days=3 * 365)
                return Cryptoperiod(originator=self.key_encryption, recipient=self.key_encryption + read_on)
