"""`clm dev demo`: the examples in a running environment, and what came of them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

from clm.dev.demonstration import Shown, apply_examples, await_ready, collect, example_certificates
from clm.dev.environment import Environment
from clm.dev.kubectl import Kubectl, find_kubectl
from clm.dev.state import default_state_folder
from clm.errors import ClmError

_WIDTH_WITHOUT_TERMINAL = 150


@click.command()
@click.option("--timeout", "timeout_s", type=float, default=120.0, show_default=True, help="Seconds to wait.")
def demo(*, timeout_s: float) -> None:
    """Apply the examples, wait until their Certificates are Ready, and show every Certificate that there is.

    Exits with 1 and tells why when an example does not become Ready, or the chain of a Ready Certificate does not
    verify. Certificates of your own may be refused: they are shown with the reason.
    """
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH_WITHOUT_TERMINAL
    environment = Environment(default_state_folder(os.environ), lambda _part, _elapsed_s: None)
    try:
        current = environment.status()
        if not current["ready"]:
            raise click.ClickException(f"CLM does not run ({current['controller']}): clm dev up --detach")
        kubectl = find_kubectl(os.environ, current["kubeconfig"])
        apply_examples(kubectl, publish=current["public_url"] is not None)
        _await(console, kubectl, timeout_s)
        shown = collect(kubectl)
    except ClmError as error:
        raise click.ClickException(f"{error}\nLogs: {environment.state.logs}") from error
    _print(console, shown)
    _print_refused(console, [certificate for certificate in shown if not certificate.ready])
    console.print("\n[bold]Try next[/bold]")
    in_path = shutil.which("kubectl") is not None
    for command in next_commands(current, kubectl_folder=None if in_path else Path(kubectl.program).parent):
        console.print(f"  {command}", markup=False, highlight=False, soft_wrap=True)
    if any(certificate.ready and certificate.chain not in {None, "verified"} for certificate in shown):
        raise click.ClickException(f"a chain does not verify. Logs: {environment.state.logs}")


def _await(console: Console, kubectl: Kubectl, timeout_s: float) -> None:
    with console.status("applying the examples") as line:
        await_ready(
            kubectl,
            example_certificates(),
            timeout_s=timeout_s,
            progress=lambda ready, total: line.update(f"{ready} of {total} examples are Ready"),
        )


def _print(console: Console, shown: list[Shown]) -> None:
    table = Table(title="Certificates", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1))
    for heading in ("Namespace", "Name", "Ready", "Issuer", "Serial", "Not after", "Secret", "Chain"):
        # The serial is what gives way on a narrow terminal.
        table.add_column(heading, no_wrap=True, min_width=None if heading == "Serial" else len(heading))
    for certificate in shown:
        chain = certificate.chain or ("not verified: no openssl" if certificate.ready else "-")
        colour = "green" if chain == "verified" else "red"
        table.add_row(
            certificate.namespace,
            certificate.name,
            "[green]yes[/green]" if certificate.ready else "[red]no[/red]",
            certificate.issuer,
            certificate.serial.replace(":", ""),
            certificate.not_after.replace("T", " ")[:16],
            certificate.secret,
            f"[{colour}]{chain}[/{colour}]",
        )
    console.print(table)


def _print_refused(console: Console, refused: list[Shown]) -> None:
    if refused:
        console.print("[bold]Not Ready[/bold]")
    for certificate in refused:
        line = f"  {certificate.namespace}/{certificate.name}: {certificate.why or 'no status yet'}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def next_commands(current: dict[str, Any], *, kubectl_folder: Path | None) -> list[str]:
    """Commands to try next, as a person can paste them; `kubectl_folder` is given where kubectl is not in PATH."""
    path = [f'export PATH="{kubectl_folder}:$PATH"'] if kubectl_folder is not None else []
    url = current["public_url"]
    revoke = """kubectl -n shop patch clmcert web --type=merge -p '{"spec":{"revocation":{"reason":"superseded"}}}'"""
    chain = "kubectl -n shop get secret web-tls -o jsonpath='{.data.tls\\.crt}' | base64 -d >chain.pem"
    status = [
        f"{chain}; sed '1,/END/d' chain.pem >issuer.pem",
        f"openssl ocsp -url {url}/ocsp -issuer issuer.pem -cert chain.pem -CAfile issuer.pem -partial_chain   # good",
        f"{revoke}   # and ask again",
    ]
    # By its short name: cert-manager has a resource called certificates too.
    return [
        *path,
        f"export KUBECONFIG={current['kubeconfig']}",
        "kubectl get clmcert -A -o wide",
        "kubectl -n shop describe clmcert web",
        "kubectl -n shop get secret web-tls -o jsonpath='{.data.tls\\.crt}' | base64 -d | openssl x509 -noout -text",
        "kubectl -n shop delete secret web-tls   # it comes back, the same certificate",
        *(status if url is not None else []),
        f"(set -a; . {current['environment_file']}; .venv/bin/clm check)   # compares databases, cluster and token",
        "make stop   # everything is kept; make clean removes it",
    ]
