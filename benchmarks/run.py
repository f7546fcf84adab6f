"""`make bench`: certificates per second and what each costs, beside what this machine's API server can take at all."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.bench_world import NAMESPACE, POLICY, BenchWorld
from benchmarks.report import show
from clm.dev.environment import Environment
from clm.dev.state import StateFolder

RESULTS = Path(__file__).parent / "results"
_MB = 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How many Certificates: before anything is measured, three times at once, in one go, and measured in all."""

    warm: int = 200
    small: int = 1_000
    large: int = 5_000
    total: int = 10_000

    def divided(self, by: int) -> Sizes:
        """A part of everything, to try the benchmark itself."""
        return Sizes(warm=self.warm // by, small=self.small // by, large=self.large // by, total=self.total // by)

    @property
    def rest(self) -> int:
        """What is missing to the total after the others."""
        return self.total - 3 * self.small - self.large


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
        "operatorRssMB": after.rss_bytes / _MB,
        "operatorPeakMB": after.peak_bytes / _MB,
        "writesPerCertificate": sum(writes.values()) / count,
        "writes": writes,
    }


def in_total(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Everything that was issued, as one row: rates over the time in which it was issued, memory at its most."""
    count = sum(part["count"] for part in parts)
    seconds = sum(part["seconds"] for part in parts)
    latencies = sorted(latency for part in parts for latency in part["latencies"])

    def mean(name: str) -> float:
        weighted: float = sum(part[name] * part["count"] for part in parts) / count
        return weighted

    return {
        "count": count,
        "seconds": seconds,
        "perSecond": count / seconds,
        "p50": latencies[len(latencies) // 2],
        "p99": latencies[int(len(latencies) * 0.99) - 1],
        "operatorCpuMs": mean("operatorCpuMs"),
        "apiServerCpuMs": mean("apiServerCpuMs"),
        "operatorRssMB": parts[-1]["operatorRssMB"],
        "operatorPeakMB": max(part["operatorPeakMB"] for part in parts),
        "writesPerCertificate": mean("writesPerCertificate"),
    }


def restart(world: BenchWorld, *, certificates: int) -> dict[str, Any]:
    """Stop the operator, start it again, and count what that writes."""
    world.stop_controller()
    before = world.writes()
    seconds = world.start_controller(certificates=certificates)
    after = world.writes()
    usage = world.usage()
    return {
        "count": certificates,
        "seconds": seconds,
        "operatorCpuSeconds": usage.cpu_s,
        "operatorRssMB": usage.rss_bytes / _MB,
        "operatorPeakMB": usage.peak_bytes / _MB,
        "writes": sum(after.values()) - sum(before.values()),
    }


def bench(world: BenchWorld, console: Console, sizes: Sizes) -> dict[str, Any]:
    """Run everything."""
    world.prepare()
    console.print("warming up")
    world.load("issue", NAMESPACE, "warm", str(sizes.warm), POLICY)
    small = []
    for name in "abc":
        console.print(f"issuing {sizes.small:,} ({name})")
        small.append(measure(world, f"k{name}", sizes.small))
    console.print("the ceiling: two writes from a bare client, the operator stopped")
    world.stop_controller()
    ceiling = world.load("ceiling", f"{NAMESPACE}-ceiling", str(sizes.small))
    world.start_controller(certificates=world.count())
    console.print(f"issuing {sizes.large:,} in one namespace")
    large = measure(world, "large", sizes.large)
    console.print(f"issuing {sizes.rest:,} more, to {sizes.total:,}")
    rest = measure(world, "rest", sizes.rest)
    console.print("restarting")
    again = restart(world, certificates=world.count())
    parts = [*small, large, rest]
    results = {
        "small": sorted(small, key=lambda part: float(part["perSecond"]))[1],
        "large": large,
        "total": in_total(parts),
        "restart": again,
        "ceiling": ceiling,
    }
    for part in parts:
        del part["latencies"]
    return results


def main() -> int:
    """Bring an environment up, measure, save, take it down. A target that is missed is said, and is no failure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--divide-by", type=int, default=1, help="measure a part of everything: to try the benchmark")
    arguments = parser.parse_args()
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 130)
    folder = Path(tempfile.mkdtemp(prefix="clm-bench-"))
    folder.chmod(0o711)
    environment = Environment(StateFolder(folder), lambda _name, _seconds: None)
    began = time.monotonic()
    try:
        environment.up()
        results = bench(BenchWorld(environment), console, Sizes().divided(arguments.divide_by))
    finally:
        environment.down(delete=True)
    results["machine"] = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "minutes": (time.monotonic() - began) / 60,
    }
    results["targets"] = show(console, results)
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / ("latest.json" if arguments.divide_by == 1 else "part.json")
    file.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    console.print(f"Saved in {file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
