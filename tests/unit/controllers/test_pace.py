"""A duel over a Secret stays slow."""

from __future__ import annotations

from clm.controllers.pace import RepairPace


def test_a_hostile_writer_gets_at_most_five_repairs_an_hour_and_a_single_edit_is_repaired_at_once() -> None:
    """Somebody changes the Secret again a tenth of a second after every repair."""
    now = 0.0
    pace: RepairPace[str] = RepairPace(clock=lambda: now)
    repairs = []
    while now < 3600:
        now += pace.delay_s("a")
        repairs.append(now)
        now += 0.1
    assert repairs[0] == 0
    assert len([moment for moment in repairs if moment < 3600]) <= 5


def test_changes_that_come_while_a_repair_waits_are_seen_to_by_that_repair() -> None:
    """A hundred edits in the waiting time plan nothing more."""
    now = 0.0
    pace: RepairPace[str] = RepairPace(clock=lambda: now)
    assert pace.delay_s("a") == 0
    now = 0.5
    assert pace.delay_s("a") == 1
    for _ in range(100):
        now += 0.001
        pace.delay_s("a")
    now = 1.6
    assert pace.delay_s("a") == 10


def test_after_a_quiet_hour_a_repair_is_immediate_again() -> None:
    """What happened in the morning does not slow the evening."""
    now = 0.0
    pace: RepairPace[str] = RepairPace(clock=lambda: now)
    for moment in (0.0, 2.0, 20.0):
        now = moment
        pace.delay_s("a")
    now = 8000.0
    assert pace.delay_s("a") == 0
