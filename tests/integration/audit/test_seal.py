"""Records are sealed in batches that can gain nothing, by one sealer at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.integration.audit.conftest import Log


def test_sealed_log_verifies(log: Log, core_log: Log) -> None:
    """What was written and sealed verifies in both databases, and what came later is told to be unsealed."""
    for each in (log, core_log):
        each.write("key.generate", "key.activate", "certificate.issue")
        assert len(each.seal()) == 1
        each.write("certificate.revoke")
        report = each.verify(anchor=each.newest())
        assert report.problems == []
        assert (report.batches, report.records, report.unsealed) == (1, 4, 1)
