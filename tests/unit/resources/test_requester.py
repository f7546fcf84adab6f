"""Who asked is believed where the stamp fits the object, the generation, the spec and the key, and nowhere else."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clm.resources.requester import Requester, Subject, read_stamp, stamp

KEY, OTHER = b"k" * 32, b"o" * 32
ANNE = Requester(username="anne", groups=("developers", "system:authenticated"), uid="1")
WEB = Subject(
    kind="Certificate",
    namespace="shop",
    name="web",
    generation=3,
    spec={"secretName": "web-tls", "dnsNames": ["web.shop.svc"]},
    object_uid="u-1",
)


def test_a_fitting_stamp_is_believed() -> None:
    """Who wrote the spec is given back."""
    assert read_stamp([KEY], stamp([KEY], ANNE, WEB), WEB) == ANNE


def test_an_older_key_is_believed_while_it_is_listed() -> None:
    """Keys can be changed without losing what stands."""
    text = stamp([OTHER], ANNE, WEB)
    assert read_stamp([KEY, OTHER], text, WEB) == ANNE
    assert read_stamp([KEY], text, WEB) is None


@pytest.mark.parametrize(
    "other",
    [
        replace(WEB, kind="Policy"),
        replace(WEB, namespace="bank"),
        replace(WEB, name="web2"),
        replace(WEB, generation=4),
        replace(WEB, spec={**WEB.spec, "dnsNames": ["bank.svc"]}),
        replace(WEB, object_uid="u-2"),
    ],
)
def test_a_stamp_tells_nothing_of_anything_else(other: Subject) -> None:
    """Copied to another object, spec or generation it is worth nothing."""
    assert read_stamp([KEY], stamp([KEY], ANNE, WEB), other) is None


@pytest.mark.parametrize("name", ["username", "groups", "uid", "generation", "objectUid", "mac"])
def test_a_changed_field_is_not_believed(name: str) -> None:
    """Nobody can put another name into it."""
    said = json.loads(stamp([KEY], ANNE, WEB))
    said[name] = ["system:masters"] if name == "groups" else 3.0 if name == "generation" else "root"
    assert read_stamp([KEY], json.dumps(said), WEB) is None


def test_half_a_surrogate_pair_is_not_believed() -> None:
    """JSON can say one, and no encoding can."""
    said = {**json.loads(stamp([KEY], ANNE, WEB)), "username": "\ud800"}
    assert read_stamp([KEY], json.dumps(said), WEB) is None


@given(st.one_of(st.none(), st.text(), st.recursive(st.none() | st.booleans() | st.text(), st.lists).map(json.dumps)))
def test_whatever_stands_there_is_read(text: str | None) -> None:
    """Anybody may write the annotation."""
    assert read_stamp([KEY], text, WEB) is None


@given(st.text(min_size=1), st.lists(st.text()), st.text())
def test_any_identity_is_given_back(username: str, groups: list[str], uid: str) -> None:
    """Names are whatever the identity provider says."""
    asked = Requester(username=username, groups=tuple(groups), uid=uid)
    assert read_stamp([KEY], stamp([KEY], asked, WEB), WEB) == asked
