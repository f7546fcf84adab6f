"""Who asked: the person or program that wrote a spec, as the API server knew it, and the stamp that says so.

The webhook writes the stamp into the annotation ANNOTATION when a spec is written; whoever has the key believes it. It
is bound to the object, to the generation and to the spec, so that a stamp tells nothing of another object or spec.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import rfc8785

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ANNOTATION = "clm-operator.io/requested-by"
"""Annotation that holds the stamp."""

_PURPOSE = "clm-operator.io/requested-by/1"
_STAMP_FIELDS = {"username", "groups", "uid", "generation", "objectUid", "mac"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Requester:
    """An identity as Kubernetes authenticated it (authentication.k8s.io/v1 UserInfo). `uid` may be empty."""

    username: str
    groups: tuple[str, ...] = ()
    uid: str = ""

    def record(self) -> dict[str, Any]:
        """Say it as status, records and CEL rules have it."""
        return {"username": self.username, "groups": list(self.groups), "uid": self.uid}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a stamp is about: the object, its generation, and the spec that was written.

    `object_uid` is empty where the API server had given none yet.
    """

    kind: str
    namespace: str
    name: str
    generation: int
    spec: Mapping[str, Any]
    object_uid: str = ""


def stamp(keys: Sequence[bytes], requester: Requester, subject: Subject) -> str:
    """Write the value of the annotation, under the first of the keys (HMAC-SHA-256, RFC 2104, over RFC 8785 JSON)."""
    said = {**requester.record(), "generation": subject.generation, "objectUid": subject.object_uid}
    return json.dumps({**said, "mac": _mac(keys[0], said, subject)}, separators=(",", ":"), ensure_ascii=False)


def read_stamp(keys: Sequence[bytes], text: str | None, subject: Subject) -> Requester | None:
    """Who wrote this spec; None where no stamp says so that fits the object and one of the keys."""
    said = _parse(text)
    if said is None or said["generation"] != subject.generation:
        return None
    if said["objectUid"] not in {"", subject.object_uid}:
        return None
    mac = said.pop("mac")
    try:
        fitting = any(hmac.compare_digest(mac, _mac(key, said, subject)) for key in keys)
    except ValueError:
        return None  # half a surrogate pair, which JSON can say and no encoding can
    if not fitting:
        return None
    return Requester(username=said["username"], groups=tuple(said["groups"]), uid=said["uid"])


def _parse(text: str | None) -> dict[str, Any] | None:
    try:
        said = json.loads(text or "")
    except ValueError:
        return None
    if not isinstance(said, dict) or said.keys() != _STAMP_FIELDS:
        return None
    texts = ("username", "uid", "objectUid", "mac")
    groups, generation = said["groups"], said["generation"]
    fits = all(isinstance(said[name], str) for name in texts) and said["mac"].isascii()
    fits = fits and isinstance(groups, list) and all(isinstance(group, str) for group in groups)
    return said if fits and isinstance(generation, int) and not isinstance(generation, bool) else None


def _mac(key: bytes, said: Mapping[str, Any], subject: Subject) -> str:
    about = {
        "purpose": _PURPOSE,
        "kind": subject.kind,
        "namespace": subject.namespace,
        "name": subject.name,
        "spec": hashlib.sha256(rfc8785.dumps(dict(subject.spec))).hexdigest(),
    }
    return hmac.new(key, rfc8785.dumps({**about, "said": dict(said)}), hashlib.sha256).hexdigest()
