# SPDX-License-Identifier: Apache-2.0
"""Which faults happen when: rounds of kills and pauses, and everything together for a while.

Every choice comes from the seed; when exactly it meets the replicas is up to the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import Awaitable, Callable

from tests.faults.proxy import DROP, PASS, Call, Fate
from tests.faults.replicas import Replica
from tests.faults.stage import Stage

POINTS = tuple(
    itertools.product(("finalizer", "status", "ungate"), ("arrival", "applied", "answered"))
)
RANDOM_SECONDS = 1.5
"""Within which a random moment lies."""
TRIGGER_SECONDS = 3.0
"""How long a chosen point is waited for; after that the fault happens where the replica is."""
BEYOND_LEASE = 0.4
"""How much longer than until the take-over a replica stays frozen."""


def at_point(
    point: tuple[str, str], nth: int, action: Callable[[], object]
) -> Callable[[Call], Fate]:
    """Return fates of which the one for the ``nth`` request of a kind runs ``action``."""
    what, moment = point
    seen = itertools.count(1)

    def fate(call: Call) -> Fate:
        if call.what != what or next(seen) != nth:
            return PASS
        match moment:
            case "arrival":
                return Fate(on_arrival=action)
            case "applied":
                return Fate(on_applied=action)
            case _:
                return Fate(on_answered=action)

    return fate


async def strike(
    stage: Stage, rng: random.Random, replica: Replica, action: Callable[[], object]
) -> str:
    """Have ``action`` happen to a replica at a chosen point, or at a random moment."""
    struck = asyncio.Event()

    def act() -> None:
        if not struck.is_set():
            action()
            struck.set()

    point = rng.choice((None, *POINTS))
    if point is None:
        await asyncio.sleep(rng.uniform(0, RANDOM_SECONDS))
        act()
        return "at a random moment"
    replica.proxy.fate = at_point(point, rng.randint(1, 8), act)
    reached = True
    try:
        await asyncio.wait_for(struck.wait(), TRIGGER_SECONDS)
    except TimeoutError:
        reached = False
    act()
    replica.proxy.fate = lambda _: PASS
    return f"{point[0]} {point[1]}" if reached else "before the chosen point was reached"


async def kill_round(stage: Stage, rng: random.Random, leader: Replica) -> Replica:
    """Kill the leader somewhere, start another replica in its place; return who leads then."""
    where = await strike(stage, rng, leader, leader.kill)
    stage.count(f"kill -9, {where}")
    killed = leader.identity
    await leader.ended()
    # Beside the next rounds: with a third replica, another one is ready to take over.
    stage.start_beside(leader)
    return await stage.leader(other_than=killed)


async def pause_round(stage: Stage, rng: random.Random, leader: Replica) -> Replica:
    """Freeze the leader until another one has taken over and written, then let it go on."""
    where = await strike(stage, rng, leader, leader.freeze)
    stage.count(f"SIGSTOP, {where}")
    try:
        following = await stage.leader(other_than=leader.identity)
        await asyncio.sleep(rng.uniform(0, BEYOND_LEASE))
    finally:
        leader.thaw()
    # What it had in hand when it was frozen would come now.
    await asyncio.sleep(0.3)
    if not leader.running:
        await leader.start(stage.token)
    return following


async def rounds(
    stage: Stage,
    kind: Callable[[Stage, random.Random, Replica], Awaitable[Replica]],
    count: int,
    say: Callable[[str], None],
) -> list[float]:
    """Run ``count`` rounds; return how many seconds each took."""
    leader = await stage.leader()
    took = []
    for number in range(count):
        began = time.monotonic()
        rng = stage.random(f"{kind.__name__} {number}")
        leader = await kind(stage, rng, leader)
        took.append(time.monotonic() - began)
        if (number + 1) % 20 == 0:
            say(f"{number + 1} of {count} rounds, {sum(took) / len(took):.1f} s each")
    await stage.all_started()
    return took


# --- everything together


def noise(rng: random.Random, stage: Stage) -> Callable[[Call], Fate]:
    """Return fates that now and then delay, refuse or lose a request, at random."""

    def fate(call: Call) -> Fate:
        if call.what == "watch":
            return PASS
        dice = rng.random()
        delay = rng.uniform(0, 0.2) if rng.random() < 0.1 else 0.0
        if dice < 0.02:
            stage.count("request dropped before it took effect")
            return Fate(delay, instead=DROP)
        if dice < 0.04:
            stage.count("request dropped after it took effect")
            return Fate(delay, afterwards=DROP)
        if dice < 0.06:
            code = rng.choice((409, 429, 500, 503) if call.write else (429, 500, 503))
            stage.count(f"answered {code}")
            return Fate(delay, instead=code)
        if dice < 0.07 and call.write:
            code = rng.choice((409, 500, 503))
            stage.count(f"answered {code} after it took effect")
            return Fate(delay, afterwards=code)
        if delay:
            stage.count("request delayed")
        return Fate(delay)

    return fate


async def _kill(stage: Stage, rng: random.Random) -> None:
    victim = rng.choice(stage.replicas)
    stage.count("kill -9")
    await stage.restart(victim)


async def _pause(stage: Stage, rng: random.Random) -> None:
    victim = await _leader_or_any(stage, rng)
    stage.count("SIGSTOP")
    victim.freeze()
    await asyncio.sleep(rng.uniform(0.5, 4))
    victim.thaw()


async def _partition(stage: Stage, rng: random.Random) -> None:
    victim = await _leader_or_any(stage, rng)
    stage.count("partition")
    victim.proxy.partition()
    await asyncio.sleep(rng.uniform(0.5, 4))
    victim.proxy.heal()


async def _close_watches(stage: Stage, rng: random.Random) -> None:
    stage.count("watches closed")
    rng.choice(stage.replicas).proxy.close_watches()


async def _expire_watches(stage: Stage, rng: random.Random) -> None:
    stage.count("watches ended with 410")
    await rng.choice(stage.replicas).proxy.expire_watches(
        rng.choice(("", "resourceclaims", "pods"))
    )


async def _withhold(stage: Stage, rng: random.Random) -> None:
    victim = await _leader_or_any(stage, rng)
    stage.count("a watch withheld")
    victim.proxy.withhold(rng.choice(("resourceclaims", "pods", "resourceslices", "nodes")))
    await asyncio.sleep(rng.uniform(0.5, 3))
    victim.proxy.heal()


async def _clock(stage: Stage, rng: random.Random) -> None:
    stage.count("clock step")
    step = rng.choice((-3600, -30, 30, 3600))
    rng.choice(stage.replicas).clock_file.write_text(str(step))


async def _slice(stage: Stage, rng: random.Random) -> None:
    stage.count("slice gone and back")
    await stage.world.remove_slice(rng)
    await asyncio.sleep(rng.uniform(0.2, 1.5))
    await stage.world.restore()


async def _generation(stage: Stage, rng: random.Random) -> None:
    stage.count("half a generation of slices")
    await stage.world.half_a_generation(rng)
    await asyncio.sleep(rng.uniform(0.2, 1.5))
    await stage.world.restore()


async def _node(stage: Stage, rng: random.Random) -> None:
    stage.count("node gone and back")
    await stage.world.remove_node(rng)
    await asyncio.sleep(rng.uniform(0.2, 2))
    await stage.world.restore()


async def _scheduler(stage: Stage, rng: random.Random) -> None:
    stage.count("kube-scheduler restarted")
    stage.world.restart_scheduler()


async def _hostile(stage: Stage, rng: random.Random) -> None:
    stage.count("hostile writer for a while")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(rng.uniform(0.5, 2)):
            await stage.hostile.run()
    await stage.hostile.remove()


async def _leader_or_any(stage: Stage, rng: random.Random) -> Replica:
    holder = await stage.holder()
    leading = [each for each in stage.replicas if each.identity == holder]
    return leading[0] if leading and rng.random() < 0.8 else rng.choice(stage.replicas)


EPISODES = (
    _kill,
    _pause,
    _partition,
    _close_watches,
    _expire_watches,
    _withhold,
    _clock,
    _slice,
    _generation,
    _node,
    _scheduler,
    _hostile,
)


async def mixed(stage: Stage, seconds: float, say: Callable[[str], None]) -> int:
    """Let everything happen at once for a while; return how many episodes there were."""
    for number, each in enumerate(stage.replicas):
        each.proxy.fate = noise(stage.random(f"noise {number}"), stage)
    rng = stage.random("mixed")
    episodes = 0
    deadline = time.monotonic() + seconds
    said = time.monotonic()
    # Each kind in turn, in an order of the seed's: a short run has seen all of them too.
    waiting: list[Callable[[Stage, random.Random], Awaitable[None]]] = []
    while time.monotonic() < deadline:
        if not waiting:
            waiting = list(EPISODES)
            rng.shuffle(waiting)
        await waiting.pop()(stage, rng)
        episodes += 1
        for each in stage.replicas:
            if not each.running:
                await each.start(stage.token)
        if time.monotonic() - said > 60:
            said = time.monotonic()
            say(f"{episodes} episodes, {deadline - said:.0f} s left")
        await asyncio.sleep(rng.uniform(0, 0.5))
    return episodes


async def hostile(stage: Stage, seconds: float) -> None:
    """Let the hostile writer take devices all the time; nothing else goes wrong."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stage.hostile.run()
    stage.faults["device taken by the hostile writer"] = stage.hostile.taken
