"""What a benchmark prints: the figures, and which targets they meet."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

_COMPARE: dict[str, Callable[[float, float], bool]] = {">=": operator.ge, "<=": operator.le, "<": operator.lt}


@dataclass(frozen=True, slots=True)
class Target:
    """One figure of one row, and what it has to be; `aim` is what it should be beyond that."""

    row: str
    figure: str
    words: str
    comparison: str
    limit: float
    aim: float | None = None


TARGETS = (
    Target("small", "perSecond", "certificates per second", ">=", 150, aim=220),
    Target("small", "p99", "seconds to Ready, p99", "<", 6),
    Target("small", "writesPerCertificate", "API writes each, Events included", "<=", 3),
    Target("small", "operatorCpuMs", "ms of operator CPU each", "<=", 5),
    Target("large", "perSecond", "certificates per second", ">=", 150, aim=220),
    Target("total", "operatorPeakMB", "MB of operator memory at its peak", "<", 250),
    Target("restart", "operatorPeakMB", "MB of operator memory at its peak", "<", 250),
    Target("restart", "seconds", "seconds until all is settled", "<=", 10),
    Target("restart", "writes", "API writes, Leases aside", "<=", 0),
)


def show(console: Console, results: dict[str, Any]) -> list[dict[str, Any]]:
    """Print the tables. Returns each target with what was measured and whether that meets it."""
    console.print(_figures(results))
    again = results["restart"]
    console.print(
        f"Restart with {again['count']:,} Certificates: settled after {again['seconds']:.1f} s, "
        f"{again['operatorCpuSeconds']:.1f} CPU s, {again['operatorRssMB']:.0f} MB "
        f"({again['operatorPeakMB']:.0f} MB at its peak), {again['writes']} API writes."
    )
    judged = [judge(target, results) for target in TARGETS]
    table = Table("target", "", "asked", "measured", "met")
    for entry in judged:
        table.add_row(entry["row"], entry["what"], entry["asked"], f"{entry['measured']:,.4g}", entry["verdict"])
    console.print(table)
    met = sum(entry["met"] for entry in judged)
    console.print(f"{met} of {len(judged)} targets are met, on {results['machine']['cores']} cores.")
    return judged


def judge(target: Target, results: dict[str, Any]) -> dict[str, Any]:
    """Hold a figure against its target."""
    measured = float(results[target.row][target.figure])
    compare = _COMPARE[target.comparison]
    met = compare(measured, target.limit)
    aim = f" (aim {target.aim:g})" if target.aim is not None else ""
    short = met and target.aim is not None and not compare(measured, target.aim)
    return {
        "row": titles(results)[target.row],
        "what": target.words,
        "asked": f"{target.comparison} {target.limit:g}{aim}",
        "measured": measured,
        "met": met,
        "verdict": ("yes, short of the aim" if short else "yes") if met else "NO",
    }


def titles(results: dict[str, Any]) -> dict[str, str]:
    """Name the rows, by how much was measured."""
    return {
        "small": f"{results['small']['count']:,} (median of 3)",
        "large": f"{results['large']['count']:,} in one namespace",
        "total": f"{results['total']['count']:,} in total",
        "restart": f"restart with {results['restart']['count']:,}",
    }


def _figures(results: dict[str, Any]) -> Table:
    table = Table("", "per second", "of ceiling", "p50 s", "p99 s", "writes each", "CPU ms each", "MB", "peak MB")
    ceiling = results["ceiling"]["perSecond"]
    for name in ("small", "large", "total"):
        row = results[name]
        table.add_row(
            titles(results)[name],
            f"{row['perSecond']:.0f}",
            f"{row['perSecond'] / ceiling:.0%}",
            f"{row['p50']:.2f}",
            f"{row['p99']:.2f}",
            f"{row['writesPerCertificate']:.2f}",
            f"{row['operatorCpuMs']:.2f}",
            f"{row['operatorRssMB']:.0f}",
            f"{row['operatorPeakMB']:.0f}",
        )
    table.add_row("ceiling: the two writes, bare client", f"{ceiling:.0f}", "100%", "", "", "2.00", "", "", "")
    return table
