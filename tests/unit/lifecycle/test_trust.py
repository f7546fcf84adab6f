"""Which Policy's roots stand where, and what is said of it."""

from __future__ import annotations

from typing import Any

from clm.lifecycle.trust import BundleReport, Bundles
from clm.lifecycle.view import ClusterView


def _policy(name: str, *, created: str, config_map: str = "roots", team: str | None = None) -> dict[str, Any]:
    selector = {} if team is None else {"matchLabels": {"team": team}}
    return {
        "metadata": {"name": name, "uid": name, "generation": 1, "creationTimestamp": created},
        "spec": {
            "issuer": {"ca": {"namespace": "pki", "name": "ca"}},
            "trustBundle": {"configMap": config_map, "namespaceSelector": selector},
        },
    }


def _bundles(*bodies: dict[str, Any]) -> tuple[ClusterView, Bundles]:
    view = ClusterView()
    bundles = Bundles(view)
    for name, labels in (("shop", {"team": "shop"}), ("bank", {"team": "bank"})):
        view.put_namespace(name, labels)
    for body in bodies:
        bundles.of(view.put_policy(body))
    return view, bundles


def _owner(bundles: Bundles, namespace: str, config_map: str = "roots") -> str | None:
    found = bundles.owner(config_map, namespace)
    return None if found is None else found.policy.name


def test_of_two_policies_that_name_one_config_map_the_older_has_it_where_both_select() -> None:
    """By creationTimestamp, then by name; where only one selects there is nothing to decide."""
    older, younger, same = "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z", "2026-11-02T00:00:00Z"
    _, bundles = _bundles(
        _policy("b", created=younger), _policy("c", created=same), _policy("a", created=older, team="shop")
    )
    assert _owner(bundles, "shop") == "a"
    assert _owner(bundles, "bank") == "b"
    bundles.forget("b")
    assert _owner(bundles, "bank") == "c"
    assert _owner(bundles, "shop", "others") is None


def test_a_namespace_that_ends_has_no_bundle() -> None:
    """Nothing can be written into it, and what stands goes with it."""
    view, bundles = _bundles(_policy("a", created="2026-11-01T00:00:00Z"))
    bundles.namespace_ends("shop", ends=True)
    assert _owner(bundles, "shop") is None
    view.remove_namespace("bank")
    assert _owner(bundles, "bank") is None
    assert bundles.is_ending("bank")


def test_a_spec_that_cannot_be_read_changes_nothing_of_what_stands() -> None:
    """A slip in a Policy does not take the roots from a thousand namespaces."""
    view, bundles = _bundles(_policy("a", created="2026-11-01T00:00:00Z"))
    broken = _policy("a", created="2026-11-01T00:00:00Z")
    broken["spec"]["constraints"] = {"minDuration": "ten"}
    kept = bundles.of(view.put_policy(broken))
    assert kept is not None
    assert kept.spec.config_map == "roots"
    without = _policy("a", created="2026-11-01T00:00:00Z")
    del without["spec"]["trustBundle"]
    assert bundles.of(view.put_policy(without)) is None
    assert bundles.get("a") is None


def test_the_message_names_a_few_and_counts_the_rest() -> None:
    """A condition stays readable with a thousand namespaces in the way."""
    problems = tuple((f"n{number}", "it is not CLM's") for number in range(1000))
    report = BundleReport("roots", 1200, 200, 2, problems=problems)
    assert report.reason == "InTheWay"
    assert "stands in 200 of 1200 namespaces" in report.message
    assert "n0: it is not CLM's" in report.message
    assert "in 995 more" in report.message
    assert len(report.message) < 400
