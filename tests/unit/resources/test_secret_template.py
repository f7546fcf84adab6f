"""Labels and annotations for the Secret: what the API server would refuse is refused before anything is signed."""

from __future__ import annotations

from typing import Any

import pytest

from clm.errors import InvalidInput
from clm.resources.certificate import parse_certificate
from clm.resources.consistency import ANNOTATIONS_LIMIT

LEAF: dict[str, Any] = {"policyRef": {"name": "p"}, "secretName": "s", "dnsNames": ["a.example"]}

GOOD_KEYS = ("a", "A", "1", "a-b_c.D", "x" * 63, "example.com/a", "a.b-c.example/A_1", f"{'a.' * 126}a/x")
BAD_KEYS = (
    *("", " ", "-a", "a-", "_a", "a b", "a\n", "ü", "x" * 64, "a/b/c", "/a", "a/", "a..b/c", "-a/b", "a_b/c"),
    *("a,b", "a\x00", f"{'a.' * 127}a/x"),
)


def _refused(template: dict[str, Any]) -> str:
    with pytest.raises(InvalidInput) as caught:
        parse_certificate({**LEAF, "secretTemplate": template})
    return caught.value.field


@pytest.mark.parametrize("field", ["labels", "annotations"])
@pytest.mark.parametrize("key", GOOD_KEYS)
def test_keys_that_kubernetes_takes(field: str, key: str) -> None:
    """Qualified names."""
    parse_certificate({**LEAF, "secretTemplate": {field: {key: "x"}}})


@pytest.mark.parametrize("field", ["labels", "annotations"])
@pytest.mark.parametrize("key", BAD_KEYS)
def test_keys_that_kubernetes_refuses(field: str, key: str) -> None:
    """Anything else, by the field that it stands in."""
    assert _refused({field: {key: "x"}}) == f"spec.secretTemplate.{field}"


def test_domain_in_capitals() -> None:
    """Kubernetes puts the keys of annotations into lower case before it looks at them, those of labels not."""
    parse_certificate({**LEAF, "secretTemplate": {"annotations": {"Example.com/a": "x"}}})
    assert _refused({"labels": {"Example.com/a": "x"}}) == "spec.secretTemplate.labels"


@pytest.mark.parametrize("value", [" ", "a b", "-", "x" * 64, "ü", "a\n", "a/b"])
def test_values_of_labels(value: str) -> None:
    """Labels are selected by: their values are as short and plain as names."""
    assert _refused({"labels": {"app": value}}) == "spec.secretTemplate.labels.app"


def test_annotations_are_not_larger_than_their_share() -> None:
    """In bytes, keys and values together; labels do not count."""
    fits = {"a": "x" * (ANNOTATIONS_LIMIT - 4), "b": "ü"}
    with pytest.raises(InvalidInput, match="these are 131073") as caught:
        parse_certificate({**LEAF, "secretTemplate": {"annotations": {**fits, "b": "üx"}}})
    assert caught.value.field == "spec.secretTemplate.annotations"
    parse_certificate({**LEAF, "secretTemplate": {"annotations": fits, "labels": {"app": "x" * 63}}})
