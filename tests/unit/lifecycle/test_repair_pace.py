"""A duel over a Secret stays slow."""

from __future__ import annotations

from clm.lifecycle.repair_pace import RepairPace, delay_after_s


def test_a_hostile_writer_gets_at_most_four_repairs_in_any_hour_and_a_single_edit_is_repaired_at_once() -> None:
    """Somebody changes the Secret again a tenth of a second after every repair, for a day."""
    now = 0.0
    pace: RepairPace[str] = RepairPace(clock=lambda: now)
    repairs = []
    while now < 86_400:
        now += pace.delay_s("a")
        repairs.append(now)
        now += 0.1
    assert repairs[0] == 0
    assert max(sum(1 for moment in repairs if since <= moment < since + 3600) for since in repairs) <= 4


def test_one_who_waits_out_the_quiet_hour_gains_nothing() -> None:
    """Bursts after pauses of every length: no hour has more than four repairs, and one write to end the contest."""
    for pause_s in (60, 600, 1800, 3599, 3601, 4000, 7200):
        now = 0.0
        pace: RepairPace[str] = RepairPace(clock=lambda: now)  # noqa: B023 - used within the round
        repairs: list[float] = []
        while now < 86_400:
            for _ in range(5):
                delay_s = pace.delay_s("a")
                if delay_s > pause_s:
                    break
                now += delay_s
                repairs.append(now)
                now += 0.1
            now += pause_s
        most = max(sum(1 for moment in repairs if since <= moment < since + 3600) for since in repairs)
        assert 1 <= most <= 4, pause_s


def test_changes_that_come_while_a_repair_waits_are_seen_to_by_that_repair() -> None:
    """A hundred edits in the waiting time plan nothing more."""
    now = 0.0
    pace: RepairPace[str] = RepairPace(clock=lambda: now)
    assert pace.delay_s("a") == 0
    now = 0.25
    assert pace.delay_s("a") == 0.75
    for _ in range(100):
        now += 0.001
        pace.delay_s("a")
    assert pace.repairs("a") == 2
    now = 1.5
    assert pace.delay_s("a") == 9.5


def test_after_a_quiet_hour_a_repair_is_immediate_again() -> None:
    """What happened in the morning does not slow the evening."""
    now = 0.0
    pace: RepairPace[str] = RepairPace(clock=lambda: now)
    for moment in (0.0, 2.0, 20.0):
        now = moment
        pace.delay_s("a")
    assert pace.repairs("a") == 3
    now = 8000.0
    assert pace.repairs("a") == 0
    assert pace.delay_s("a") == 0


def test_a_restart_does_not_start_the_contest_anew() -> None:
    """What the status remembers of an earlier process slows the next one as well."""
    now = 50.0
    pace: RepairPace[str] = RepairPace(clock=lambda: now)
    pace.remember("a", 3, ago_s=100.0)
    assert pace.repairs("a") == 3
    assert pace.delay_s("a") == delay_after_s(3) - 100.0


def test_who_writes_what_is_theirs_slows_no_repair_and_gains_none() -> None:
    """An annotation of another controller every second: a look every ten seconds, and a deletion is still mended soon.

    Mixed with harm it does not set the count back.
    """
    now = 0.0
    pace: RepairPace[str] = RepairPace(clock=lambda: now)
    looks = []
    while now < 600:
        now += pace.delay_s("a")
        looks.append(now)
        pace.was_harmless("a")
        now += 1.0
    assert 59 <= len(looks) <= 61
    assert pace.repairs("a") == 0
    assert pace.delay_s("a") <= 10.0

    repairs = []
    pace.forget("a")
    while now < 86_400:
        now += pace.delay_s("a")
        repairs.append(now)
        now += 0.1 + pace.delay_s("a")
        pace.was_harmless("a")
        now += 0.1
    assert max(sum(1 for moment in repairs if since <= moment < since + 3600) for since in repairs) <= 4
