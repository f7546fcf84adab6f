"""Finds the certificates that a person names for revocation, and says of each that cannot be revoked why.

A serial number is unique for one issuer only, and a person may write it in several ways: what fits more than one
certificate is refused, never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from clm.errors import NotRevocable
from clm.pki.serial import serial_candidates
from clm.resources.revocation import COMPROMISES

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from clm.resources.revocation import Revocable, RevocationReason
    from clm.storage.secure.revocations import RevocationStore

_T = TypeVar("_T")

_AT_ONCE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a person names. `issuer` narrows serials: namespace/name of the CA's Certificate, or the id of its key."""

    serials: tuple[str, ...] = ()
    ids: tuple[uuid.UUID, ...] = ()
    fingerprints: tuple[bytes, ...] = ()
    issuer: str | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """What would be revoked: what was named, and what shares a compromised key with it. `already` needs no more."""

    named: tuple[Revocable, ...]
    same_key: tuple[Revocable, ...]
    already: tuple[Revocable, ...]


async def choose(store: RevocationStore, wanted: Wanted, reason: RevocationReason, *, now: datetime) -> Choice:
    """Find what a person names.

    Raises NotRevocable, which tells everything that is wrong: unknown, ambiguous, expired, self-signed. InvalidInput
    for a serial number that is none. DatabaseUnavailable.
    """
    found = await _Search(store, wanted).run()
    problems = [*found.problems, *(problem for one in found.certificates if (problem := _problem(one, reason, now)))]
    if problems:
        raise NotRevocable(tuple(problems))
    changing = tuple(one for one in found.certificates if one.would_change(reason))
    same_key: list[Revocable] = []
    if reason in COMPROMISES:
        same_key = await of_the_same_keys(store, found.certificates)
    return Choice(
        changing,
        tuple(one for one in same_key if one.would_change(reason)),
        tuple(one for one in found.certificates if not one.would_change(reason)),
    )


async def of_the_same_keys(store: RevocationStore, certificates: Sequence[Revocable]) -> list[Revocable]:
    """The other unexpired certificates of the keys of these."""
    ids = {one.id for one in certificates}
    keys = {key for one in certificates for key in (one.private_key_id, one.subject_key_id) if key is not None}
    shared: dict[uuid.UUID, Revocable] = {}
    for some in _parts(sorted(keys)):
        shared |= {one.id: one for one in await store.of_keys(some)}
    return [one for one in shared.values() if one.id not in ids]


class _Search:
    """Looks up what is named, in parts, and collects what does not name exactly one certificate."""

    def __init__(self, store: RevocationStore, wanted: Wanted) -> None:
        self._store = store
        self._wanted = wanted
        self._found: dict[uuid.UUID, Revocable] = {}
        self.problems: list[str] = []

    @property
    def certificates(self) -> tuple[Revocable, ...]:
        """What was found, each once."""
        return tuple(self._found.values())

    async def run(self) -> _Search:
        """Look everything up."""
        for serials in _parts(self._wanted.serials):
            await self._by_serial(serials)
        for ids in _parts(self._wanted.ids):
            self._take(await self._store.of_ids(ids))
            self.problems += [f"no certificate has the id {one}" for one in ids if one not in self._found]
        for fingerprints in _parts(self._wanted.fingerprints):
            await self._by_fingerprint(fingerprints)
        return self

    async def _by_serial(self, serials: Sequence[str]) -> None:
        meant = {text: serial_candidates(text) for text in serials}
        candidates = {octets for each in meant.values() for octets in each}
        known: dict[bytes, list[Revocable]] = {}
        for one in await self._store.of_serials(candidates):
            if self._wanted.issuer in (None, one.issuer_name, str(one.issuer_key_id)):
                known.setdefault(one.serial_number, []).append(one)
        for text, each in meant.items():
            fits = [one for octets in each for one in known.get(octets, ())]
            if len(fits) == 1:
                self._take(fits)
            else:
                self.problems.append(_ambiguous(text, fits) if fits else self._unknown(text))

    async def _by_fingerprint(self, fingerprints: Sequence[bytes]) -> None:
        found = await self._store.of_fingerprints(fingerprints)
        self._take(found)
        if len(found) < len(set(fingerprints)):
            number = len(set(fingerprints)) - len(found)
            self.problems.append(f"{number} of the fingerprints are of no certificate that is on record")

    def _take(self, found: Iterable[Revocable]) -> None:
        self._found |= {one.id: one for one in found}

    def _unknown(self, text: str) -> str:
        issuer = f" of issuer {self._wanted.issuer}" if self._wanted.issuer is not None else ""
        return f"no certificate{issuer} has the serial number {text}"


def _ambiguous(text: str, fits: Sequence[Revocable]) -> str:
    listed = "; ".join(f"--id {one.id}, issued by {one.issuer_name} for {one.owner.name}" for one in fits)
    return f"the serial number {text} fits {len(fits)} certificates: name one of them by --id or --issuer ({listed})"


def _problem(one: Revocable, reason: RevocationReason, now: datetime) -> str | None:
    name = f"{one.owner.namespace}/{one.owner.name}, serial number {one.serial_number.hex(':')}"
    if one.is_self_signed:
        return f"{name}: a self-signed certificate cannot be revoked; take it out of trust stores (clm keys compromise)"
    if one.not_after <= now:
        return f"{name}: it has expired on {one.not_after:%Y-%m-%d %H:%M:%S} UTC"
    if reason == "cACompromise" and one.subject_key_id is None:
        return f"{name}: cACompromise is said of a CA; of this one it is keyCompromise"
    return None


def _parts(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    return (items[start : start + _AT_ONCE] for start in range(0, len(items), _AT_ONCE))
