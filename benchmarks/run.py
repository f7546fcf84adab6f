"""`make bench`: certificates per second and what each costs, beside what this machine's API server can take at all."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.bench_world import NAMESPACE, POLICY, BenchWorld
from clm.dev.environment import Environment
from clm.dev.state import StateFolder

RESULTS = Path(__file__).parent / "results"
WARM = 200
_MIB = 2**20


def measure(world: BenchWorld, name: str, count: int) -> dict[str, Any]:
    """Issue that many certificates at once and measure client, operator and API server."""
    before, writes_before = world.usage(), world.writes()
    api_before = world.usage("kube-apiserver")
    figures = world.load("issue", NAMESPACE, name, str(count), POLICY)
    world.await_settled()
    after, api_after = world.usage(), world.usage("kube-apiserver")
    writes = {what: number - writes_before.get(what, 0) for what, number in world.writes().items()}
    writes["certificates"] -= count  # the load's own creations
    return {
        **figures,
        "operatorCpuMs": (after.cpu_s - before.cpu_s) * 1000 / count,
        "apiServerCpuMs": (api_after.cpu_s - api_before.cpu_s) * 1000 / count,
        "operatorRssMiB": after.rss_bytes / _MIB,
        "writesPerCertificate": sum(writes.values()) / count,
        "writes": writes,
    }


def restart(world: BenchWorld, *, certificates: int) -> dict[str, Any]:
    """Stop the operator, start it again, and count what that writes."""
    world.stop_controller()
    before = world.writes()
    seconds = world.start_controller(certificates=certificates)
    after = world.writes()
    usage = world.usage()
    return {
        "certificates": certificates,
        "seconds": seconds,
        "operatorCpuSeconds": usage.cpu_s,
        "operatorRssMiB": usage.rss_bytes / _MIB,
        "writes": sum(after.values()) - sum(before.values()),
    }


def bench(world: BenchWorld, console: Console, *, large: int) -> dict[str, Any]:
    """Run everything. `large` is the total number of Certificates in the end."""
    world.prepare()
    console.print("warming up")
    world.load("issue", NAMESPACE, "warm", str(WARM), POLICY)
    results: dict[str, Any] = {}
    for name, count in (("a", 1000), ("b", 1000), ("c", 1000)):
        console.print(f"issuing 1,000 ({name})")
        results[f"1000{name}"] = measure(world, f"k{name}", count)
    results["1000"] = sorted((results.pop(f"1000{n}") for n in "abc"), key=lambda r: r["perSecond"])[1]
    console.print("the ceiling: two writes from a bare client, the operator stopped")
    world.stop_controller()
    results["ceiling"] = world.load("ceiling", f"{NAMESPACE}-ceiling", "1000")
    world.start_controller(certificates=world.count())
    if large >= WARM + 3000 + 5000:
        console.print("issuing 5,000 in one namespace")
        results["5000"] = measure(world, "five", 5000)
    rest = large - (WARM + 3000 + 5000)
    if rest > 0:
        console.print(f"issuing {rest:,} more, to {large:,}")
        results["rest"] = measure(world, "rest", rest)
    console.print("restarting")
    results["restart"] = restart(world, certificates=world.count())
    return results


def show(console: Console, results: dict[str, Any]) -> None:
    """Print the table."""
    table = Table("", "per second", "p50 s", "p99 s", "API writes each", "operator CPU ms each", "operator MiB")
    for name, title in (("1000", "1,000 (median of 3)"), ("5000", "5,000"), ("rest", "the rest")):
        row = results.get(name)
        if row:
            table.add_row(
                title,
                f"{row['perSecond']:.0f}",
                f"{row['p50']:.2f}",
                f"{row['p99']:.2f}",
                f"{row['writesPerCertificate']:.2f}",
                f"{row['operatorCpuMs']:.2f}",
                f"{row['operatorRssMiB']:.0f}",
            )
    ceiling = results["ceiling"]["perSecond"]
    table.add_row("ceiling: the two writes, bare client", f"{ceiling:.0f}", "", "", "2.00", "", "")
    console.print(table)
    ratio = results["1000"]["perSecond"] / ceiling
    console.print(f"The whole path does {ratio:.0%} of what the API server takes from a bare client.")
    again = results["restart"]
    console.print(
        f"Restart with {again['certificates']:,} Certificates: settled after {again['seconds']:.1f} s, "
        f"{again['operatorCpuSeconds']:.1f} CPU s, "
        f"{again['operatorRssMiB']:.0f} MiB, {again['writes']} API writes."
    )


def main() -> int:
    """Bring an environment up, measure, save, take it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", type=int, default=10_200, help="Certificates in the end")
    arguments = parser.parse_args()
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 120)
    folder = Path(tempfile.mkdtemp(prefix="clm-bench-"))
    folder.chmod(0o711)
    environment = Environment(StateFolder(folder), lambda _name, _seconds: None)
    began = time.monotonic()
    try:
        environment.up()
        results = bench(BenchWorld(environment), console, large=arguments.large)
    finally:
        environment.down(delete=True)
    results["machine"] = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "minutes": (time.monotonic() - began) / 60,
    }
    show(console, results)
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / "latest.json"
    file.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    console.print(f"Saved in {file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
