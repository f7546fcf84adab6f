"""`make chaos`: hundreds of kills and outages, then the proof. Exits with 1 if a promise broke."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from clm.cluster.client import ApiClient
from clm.cluster.session import load_credentials, open_session
from clm.errors import ClusterUnavailable
from clm.lifecycle.boundaries import BoundaryName
from tests.chaos.objects import Objects
from tests.chaos.proof import broken_promises, key_state, not_ended, totals, unfinished
from tests.chaos.world import World

DEPENDENCIES = ("token", "secure database", "core database", "API server")
KEY_BOUNDARIES = ("key.row-written", "hsm.key-generated", "key.read-back", "key.activated")
# The others are passed only where somebody asks for a destruction or an erasure, and are killed at in their own tests.
PATH_BOUNDARIES = tuple(name for name in get_args(BoundaryName) if name.startswith(("issue.", "publish.", "revoke.")))
RARE_BOUNDARIES = (*KEY_BOUNDARIES, *(name for name in PATH_BOUNDARIES if name.startswith("revoke.")))
"""Passed once or twice a round."""
GENERATION = "within the generation of an RSA-4096 key"
_LONG_OUTAGE_S = 35.0
"""Longer than the deadlines of a call into the token and of a statement."""
_GENERATION_S = 1.5
"""About how long the token takes over an RSA-4096 key."""
_ENOUGH = 10
"""Of so many kills at random moments of it one falls into it."""
_DEATH_TIMEOUT_S = 25.0
_SETTLE_TIMEOUT_S = 180.0


def boundaries(only: str = "") -> list[str]:
    """Boundaries that a run kills at: those whose names begin so."""
    return [name for name in (*KEY_BOUNDARIES, *PATH_BOUNDARIES) if name.startswith(only)]


@dataclass(slots=True)
class Tally:
    """What was done to the operator."""

    kills: Counter[str] = field(default_factory=Counter)
    outages: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)

    @property
    def killed(self) -> int:
        """How often the operator was killed where it was to be; those within a generation are counted apart."""
        return sum(self.kills.values()) - self.kills[GENERATION]


@dataclass(slots=True)
class Chaos:
    """One run."""

    world: World
    objects: Objects
    random: random.Random
    tally: Tally = field(default_factory=Tally)

    async def first_starts(self) -> None:
        """Kill the very first starts inside the generation of the key-encryption key and of the first CAs."""
        for boundary in KEY_BOUNDARIES:
            await self._kill_at(boundary, passes=1)

    async def kills(self, number: int, *, only: str = "") -> None:
        """Kill the operator until it was killed that often: at each boundary in turn, and between them at any moment.

        With `only` at the boundaries whose names begin so, and at no other moment.

        A round in which it does not come to its boundary is no kill. There are not more such rounds than others.
        """
        schedule = [*PATH_BOUNDARIES, "any moment", *KEY_BOUNDARIES, "any moment"]
        if only:
            schedule = boundaries(only)
        for round_number in range(2 * number):
            if self.tally.killed >= number:
                return
            where = schedule[round_number % len(schedule)]
            await self.objects.stir(leaves=4, with_authority=where in KEY_BOUNDARIES)
            if where == "any moment":
                await self._kill_at_any_moment()
            else:
                await self._kill_at(where, passes=1 if where in RARE_BOUNDARIES else self.random.randint(1, 4))
            if (round_number + 1) % 25 == 0:
                _say(f"{self.tally.killed} kills, {len(self.objects.wanted)} Certificates wanted")

    async def kills_within_generation(self, number: int) -> None:
        """Kill the operator that often at a random moment of the generation of a large CA key."""
        for _ in range(number):
            name = await self.objects.large_authority()
            self.world.start_operator()
            if not await self._until_generating(name):
                self.world.kill_operator()
                self.tally.missed[GENERATION] += 1
                continue
            await asyncio.sleep(self.random.uniform(0.0, _GENERATION_S))
            self.world.kill_operator()
            cut = await asyncio.to_thread(key_state, self.world, name) == "generating"
            (self.tally.kills if cut else self.tally.missed)[GENERATION] += 1

    async def long_outages(self) -> None:
        """Take the token, then a database, away for longer than anybody waits for them."""
        for dependency in ("token", "secure database"):
            await self._outage(dependency, _LONG_OUTAGE_S)
            _say(f"a long outage of the {dependency}")

    async def outages(self, number: int) -> None:
        """Take each dependency away that often while the operator works."""
        self.world.start_operator()
        for _ in range(number):
            for dependency in DEPENDENCIES:
                await self._outage(dependency, self.random.uniform(0.3, 2.0))
            _say(f"{sum(self.tally.outages.values())} outages")

    async def settle(self) -> list[str]:
        """Let the operator finish in peace. Returns what is still not as it should be."""
        if not self.world.operator_is_running():
            self.world.await_death(1)
            self.world.start_operator()
        deadline = time.monotonic() + _SETTLE_TIMEOUT_S
        while True:
            waiting = await self.objects.not_ready()
            rest = unfinished(self.world)
            if not waiting and not rest:
                return []
            if time.monotonic() > deadline:
                return [f"{name} is not Ready: {why}" for name, why in waiting.items()] + [f"{rest} unfinished"]
            await asyncio.sleep(0.5)

    async def _outage(self, dependency: str, seconds: float) -> None:
        await self.objects.stir(leaves=4, with_authority=dependency == "token")
        await asyncio.sleep(self.random.uniform(0.0, 0.3))
        with self.world.without(dependency):
            if dependency != "API server":
                await self.objects.stir(leaves=2, with_authority=False)
            await asyncio.sleep(seconds)
        self.tally.outages[dependency] += 1
        if not self.world.operator_is_running():
            # It may end itself when it cannot go on; in production it is then started again.
            self.world.await_death(1)
            self.world.start_operator()

    async def _until_generating(self, name: str) -> bool:
        deadline = time.monotonic() + _DEATH_TIMEOUT_S
        while await asyncio.to_thread(key_state, self.world, name) is None:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.02)
        return True

    async def _kill_at(self, boundary: str, *, passes: int) -> None:
        self.world.start_operator(boundary=boundary, passes=passes)
        died = await asyncio.to_thread(self.world.await_death, _DEATH_TIMEOUT_S)
        if died:
            self.tally.kills[boundary] += 1
        else:
            self.world.kill_operator()
            self.tally.missed[boundary] += 1

    async def _kill_at_any_moment(self) -> None:
        self.world.start_operator()
        await asyncio.sleep(self.random.uniform(1.0, 4.0))
        self.world.kill_operator()
        self.tally.kills["any moment"] += 1


async def chaos(
    folder: Path,
    *,
    kills: int,
    outages: int,
    generations: int,
    seed: int,
    long_outages: bool = False,
    only: str = "",
) -> tuple[list[str], Chaos]:
    """Run it all in a folder. Returns the broken promises and the run."""
    world = World(folder)
    chance = random.Random(seed)
    try:
        await asyncio.to_thread(world.start)
        credentials = await load_credentials(str(world.control_plane.kubeconfig))
        async with open_session(credentials, connections=8) as session:
            run = Chaos(world, Objects(_Patient(session, credentials.server), chance), chance)
            await run.objects.prepare()
            if not only:
                await run.first_starts()
            await run.kills(kills, only=only)
            await run.kills_within_generation(generations)
            await run.outages(outages)
            if long_outages:
                await run.long_outages()
            broken = await run.settle()
            broken += await _proof(world)
            broken += await asyncio.to_thread(not_ended, world, run.objects.revoked | run.objects.buried)
            broken += await run.objects.secrets_left()
            never = set(boundaries(only)) - run.tally.kills.keys()
            broken += [f"the operator was never killed at {boundary}" for boundary in sorted(never)]
            if run.tally.killed < kills:
                broken.append(f"the operator was killed {run.tally.killed} times, not {kills}")
            if generations >= _ENOUGH and not run.tally.kills[GENERATION]:
                broken.append(f"the operator was never killed {GENERATION}")
            _print(run, await asyncio.to_thread(totals, world))
    finally:
        await asyncio.to_thread(world.stop)
    return broken, run


async def _proof(world: World) -> list[str]:
    """Ask until every promise holds: a repair that is paced may still be on its way."""
    deadline = time.monotonic() + _SETTLE_TIMEOUT_S
    while True:
        broken = await asyncio.to_thread(broken_promises, world)
        if not broken or time.monotonic() > deadline:
            return broken
        await asyncio.sleep(3)


class _Patient(ApiClient):
    """Waits for the API server to come back, as people's tools do."""

    async def request(self, method: str, path: str, **options: object) -> dict[str, object]:
        for _ in range(120):
            try:
                return await super().request(method, path, **options)  # type: ignore[arg-type]
            except ClusterUnavailable:
                await asyncio.sleep(0.25)
        return await super().request(method, path, **options)  # type: ignore[arg-type]


