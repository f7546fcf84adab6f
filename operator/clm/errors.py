"""Every exception that CLM raises on purpose.

A reconcile does not raise for what a user can mend: it returns a result. These are for what the
code around it has to tell apart.

ClmError
├── InvalidInput            a value that a person wrote is wrong; names the field
│   └── InvalidSetting      an installation setting is wrong or missing
├── Unavailable             a dependency is away; trying again later may work
│   ├── HsmUnavailable      the token does not answer, or its sessions are lost
│   ├── DatabaseUnavailable one of the two databases does not answer
│   ├── FileUnavailable     a file that a setting names cannot be read, or is not what it should be
│   └── ClusterUnavailable  the API server does not answer, or asks to slow down
│       └── Forbidden       the API server grants us no right to it (HTTP 403); at its start it does not know rights yet
├── Conflict                somebody else was first
│   ├── StaleObject         the object has changed since it was read (HTTP 409 on update)
│   │   └── Overtaken       somebody changed a Secret while it was put right; tells who
│   ├── AlreadyExists       an object of that name stands (HTTP 409 on create)
│   ├── RevisionTaken       another worker has already written this revision's intent
│   ├── CrlOvertaken        another controller has published a CRL since the one to be replaced was looked up
│   └── NotOurs             a Secret of that name stands and does not belong to the Certificate
├── KeyPending              a key is being generated; the object is called when it is there
├── QuotaExceeded           a Policy's quota has no token left for a namespace
├── IssuanceFailed          an attempt failed for the object's own sake: it is counted, and the next one waits for long
├── NotFound                the API server has no such object (HTTP 404)
├── Refused                 the API server will not take the object (HTTP 403 by admission: quota, webhook)
│   └── Invalid             it will never take it as it is (HTTP 400, 413, 422)
│       └── SecretTooLarge  a Secret would have more than Kubernetes takes; found before it is sent
├── KeystorePasswordNotFound  the Secret with the password of a keystore, or its key, is not there (yet)
├── KeystorePasswordInvalid   what is there cannot be a password of a keystore
├── DatabaseUnprepared      a database lacks a table, a function or a right that CLM needs; `clm migrate` brings it
├── HsmError                the token answered, and the answer is an error
│   ├── PinRejected         wrong, expired or locked PIN; never tried again by itself
│   ├── KeyMissing          the token has no such key; never a reason to make a new one
│   ├── KeyMismatch         the token has a key of that id that is not the recorded one
│   ├── TokenMismatch       another token answers under the same label
│   ├── Unsupported         the token lacks a mechanism that is needed
│   └── WrapRejected        a wrapped key does not open: changed, moved or under another key
├── KeyNotActive            a key is suspended, or past its use: it protects nothing new
├── KeyInUse                a key cannot go into another state: something depends on it, or the step is not allowed
├── SubjectErased           a person's data were erased: nothing about them is written or read any more
├── UnderLegalHold          what must be kept for now cannot be erased
├── MalformedRequest        what came over HTTP is no OCSP request
├── NotRevocable            a certificate cannot be revoked: unknown, ambiguous, expired or self-signed
├── LintFailed              a to-be-signed certificate breaks a rule of its profile
├── SignatureInvalid        what the token signed does not verify; never stored
├── AuditFailed             the audit log, or a proof about it, is not what it should be
│   ├── RecordUnreadable    what should be an audit record cannot be read as one
│   ├── NoteInvalid         a signed note does not parse, or its signature does not verify
│   ├── LogBehind           the log is behind, or beside, what was anchored: rolled back, cut or replaced
│   └── ArchiveInvalid      an archive of the log is not what was sealed
├── MigrationFailed         a database schema is not what the migrations say
├── StartFailed             a program of `clm dev` cannot be started, readied or stopped
├── ControllerEnded         a part of the controller ended by itself; the process has to end and start again
└── ResponderEnded          a part of the responder ended by itself; likewise
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

_SHOWN = 20
"""Problems that a message lists at most."""


class ClmError(Exception):
    """Base of every exception that CLM raises on purpose."""


class InvalidInput(ClmError):
    """A value that a person wrote is wrong.

    `field` is its path as in the manifest, for example ``spec.dnsNames[2]``.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class InvalidSetting(InvalidInput):
    """An installation setting is wrong or missing."""


class Unavailable(ClmError):
    """A dependency is away; trying again later may work."""


class HsmUnavailable(Unavailable):
    """The token does not answer, or its sessions are lost."""


class DatabaseUnavailable(Unavailable):
    """One of the two databases does not answer."""


class FileUnavailable(Unavailable):
    """A file that a setting names cannot be read, or is not what it should be."""


class ClusterUnavailable(Unavailable):
    """The API server does not answer, or asks to slow down."""


