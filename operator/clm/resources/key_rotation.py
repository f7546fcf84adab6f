"""The spec of a KeyRotation. This version reads it and carries none out: see `KeyRotationSpec.unsupported`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from clm.resources.reading import Reader, Report

if TYPE_CHECKING:
    from collections.abc import Mapping

Target = Literal["keyEncryptionKey", "certificateAuthority", "certificates"]
_TARGETS: tuple[Target, ...] = ("keyEncryptionKey", "certificateAuthority", "certificates")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRotationSpec:
    """What a KeyRotation asks for. `unsupported` lists fields that are set and not enforced by this version."""

    target: Target
    suspend: bool = False
    dry_run: bool = False
    unsupported: tuple[str, ...] = ()


def parse_key_rotation(spec: Mapping[str, Any]) -> KeyRotationSpec:
    """Read the spec of a KeyRotation. Raises one InvalidInput that tells everything that is wrong with it."""
    report = Report()
    reader = Reader(spec, path="spec", report=report)
    target = reader.child("target")
    named = [name for name in _TARGETS if target.peek(name) is not None]
    if len(named) != 1:
        reader.problem("target", "set exactly one of " + ", ".join(_TARGETS))
    parsed = KeyRotationSpec(
        target=named[0] if named else "keyEncryptionKey",
        suspend=reader.flag("suspend"),
        dry_run=reader.flag("dryRun"),
        unsupported=(*(f"spec.target.{name}" for name in named), *_others(report, named)),
    )
    report.check()
    return parsed


def _others(report: Report, named: list[Target]) -> list[str]:
    return [path for path in report.unread() if path not in {f"spec.target.{name}" for name in named}]
