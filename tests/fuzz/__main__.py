"""`make fuzz`: the targets, each for some time, led by coverage (atheris, libFuzzer).

    python -m tests.fuzz [--seconds 60] [TARGET ...]

Each target runs in a process of its own. What makes one fail is left in tests/fuzz/found/, and run again by
`python -m tests.fuzz TARGET --replay FILE`.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

FOUND = Path(__file__).parent / "found"
NAMES = ("ocsp", "ocsp-get", "http", "csr", "signed-csr", "csr-text", "responder-csr", "certificate")


def run_one(name: str, seconds: int) -> None:
    """Fuzz one target in this process, which libFuzzer ends."""
    import atheris  # noqa: PLC0415 - only this process is instrumented

    with atheris.instrument_imports(include=["clm"]):
        run, seeds = _target(name)
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds):
            Path(corpus, str(number)).write_bytes(seed)
        FOUND.mkdir(exist_ok=True)
        options = [
            f"-max_total_time={seconds}",
            "-max_len=4096",
            f"-artifact_prefix={FOUND}/{name}-",
            "-print_final_stats=1",
        ]
        atheris.Setup([sys.argv[0], corpus, *options], run)
        atheris.Fuzz()


def _target(name: str) -> tuple[Callable[[bytes], object], tuple[bytes, ...]]:
    targets = importlib.import_module("tests.fuzz.targets")
    if name != "certificate":
        return targets.TARGETS[name].run, targets.TARGETS[name].seeds
    test = importlib.import_module("tests.fuzz.test_fuzz").test_certificate
    return test.hypothesis.fuzz_one_input, ()


def main() -> int:
    """Run them; tell which failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", choices=[*NAMES, []], help="all of them, where none is named")
    parser.add_argument("--seconds", type=int, default=60, help="time for each target")
    parser.add_argument("--replay", type=Path, help="run a target once, over what is in this file")
    parser.add_argument("--in-this-process", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.replay is not None:
        (name,) = arguments.targets
        _target(name)[0](arguments.replay.read_bytes())
        return 0
    if arguments.in_this_process:
        run_one(arguments.targets[0], arguments.seconds)
        return 0
    failed = [name for name in arguments.targets or NAMES if not _run_apart(name, arguments.seconds)]
    print(f"failed: {', '.join(failed)}; see {FOUND}" if failed else "nothing was found")
    return 1 if failed else 0


def _run_apart(name: str, seconds: int) -> bool:
    command = [sys.executable, "-m", "tests.fuzz", name, "--seconds", str(seconds), "--in-this-process"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    runs = next((line for line in done.stdout.splitlines() if "number_of_executed_units" in line), "")
    print(f"{name}: {'nothing found' if done.returncode == 0 else 'FOUND'} {runs.rpartition(':')[2].strip()} runs")
    if done.returncode != 0:
        print(done.stdout[-8000:])
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