class Forbidden(ClusterUnavailable):
    """The API server grants us no right to what was asked.

    Right after its start it has not loaded its roles yet, and a right may be given later: so it is tried again.
    """


class Conflict(ClmError):
    """Somebody else was first."""


class StaleObject(Conflict):
    """The object has changed since it was read."""


class Overtaken(StaleObject):
    """Somebody changed a Secret while it was put right. `changed_by` tells who had changed it before."""

    def __init__(self, message: str, changed_by: str) -> None:
        super().__init__(message)
        self.changed_by = changed_by


class AlreadyExists(Conflict):
    """An object of that name stands."""


class RevisionTaken(Conflict):
    """Another worker has already written the intent of this revision."""


class CrlOvertaken(Conflict):
    """Another controller has published a CRL since the one to be replaced was looked up."""


class NotOurs(Conflict):
    """A Secret of that name stands and CLM does not own it, or its type cannot become the one needed."""


class KeyPending(ClmError):
    """A key is being generated. The object that needs it is called when it is there."""


class QuotaExceeded(ClmError):
    """A Policy's quota has no token left for a namespace. It may have one at `until`; None: never."""

    def __init__(self, until: datetime | None) -> None:
        super().__init__("the quota of the Policy is used up")
        self.until = until


class IssuanceFailed(ClmError):
    """An attempt to issue failed, and would fail again. `reason` is one word for programs."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


class NotFound(ClmError):
    """The API server has no such object."""


class Refused(ClmError):
    """The API server will not take the object."""


class Invalid(Refused):
    """The API server will not take the object as it is, however often it is tried."""


class SecretTooLarge(Invalid):
    """A Secret would have more data than Kubernetes takes."""


class KeystorePasswordNotFound(ClmError):
    """The Secret with the password of a keystore, or its key, is not there. It may come."""


class KeystorePasswordInvalid(ClmError):
    """What a Secret has for the password of a keystore cannot be one. The message does not show it."""


class DatabaseUnprepared(ClmError):
    """A database lacks a table, a function or a right that CLM needs; `clm migrate` brings them."""


class HsmError(ClmError):
    """The token answered, and the answer is an error."""


class PinRejected(HsmError):
    """The PIN is wrong, expired or locked. Never tried again without a new PIN."""


class KeyMissing(HsmError):
    """The token has no such key. Never a reason to make a new one."""


class KeyMismatch(HsmError):
    """The token has a key of that id that is not the recorded one."""


class TokenMismatch(HsmError):
    """Another token answers under the same label."""


class Unsupported(HsmError):
    """The token lacks a mechanism that is needed."""


class WrapRejected(HsmError):
    """A wrapped key does not open: changed, moved to another row, or under another key."""


class KeyNotActive(ClmError):
    """A key is suspended, or past its use. Nothing new is signed or wrapped with it."""


class KeyInUse(ClmError):
    """A key cannot go into the state asked for: something depends on it, or that step is not allowed."""


class SubjectErased(ClmError):
    """A person's data were erased. Nothing about them is written or read any more."""


class UnderLegalHold(ClmError):
    """What must be kept for now cannot be erased (GDPR article 17(3))."""


class MalformedRequest(ClmError):
    """What came over HTTP is no OCSP request."""


class NotRevocable(ClmError):
    """Certificates cannot be revoked as asked for; `problems` says why of each. Nothing was revoked."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        shown = problems[:_SHOWN]
        more = f"\n... and {len(problems) - len(shown)} more" if len(problems) > len(shown) else ""
        super().__init__("\n".join(shown) + more)
        self.problems = problems


class LintFailed(ClmError):
    """A to-be-signed certificate breaks a rule of its profile."""

    def __init__(self, findings: tuple[str, ...]) -> None:
        super().__init__("; ".join(findings))
        self.findings = findings


class SignatureInvalid(ClmError):
    """What the token signed does not verify under the issuer's key. Never stored."""


class AuditFailed(ClmError):
    """The audit log, or a proof about it, is not what it should be."""


class RecordUnreadable(AuditFailed):
    """What should be an audit record cannot be read as one."""


class NoteInvalid(AuditFailed):
    """A signed note does not parse, or its signature does not verify."""


class LogBehind(AuditFailed):
    """The log is behind, or beside, what was anchored: it was rolled back, cut or replaced."""


class ArchiveInvalid(AuditFailed):
    """An archive of the log is not what was sealed."""


class MigrationFailed(ClmError):
    """A database schema is not what the migrations say."""


class StartFailed(ClmError):
    """A program of `clm dev` cannot be started, does not become ready, or cannot be stopped."""


class ControllerEnded(ClmError):
    """A part of the controller ended by itself. The process has to end and be started again."""


class ResponderEnded(ClmError):
    """A part of the responder ended by itself. The process has to end and be started again."""