def _print(run: Chaos, counts: dict[str, int]) -> None:
    _say("kills: " + ", ".join(f"{name} {number}" for name, number in sorted(run.tally.kills.items())))
    if run.tally.missed:
        _say("killed late, the boundary was not reached: " + ", ".join(run.tally.missed))
    _say("outages: " + (", ".join(f"{name} {number}" for name, number in run.tally.outages.items()) or "none"))
    _say("objects: " + ", ".join(f"{name} {number}" for name, number in run.objects.changes.items()))
    _say("recorded: " + ", ".join(f"{name} {number}" for name, number in counts.items()))


def _say(line: str) -> None:
    sys.stdout.write(f"[{time.strftime('%H:%M:%S')}] {line}\n")
    sys.stdout.flush()


def main() -> int:
    """Read the arguments, run, print the verdict."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--outages", type=int, default=10, help="of each dependency")
    parser.add_argument("--generations", type=int, default=20, help="kills within the generation of a large key")
    parser.add_argument("--long-outages", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--only", default="", help="kill at the boundaries whose names begin so, as in revoke.")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**9))
    parser.add_argument("--keep", action="store_true", help="keep the folder with all logs")
    arguments = parser.parse_args()
    if not boundaries(arguments.only):
        parser.error(f"--only: no boundary begins with {arguments.only}")
    _say(f"seed {arguments.seed}: {arguments.kills} kills, {arguments.outages} outages of each dependency")
    folder = Path(tempfile.mkdtemp(prefix="clm-chaos-"))
    folder.chmod(0o711)
    broken, run = asyncio.run(
        chaos(
            folder,
            kills=arguments.kills,
            outages=arguments.outages,
            generations=arguments.generations,
            long_outages=arguments.long_outages,
            seed=arguments.seed,
            only=arguments.only,
        )
    )
    for line in broken:
        _say(f"BROKEN: {line}")
    _say("every promise held" if not broken else f"{len(broken)} findings; logs: {run.world.state.logs}")
    if not broken and not arguments.keep:
        run.world.state.delete()
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
