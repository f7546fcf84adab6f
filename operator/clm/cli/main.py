"""The command `clm`: finds a subcommand's module by name and imports only that one."""

from __future__ import annotations

import importlib
import sys

import click

from clm import __version__

# Module and attribute of each subcommand, and what `clm --help` says, so that asking for help imports nothing.
_COMMANDS = {
    "audit": ("clm.cli.audit:audit", "Verify, search, prove and archive the audit logs."),
    "check": ("clm.cli.check:check", "Compare databases, cluster and token with each other."),
    "controller": ("clm.cli.controller:controller", "Run the kopf operator."),
    "dev": ("clm.cli.dev:dev", "Run everything on this machine, for evaluation and tests."),
    "erase": ("clm.cli.erase:erase", "Erase a person's data, for good."),
    "keys": ("clm.cli.keys:keys", "Show keys and change their states."),
    "renew": ("clm.cli.renew:renew", "Ask for new certificates now."),
    "report": ("clm.cli.report:report", "Tell what is to come."),
    "revoke": ("clm.cli.revoke:revoke", "Revoke certificates, for good."),
    "retention": ("clm.cli.retention:retention", "Let go what is past its retention."),
    "maintenance": ("clm.cli.maintenance:maintenance", "Tell how the databases are, and what is to be done."),
    "responder": ("clm.cli.responder:responder", "Serve CRLs, OCSP answers and CA certificates."),
    "migrate": ("clm.cli.migrate:migrate", "Apply the migrations to both databases."),
}


class _LazyGroup(click.Group):
    """A group whose subcommands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}:{attribute} is no command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name][1]) for name in sorted(_COMMANDS)])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="clm")
def main() -> None:
    """CLM: a certificate authority and certificate lifecycle manager that lives in Kubernetes."""


if __name__ == "__main__":
    sys.exit(main(prog_name="clm"))
