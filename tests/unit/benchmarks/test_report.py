"""What a benchmark says of its targets: each by itself, met or not, and the exit code is no part of it."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from benchmarks.report import TARGETS, judge, show
from benchmarks.run import Sizes, in_total


def _row(count: int, **figures: float) -> dict[str, Any]:
    least = {"perSecond": 220, "p50": 1, "p99": 5.9, "writesPerCertificate": 3, "operatorCpuMs": 5, "seconds": 10}
    return {"count": count, **least, "operatorRssMB": 200, "operatorPeakMB": 249.9, **figures}


def _results(**changes: dict[str, float]) -> dict[str, Any]:
    rows = {name: _row(count, **changes.get(name, {})) for name, count in (("small", 1000), ("large", 5000))}
    again = {"writes": 0, "operatorCpuSeconds": 2, **changes.get("restart", {})}
    return {
        **rows,
        "total": _row(10_000, **changes.get("total", {})),
        "restart": _row(10_201, **again),
        "ceiling": {"perSecond": 440},
        "machine": {"cores": 2},
    }


def _shown(results: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    output = io.StringIO()
    judged = show(Console(file=output, width=130), results)
    return output.getvalue(), judged


def test_all_met() -> None:
    """At the very limits, where these belong to what is asked."""
    text, judged = _shown(_results())
    assert [entry["verdict"] for entry in judged] == ["yes"] * len(TARGETS)
    assert f"{len(TARGETS)} of {len(TARGETS)} targets are met, on 2 cores." in text
    for title in ("1,000 (median of 3)", "5,000 in one namespace", "10,000 in total"):
        assert title in text
    assert "50%" in text, "the ratio to the ceiling"


@pytest.mark.parametrize(
    ("row", "figure", "value"),
    [
        ("small", "perSecond", 149.9),
        ("small", "p99", 6.0),
        ("small", "writesPerCertificate", 3.01),
        ("small", "operatorCpuMs", 5.01),
        ("large", "perSecond", 149.9),
        ("total", "operatorPeakMB", 250.0),
        ("restart", "operatorPeakMB", 250.0),
        ("restart", "seconds", 10.1),
        ("restart", "writes", 1),
    ],
)
def test_one_missed(row: str, figure: str, value: float) -> None:
    """Each target is missed by its own figure, and by nothing else."""
    text, judged = _shown(_results(**{row: {figure: value}}))
    assert [(entry["measured"], entry["verdict"]) for entry in judged if not entry["met"]] == [(value, "NO")]
    assert f"{len(TARGETS) - 1} of {len(TARGETS)} targets are met" in text


def test_short_of_the_aim() -> None:
    """What is asked is met, what is aimed at is not."""
    assert judge(TARGETS[0], _results(small={"perSecond": 219}))["verdict"] == "yes, short of the aim"


def test_the_total_is_of_everything() -> None:
    """Rates over all the time, latencies over all certificates, memory at its most."""
    parts = [
        {**_row(100, seconds=1, operatorCpuMs=4, apiServerCpuMs=1), "latencies": [0.1] * 100},
        {**_row(300, seconds=3, operatorCpuMs=8, operatorPeakMB=260, apiServerCpuMs=1), "latencies": [0.5] * 300},
    ]
    total = in_total(parts)
    assert (total["count"], total["perSecond"], total["operatorCpuMs"]) == (400, 100, 7)
    assert (total["p50"], total["p99"], total["operatorPeakMB"]) == (0.5, 0.5, 260)


def test_sizes() -> None:
    """What is measured is 10,000 in all."""
    sizes = Sizes()
    assert 3 * sizes.small + sizes.large + sizes.rest == sizes.total == 10_000
