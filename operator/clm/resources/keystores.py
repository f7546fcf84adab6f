"""`spec.keystores`: which keystores the Secret gets, and where their passwords are."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from clm.resources.reading import means_nothing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clm.resources.reading import Reader

Pkcs12Profile = Literal["LegacyRC2", "LegacyDES", "Modern2023", "Modern2026"]

DEFAULT_ALIAS = "certificate"
DEFAULT_PROFILE: Pkcs12Profile = "Modern2023"
DEFAULT_PASSWORD_KEY = "password"  # noqa: S105 - the name of a field
PASSWORD_LIMIT = 256
CA_ALIAS = "ca"
"""Alias of the first certificate of `ca.crt` in every keystore; a second one is "ca-2"."""

_PROFILES: tuple[Pkcs12Profile, ...] = ("LegacyRC2", "LegacyDES", "Modern2023", "Modern2026")
_PRINTABLE = re.compile(r"[ -~]*\Z")
_OWN_ALIAS = re.compile(rf"{CA_ALIAS}(-[0-9]+)?\Z")


@dataclass(frozen=True, slots=True)
class PasswordRef:
    """A key of a Secret in the Certificate's namespace."""

    name: str
    key: str = DEFAULT_PASSWORD_KEY


@dataclass(frozen=True, slots=True, kw_only=True)
class Keystore:
    """One keystore. Its password is in the spec itself, or `password_ref` says where it is."""

    path: str
    password: str | None = field(default=None, repr=False)
    password_ref: PasswordRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JksKeystore(Keystore):
    """keystore.jks and truststore.jks."""

    alias: str = DEFAULT_ALIAS


@dataclass(frozen=True, slots=True, kw_only=True)
class Pkcs12Keystore(Keystore):
    """keystore.p12 and truststore.p12."""

    profile: Pkcs12Profile = DEFAULT_PROFILE


@dataclass(frozen=True, slots=True, kw_only=True)
class Keystores:
    """What `spec.keystores` asks for; None for what is not to be made."""

    jks: JksKeystore | None = None
    pkcs12: Pkcs12Keystore | None = None

    def __iter__(self) -> Iterator[Keystore]:
        """Iterate over those that are to be made."""
        return (store for store in (self.jks, self.pkcs12) if store is not None)


NO_KEYSTORES = Keystores()


def read_keystores(reader: Reader) -> Keystores:
    """Read `spec.keystores`. What is said about a keystore that is not to be made does not count."""
    if means_nothing(reader.value("keystores")):
        return NO_KEYSTORES
    both = reader.child("keystores")
    jks, pkcs12 = both.child("jks"), both.child("pkcs12")
    made = Keystores(
        jks=_jks(jks) if _is_asked_for(jks) else None,
        pkcs12=_pkcs12(pkcs12) if _is_asked_for(pkcs12) else None,
    )
    for unwanted in (jks, pkcs12):
        unwanted.skip_rest(when=unwanted.peek("create") is False)
    return made


def password_problem(password: str) -> str | None:
    """Why a text cannot be the password of a keystore, without showing it; None when it can.

    Printable ASCII: for anything else Java and OpenSSL disagree about the bytes, and Java's PKCS#12 refuses it.
    """
    if not password:
        return "is empty"
    if len(password) > PASSWORD_LIMIT:
        return f"has more than {PASSWORD_LIMIT} characters"
    if password.endswith(("\n", "\r")):
        return "ends with a line break; store it without one (printf instead of echo)"
    if not _PRINTABLE.match(password):
        return "has a character that is not printable ASCII, which Java and OpenSSL do not read alike"
    return None


def _is_asked_for(reader: Reader) -> bool:
    if reader.peek("create") is None and any(reader.unread()):
        reader.problem("create", "is required")
    return reader.flag("create")


def _jks(reader: Reader) -> JksKeystore:
    alias = reader.text("alias") or DEFAULT_ALIAS
    if not _PRINTABLE.match(alias):
        reader.problem("alias", "must be printable ASCII")
    elif _OWN_ALIAS.match(alias.lower()):
        reader.problem("alias", f"must not be {json.dumps(alias)}, which is the alias of the CA's certificate")
    password, reference = _password(reader)
    return JksKeystore(path=reader.path, password=password, password_ref=reference, alias=alias)


def _pkcs12(reader: Reader) -> Pkcs12Keystore:
    profile = reader.choice("profile", _PROFILES, default=DEFAULT_PROFILE)
    password, reference = _password(reader)
    return Pkcs12Keystore(path=reader.path, password=password, password_ref=reference, profile=profile)


def _password(reader: Reader) -> tuple[str | None, PasswordRef | None]:
    password = reader.text("password")
    referred = reader.peek("passwordSecretRef") is not None
    child = reader.child("passwordSecretRef")
    if (password is not None) == referred:
        reader.problem("password", "set exactly one of password and passwordSecretRef")
        return None, None
    if not referred:
        problem = password_problem(password or "")
        if problem is not None:
            reader.problem("password", problem)
        return password, None
    return None, PasswordRef(child.required_text("name"), child.text("key") or DEFAULT_PASSWORD_KEY)
