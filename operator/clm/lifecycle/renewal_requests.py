"""Asking for renewals through the API server, with the rights of whoever asks, and seeing what became of them.

Nothing but the object's annotation is written: the controller decides, as it does for everybody.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from clm.cluster import paths
from clm.errors import ClmError, Forbidden, InvalidInput, NotFound, Unavailable
from clm.lifecycle.renewal import RENEW_REQUESTED_AT, is_answered, renew_requested_at
from clm.lifecycle.view import Key
from clm.pki.tbs import BACKDATE
from clm.resources.conditions import find
from clm.resources.status import parse_status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from clm.cluster.client import ApiClient

_SECOND = timedelta(seconds=1)
_PAGE = "500"

Outcome = Literal["asked", "already asked", "refused", "renewed", "failed", "waiting"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of one request. `why` is for people; `revision` is that of the certificate that stood or stands."""

    key: Key
    outcome: Outcome
    why: str = ""
    asked_at: datetime | None = None
    revision: int | None = None
    not_after: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which Certificates are meant: those that are named, or those of a namespace (None: of all) that fit."""

    names: tuple[Key, ...] = ()
    namespace: str | None = None
    labels: str | None = None
    policy: str | None = None


async def select(client: ApiClient, selection: Selection) -> list[Mapping[str, Any] | Key]:
    """Read the Certificates that are meant; a name that does not exist stands for itself.

    Raises InvalidInput when the selector is wrong, ClusterUnavailable, Forbidden.
    """
    if selection.names:
        return [await client.get(paths.certificate(*key)) or key for key in selection.names]
    path = paths.CERTIFICATES if selection.namespace is None else paths.certificates(selection.namespace)
    query = {"limit": _PAGE}
    if selection.labels:
        query["labelSelector"] = selection.labels
    if selection.policy:
        query["fieldSelector"] = f"spec.policyRef.name={selection.policy}"
    found: list[Mapping[str, Any] | Key] = []
    while True:
        try:
            page = await client.request("GET", path, query=query)
        except Unavailable:
            raise
        except ClmError as error:
            if not selection.labels:
                raise
            raise InvalidInput("--selector", str(error)) from error
        found.extend(page.get("items") or ())
        following = page["metadata"].get("continue")
        if not following:
            return found
        query["continue"] = following


async def ask(client: ApiClient, body: Mapping[str, Any] | Key, *, now: datetime) -> Asked:
    """Ask for the renewal of one Certificate. What the API server refuses is an outcome, not an error.

    Raises ClusterUnavailable.
    """
    if isinstance(body, Key):
        return Asked(body, "refused", "there is no such Certificate")
    key = _key(body)
    refused = why_not(body, now=now)
    if refused is not None:
        return refused
    status = parse_status(body.get("status"))
    # The clock here may be behind that of the controller: a request has to be later than what it is to replace.
    issued = status.not_before + BACKDATE if status.not_before else now
    moment = max(now, issued + _SECOND, (status.last_failure_time or now) + _SECOND if status.hold == "Failed" else now)
    text = moment.isoformat(timespec="seconds").replace("+00:00", "Z")
    try:
        await client.merge_patch(paths.certificate(*key), {"metadata": {"annotations": {RENEW_REQUESTED_AT: text}}})
    except NotFound:
        return Asked(key, "refused", "it was deleted meanwhile")
    except Forbidden as error:
        return Asked(key, "refused", str(error))  # the next one's namespace may grant it
    except Unavailable:
        raise
    except ClmError as error:
        return Asked(key, "refused", str(error))
    return Asked(key, "asked", "", moment.replace(microsecond=0), status.revision, status.not_after)


def why_not(body: Mapping[str, Any], *, now: datetime) -> Asked | None:
    """Why it makes no sense to ask for the renewal of a Certificate; None when it does."""
    key, metadata, status = _key(body), body["metadata"], parse_status(body.get("status"))
    if metadata.get("deletionTimestamp"):
        return Asked(key, "refused", "it is being deleted")
    if (body.get("spec") or {}).get("revocation") is not None:
        return Asked(key, "refused", "spec.revocation is set, so nothing is issued for it; remove that first")
    if status.certificate_id is None and status.hold is None:
        return Asked(key, "refused", f"nothing was issued for it yet ({status.ready_reason or 'not looked at'})")
    asked = renew_requested_at(metadata)
    if asked is None or asked > now + timedelta(days=1) or status.not_before is None:
        return None
    failed_since = status.last_failure_time is not None and asked <= status.last_failure_time
    if is_answered(asked, not_before=status.not_before) or failed_since:
        return None
    return Asked(key, "already asked", _waits_for(body), asked, status.revision, status.not_after)


def became(body: Mapping[str, Any] | None, asked: Asked) -> Asked:
    """What became of a request by the object's newest state; `waiting` while nothing is decided."""
    if body is None:
        return Asked(asked.key, "failed", "it was deleted", asked.asked_at)
    status = parse_status(body.get("status"))
    if asked.asked_at is None:
        return asked
    fields = asked.asked_at, status.revision, status.not_after
    current = status.ready is True and status.observed_generation == body["metadata"]["generation"]
    if current and status.not_before is not None and is_answered(asked.asked_at, not_before=status.not_before):
        return Asked(asked.key, "renewed", "", *fields)
    if status.hold == "Failed" and status.last_failure_time and status.last_failure_time >= asked.asked_at:
        return Asked(asked.key, "failed", _waits_for(body), *fields)
    return Asked(asked.key, "waiting", _waits_for(body), *fields)


def _waits_for(body: Mapping[str, Any]) -> str:
    conditions: Sequence[Mapping[str, Any]] = (body.get("status") or {}).get("conditions") or ()
    for kind, status in (("IssuanceSuspended", "True"), ("Issuing", "True"), ("Issuing", "False"), ("Ready", "False")):
        said = find(conditions, kind)
        if said is not None and said.get("status") == status:
            return f"{said.get('reason')}: {said.get('message')}"
    return ""


def _key(body: Mapping[str, Any]) -> Key:
    return Key(body["metadata"]["namespace"], body["metadata"]["name"])
