"""Log output: lines for people, JSON for machines. Never a body, a key or a PIN: nobody hands them to a logger."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure_logging(*, level: str = "INFO", format: str = "text") -> None:  # noqa: A002
    """Send every log record to standard error. `format` is ``text`` or ``json``."""
    handler = logging.StreamHandler()
    if format == "json":
        handler.setFormatter(_JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # kopf writes whole bodies at DEBUG, and a line for every event at INFO.
    logging.getLogger("kopf").setLevel(logging.WARNING)
