"""What a person may do with a key: suspend, resume, deactivate, call compromised, destroy.

Destruction of a key in the token takes two commits: that it has begun, then, while its row is held, its objects go and
the row becomes `destroyed`. A crash in between leaves a row that says so; destroying again finds nothing in the token
and completes it. Nothing is destroyed that something depends on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from clm.errors import KeyInUse, KeyMissing
from clm.hsm.keys import destroy_key
from clm.resources.audit import AuditRecord
from clm.resources.key_states import ACTS, DESTRUCTION_BEGUN, TRANSITIONS

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping

    from clm.hsm.token import Token
    from clm.lifecycle.boundaries import Boundary
    from clm.resources.key_states import KeyAct
    from clm.storage.secure.key_acts import KeyActStore, KeyOverview


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does it, for the record: a pseudonym, and what `SubjectVault.seal` gave of them, where it could be sealed."""

    id: str
    sealed: Mapping[str, Any] | None = None

    @property
    def details(self) -> dict[str, Any]:
        """What goes into the details of a record."""
        return {"actor": dict(self.sealed)} if self.sealed is not None else {}


class KeyActs:
    """Carries out changes of state. `boundary` is for the crash tests."""

    def __init__(self, *, store: KeyActStore, boundary: Boundary, actor: Actor) -> None:
        self._store = store
        self._boundary = boundary
        self._actor = actor

    async def find(self, key_id: uuid.UUID) -> KeyOverview:
        """Read a key with what depends on it. Raises KeyMissing."""
        found = await self._store.one(key_id)
        if found is None:
            raise KeyMissing(f"there is no key {key_id}")
        return found

    async def change(self, key_id: uuid.UUID, act: KeyAct, *, reason: str) -> KeyOverview:
        """Carry out any act but destruction. Raises KeyMissing and KeyInUse (the step is not allowed)."""
        key = await self.find(key_id)
        state = ACTS[act]
        _require_step(key, act)
        audit = _record(key, f"key.{act}", self._actor, reason=reason, details={"from": key.state, "to": state})
        if not await self._store.change(key_id, state, came_from=key.state, reason=reason, audit=audit):
            raise KeyInUse(f"key {key.label} was changed by somebody else meanwhile; look at it again")
        return await self.find(key_id)

    async def destroy(self, token: Token, key_id: uuid.UUID, *, reason: str) -> int:
        """Destroy a key in the token for good; returns how many objects went. Safe to repeat after a crash.

        Raises KeyInUse when its state does not allow it, something depends on it or it is under legal hold; KeyMissing
        when there is no such row; HsmUnavailable, HsmError, DatabaseUnavailable.
        """
        key = await self.find(key_id)
        require_destroyable(key)
        if key.token_serial is not None and key.token_serial != token.serial:
            raise KeyMissing(f"key {key.label} is in token {key.token_serial}, and this one is {token.serial}")
        details: dict[str, Any] = {"from": key.state, "to": "destroyed", "step": "begun"}
        begun = _record(key, "key.destroy", self._actor, reason=reason, details=details)
        before = await self._store.begin_destruction(key_id, permit=require_destroyable, reason=reason, audit=begun)
        if before is None:
            raise KeyMissing(f"there is no key {key_id}")
        self._boundary("key.destruction-begun")
        try:
            return await self._destroy(token, key, reason=reason, details=details)
        except KeyInUse as error:
            # Where an earlier run had begun, its objects may be gone: then the row goes on saying so.
            if not (before.state_reason or "").startswith(DESTRUCTION_BEGUN):
                refused = _record(
                    key,
                    "key.destroy",
                    self._actor,
                    reason=str(error),
                    outcome="denied",
                    details={**details, "step": "refused"},
                )
                await self._store.take_back_destruction(before, reason=reason, audit=refused)
            raise

    async def _destroy(self, token: Token, key: KeyOverview, *, reason: str, details: dict[str, Any]) -> int:
        done = _record(key, "key.destroy", self._actor, reason=reason, details={**details, "step": "done"})
        async with self._store.destroying(key.id, reason=reason, audit=done) as held:
            if held is None:
                raise KeyMissing(f"there is no key {key.id}")
            require_destroyable(held)
            removed = await destroy_key(token, key.id, label=key.label)
            self._boundary("key.objects-destroyed")
        self._boundary("key.destruction-recorded")
        return removed


def require_destroyable(key: KeyOverview) -> None:
    """Raise KeyInUse, which says why, unless the key may be destroyed."""
    if key.purpose == "subject-shred":
        raise KeyInUse(f"key {key.label} is a person's: it goes when the person's data are erased (clm erase)")
    if key.legal_hold:
        raise KeyInUse(f"key {key.label} is under legal hold")
    _require_step(key, "destroy")
    if key.dependents:
        listed = ", ".join(f"{number} {what}" for what, number in key.dependents.items())
        raise KeyInUse(f"key {key.label} cannot be destroyed: {listed} depend on it")


def _require_step(key: KeyOverview, act: KeyAct) -> None:
    state = ACTS[act]
    if state not in TRANSITIONS[key.state]:
        allowed = ", ".join(sorted(TRANSITIONS[key.state])) or "nothing any more"
        raise KeyInUse(f"key {key.label} is {key.state}; it cannot become {state} (but: {allowed})")
    if act == "deactivate" and key.purpose == "kek" and key.state != "suspended":
        raise KeyInUse(f"key {key.label} wraps all that is issued; have a KeyRotation replace it, or suspend it first")
    if act == "resume" and key.state != "suspended":
        raise KeyInUse(f"key {key.label} is {key.state}, not suspended")


def _record(
    key: KeyOverview,
    action: str,
    actor: Actor,
    *,
    reason: str,
    details: dict[str, Any],
    outcome: Literal["success", "denied"] = "success",
) -> AuditRecord:
    return AuditRecord(
        organization_id=key.organization_id,
        action=action,  # type: ignore[arg-type]
        object_type="key",
        object_id=str(key.id),
        actor_type="user",
        actor_id=actor.id,
        outcome=outcome,
        reason=reason,
        details={"purpose": key.purpose, "label": key.label, "version": key.version, **actor.details, **details},
    )
