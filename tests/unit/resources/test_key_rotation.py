"""A KeyRotation is read, and says of all that it asks for that it is not done."""

from __future__ import annotations

from typing import Any

import pytest

from clm.errors import InvalidInput
from clm.resources.key_rotation import parse_key_rotation


@pytest.mark.parametrize("target", ["keyEncryptionKey", "certificateAuthority", "certificates"])
def test_every_target_is_not_supported_yet(target: str) -> None:
    """Even the target that is an empty object."""
    spec = parse_key_rotation({"target": {target: {}}, "suspend": True})
    assert spec.target == target
    assert spec.suspend
    assert spec.unsupported == (f"spec.target.{target}",)


def test_lists_what_else_is_set() -> None:
    """Each field that asks for something, once."""
    spec = parse_key_rotation(
        {"target": {"certificates": {"policies": ["a"]}}, "schedule": "0 3 1 * *", "dryRun": True}
    )
    assert spec.unsupported == ("spec.target.certificates", "spec.schedule")
    assert spec.dry_run


@pytest.mark.parametrize("target", [{}, {"keyEncryptionKey": {}, "certificates": {}}, None, []])
def test_needs_exactly_one_target(target: Any) -> None:
    """Neither none nor two."""
    with pytest.raises(InvalidInput, match=r"^spec\.target"):
        parse_key_rotation({"target": target})
