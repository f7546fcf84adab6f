"""`clm dev`: the embedded environment."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from clm.cli.dev_demo import demo
from clm.dev.environment import Environment
from clm.dev.state import default_state_folder
from clm.errors import ClmError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_WATCH_S = 5.0
_POLL_S = 0.2


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
    """Start what does not run; in the foreground until Ctrl-C unless --detach is given.

    With CLM_SECURE_DSN and CLM_CORE_DSN set it uses these databases and starts none; CLM_SECURE_MIGRATOR_DSN and
    CLM_CORE_MIGRATOR_DSN name another user for the migrations, CLM_CORE_RESPONDER_DSN the user of the responder,
    which runs only with it.
    """
    console = Console()
    environment = _environment(console)
    signals = _Signals()
    is_up, failure = False, None
    try:
        with signals.interrupting():
            environment.up(kubeconfig=kubeconfig)
            is_up = True
            _say_where(console, environment.status())
            if not detach:
                failure = _await_problem(console, environment, signals)
    except KeyboardInterrupt:
        pass
    except (ClmError, OSError) as error:
        failure = str(error)
    # No signal interrupts from here on. What did not come up is down already, or is another command's.
    if signals.came or (is_up and (failure is not None or not detach)):
        # Ignored by the programs that it calls as well: one that a signal kills before it is in a session of its own
        # would be taken for one that is not installed.
        signals.ignore()
        _take_down(environment)
    if failure is not None:
        raise click.ClickException(failure)
    if signals.came and not is_up:
        raise click.Abort
    if signals.came:
        console.print("Stopped; everything is kept.")


@dev.command()
@click.option("--delete", is_flag=True, help="Remove token, databases and objects too.")
def down(*, delete: bool) -> None:
    """Stop everything. Token, databases and objects stay unless --delete is given."""
    console = Console()
    environment = _environment(console)
    _take_down(environment, delete=delete)
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


class _Signals:
    """Ctrl-C, SIGTERM and the end of the terminal (SIGHUP) interrupt what may be interrupted, once.

    A plain flag: a handler that waited for a lock could wait for the very code that it has interrupted.
    """

    def __init__(self) -> None:
        self.came = False
        self._interrupts = False
        self._numbers = [signal.SIGINT, signal.SIGTERM]
        # Under nohup the end of the terminal is nobody's business.
        self._numbers += [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN else []
        for number in self._numbers:
            signal.signal(number, self._handle)

    @contextlib.contextmanager
    def interrupting(self) -> Iterator[None]:
        """Have the first signal raise KeyboardInterrupt in this block, also one that came before it."""
        try:
            self._interrupts = True
            if self.came:
                raise KeyboardInterrupt
            yield
        finally:
            self._interrupts = False

    def ignore(self) -> None:
        """Have no signal end the process any more, not even while the interpreter ends, without any handler."""
        for number in self._numbers:
            signal.signal(number, signal.SIG_IGN)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        is_first, self.came = not self.came, True
        if not is_first:
            return
        # Nobody may be there to read it any more.
        with contextlib.suppress(OSError):
            os.write(sys.stderr.fileno(), b"\nStopping.\n")
        if self._interrupts:
            raise KeyboardInterrupt


def _take_down(environment: Environment, *, delete: bool = False) -> None:
    try:
        environment.down(delete=delete)
    except (ClmError, OSError) as error:
        raise click.ClickException(str(error)) from error


def _await_problem(console: Console, environment: Environment, signals: _Signals) -> str:
    """Wait for a part to end by itself; tell which. Raises KeyboardInterrupt after a signal.

    The handler's own exception may be lost: Python drops what is raised while an object is finalized.
    """
    console.print("Ctrl-C stops everything.")
    while (problem := environment.problem()) is None:
        for _ in range(round(_WATCH_S / _POLL_S)):
            if signals.came:
                raise KeyboardInterrupt
            time.sleep(_POLL_S)
    return problem


def _say_where(console: Console, current: dict[str, Any]) -> None:
    console.print(
        f"\nCLM runs. [bold]export KUBECONFIG={current['kubeconfig']}[/bold]", soft_wrap=True, highlight=False
    )


def _print_status(console: Console, current: dict[str, Any]) -> None:
    databases = {f"postgres-{name}": "running" if runs else "stopped" for name, runs in current["databases"].items()}
    processes = {name: f"running ({pid})" for name, pid in current["processes"].items()}
    rows = {
        "controller": current["controller"],
        "responder": current["responder"],
        "public URL": current["public_url"],
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
