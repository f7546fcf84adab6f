"""Label selectors mean what they mean in Kubernetes."""

from __future__ import annotations

from typing import Any

import pytest

from clm.policy.selector import selects
from clm.resources.policy import parse_policy

_IN, _NOT_IN = ({"key": "env", "operator": operator, "values": ["prod", "stage"]} for operator in ("In", "NotIn"))
_EXISTS, _ABSENT = ({"key": "env", "operator": operator} for operator in ("Exists", "DoesNotExist"))


def _selects(selector: dict[str, Any] | None, labels: dict[str, str]) -> bool:
    bundle: dict[str, Any] = {"configMap": "roots"}
    if selector is not None:
        bundle["namespaceSelector"] = selector
    spec = parse_policy({"issuer": {"ca": {"namespace": "pki", "name": "ca"}}, "trustBundle": bundle})
    assert spec.trust_bundle is not None
    assert spec.unsupported == ()
    return selects(spec.trust_bundle.selector, labels)


@pytest.mark.parametrize("selector", [None, {}, {"matchLabels": {}}, {"matchExpressions": []}])
def test_an_absent_or_empty_selector_takes_all(selector: dict[str, Any] | None) -> None:
    """As trust-manager's does."""
    assert _selects(selector, {})
    assert _selects(selector, {"env": "prod"})


@pytest.mark.parametrize(
    ("expression", "labels", "selected"),
    [
        (_IN, {"env": "prod"}, True),
        (_IN, {"env": "test"}, False),
        (_IN, {}, False),
        (_NOT_IN, {"env": "prod"}, False),
        (_NOT_IN, {"env": "test"}, True),
        (_NOT_IN, {}, True),
        (_EXISTS, {"env": ""}, True),
        (_EXISTS, {}, False),
        (_ABSENT, {"env": ""}, False),
        (_ABSENT, {}, True),
    ],
)
def test_each_operator(expression: dict[str, Any], labels: dict[str, str], selected: bool) -> None:  # noqa: FBT001
    """A namespace that lacks the label is NotIn whatever values are named."""
    assert _selects({"matchExpressions": [expression]}, labels) is selected


def test_all_must_be_met() -> None:
    """Labels and expressions together."""
    selector = {"matchLabels": {"team": "shop"}, "matchExpressions": [_IN]}
    assert _selects(selector, {"team": "shop", "env": "prod"})
    assert not _selects(selector, {"team": "shop"})
    assert not _selects(selector, {"env": "prod"})
