"""Tables whose every value can be read and copied: as wide as they need, as kubectl's are, on a terminal or not."""

from __future__ import annotations

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

_WIDEST = 1000


def listing(*headers: str) -> Table:
    """Make an empty table without lines; rows are added by `add_row`."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for header in headers:
        table.add_column(header, no_wrap=True)
    return table


def print_listing(table: Table) -> None:
    """Print it whole: a line that is longer than the terminal goes on in the next."""
    console = Console()
    needed = Measurement.get(console, console.options.update(max_width=_WIDEST), table).maximum
    console.width = max(console.width, needed)
    console.print(table)
