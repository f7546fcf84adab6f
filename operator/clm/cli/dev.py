"""`clm dev`: the embedded environment."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from clm.cli.dev_demo import demo
from clm.dev.environment import Environment
from clm.dev.state import default_state_folder
from clm.errors import ClmError

if TYPE_CHECKING:
    from types import FrameType

_WATCH_S = 5.0


@click.group()
def dev() -> None:
    """Run everything on this machine: PostgreSQL, token, control plane and operator.

    For evaluation and tests. State is kept in $CLM_DEV_STATE, /var/lib/clm-dev (root) or ~/.local/state/clm-dev.
    """


@dev.command()
@click.option("--detach", is_flag=True, help="Return when everything is ready, and leave it running.")
@click.option(
    "--kubeconfig",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Serve this cluster instead of an embedded control plane.",
)
def up(*, detach: bool, kubeconfig: Path | None) -> None:
    """Start what does not run; in the foreground until Ctrl-C unless --detach is given."""
    console = Console()
    environment = _environment(console)
    stop = _stop_on_signals()
    try:
        environment.up(kubeconfig=kubeconfig)
        _say_where(console, environment.status())
        if not detach:
            _stay(console, environment, stop)
    except (ClmError, OSError) as error:
        raise click.ClickException(str(error)) from error


@dev.command()
@click.option("--delete", is_flag=True, help="Remove token, databases and objects too.")
def down(*, delete: bool) -> None:
    """Stop everything. Token, databases and objects stay unless --delete is given."""
    console = Console()
    environment = _environment(console)
    try:
        environment.down(delete=delete)
    except (ClmError, OSError) as error:
        raise click.ClickException(str(error)) from error
    console.print(f"Stopped; {'nothing is left' if delete else f'everything is kept in {environment.state.root}'}.")


@dev.command()
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def status(*, output: str) -> None:
    """Tell what runs, and where kubeconfig, DSNs, token and logs are. Exits with 1 when it is not ready."""
    try:
        current = _environment(Console()).status()
    except (ClmError, OSError) as error:
        raise click.ClickException(str(error)) from error
    if output == "json":
        click.echo(json.dumps(current, indent=2))
    else:
        _print_status(Console(), current)
    if not current["ready"]:
        raise SystemExit(1)


dev.add_command(demo)


def _environment(console: Console) -> Environment:
    def progress(part: str, elapsed_s: float) -> None:
        console.print(f"  [green]ready[/green]  {part:<16} {elapsed_s:5.1f} s", highlight=False)

    return Environment(default_state_folder(os.environ), progress)


def _stop_on_signals() -> threading.Event:
    """Have Ctrl-C and SIGTERM interrupt the start, and end the stay in the foreground."""
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)
    return stop


def _stay(console: Console, environment: Environment, stop: threading.Event) -> None:
    """Wait for a signal, or for a part to end by itself; then take everything down."""
    console.print("Ctrl-C stops everything.")
    problem = None
    try:
        while problem is None and not stop.wait(_WATCH_S):
            problem = environment.problem()
    except KeyboardInterrupt:
        console.print()
    finally:
        environment.down()
    if problem is not None:
        raise click.ClickException(problem)
    console.print("Stopped; everything is kept.")


def _say_where(console: Console, current: dict[str, Any]) -> None:
    console.print(
        f"\nCLM runs. [bold]export KUBECONFIG={current['kubeconfig']}[/bold]", soft_wrap=True, highlight=False
    )


def _print_status(console: Console, current: dict[str, Any]) -> None:
    databases = {f"postgres-{name}": "running" if runs else "stopped" for name, runs in current["databases"].items()}
    processes = {name: f"running ({pid})" for name, pid in current["processes"].items()}
    rows = {
        "controller": current["controller"],
        "kubeconfig": current["kubeconfig"],
        "clm_secure_db": current["secure_dsn"],
        "clm_core_db": current["core_dsn"],
        "token": current["token"]["label"],
        "PIN file": current["token"]["pin_file"],
        "settings": current["environment_file"],
        "logs": current["logs"],
        **databases,
        **processes,
    }
    for name, value in rows.items():
        console.print(f"[bold]{name:<24}[/bold] {'-' if value is None else value}", highlight=False, soft_wrap=True)
