"""Takes the time and the memory of things, several times over."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from os import getpid
from typing import Any

_REST = 0.5
_STEP = 0.02


def repeat(
    action: Callable[[int], object],
    *,
    runs: int,
    limit: float,
    prepare: Callable[[], object] | None = None,
) -> list[float]:
    """Takes the time of an action several times.

    Args:
        action: what is timed; it is given the number of the run
        runs: how many times
        limit: seconds after which no further run begins
        prepare: what has to be done before each run, not timed

    Returns:
        the seconds of each run, at least one
    """
    seconds: list[float] = []
    begun = time.perf_counter()
    for run in range(runs):
        if prepare is not None:
            prepare()
        start = time.perf_counter()
        action(run)
        seconds.append(time.perf_counter() - start)
        if time.perf_counter() - begun > limit:
            break
    return seconds


def in_turn(
    one: Callable[[int], object], other: Callable[[int], object], *, rounds: int, each: int
) -> tuple[list[float], list[float], list[float]]:
    """Compares two short actions that are run in turn, so that both meet the same machine.

    Args:
        one: the first action; it is given the number of the run
        other: the second
        rounds: how many figures to return
        each: how often each action is run for one figure

    Returns:
        for each round the median of the first action's seconds, of the second's, and of how much
        longer the first one took
    """
    ones, others, differences = [], [], []
    for round_ in range(rounds):
        pairs = [_pair(one, other, round_ * each + turn) for turn in range(each)]
        ones.append(statistics.median(a for a, _ in pairs))
        others.append(statistics.median(b for _, b in pairs))
        differences.append(statistics.median(a - b for a, b in pairs))
    return ones, others, differences


def compact(client: Any) -> None:
    """Has a Redis server write its file anew, and waits for it.

    Otherwise the server does so at some moment, on a core that the work under way needs: with that,
    rates differed by a factor of two from run to run.
    """
    _wait_for_rewrite(client)
    client.bgrewriteaof()
    _wait_for_rewrite(client)


def server_memory(client: Any) -> int:
    """Returns the bytes of memory that a Redis server uses, once it has come to rest."""
    time.sleep(_REST)
    return int(client.info("memory")["used_memory"])


def resident() -> int:
    """Returns the bytes of memory that this process holds now."""
    line = subprocess.run(
        ["ps", "-o", "rss=", "-p", str(getpid())], capture_output=True, text=True, check=True
    ).stdout
    return int(line) * 1024


def peak() -> int:
    """Returns the most bytes of memory that this process ever held."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _wait_for_rewrite(client: Any) -> None:
    while True:
        facts = client.info("persistence")
        if not facts["aof_rewrite_in_progress"] and not facts["aof_rewrite_scheduled"]:
            return
        time.sleep(_STEP)


def _pair(
    one: Callable[[int], object], other: Callable[[int], object], turn: int
) -> tuple[float, float]:
    """Runs both, the second one first every other time: what is first warms the server's caches."""
    if turn % 2:
        late = _seconds(other, turn)
        return _seconds(one, turn), late
    early = _seconds(one, turn)
    return early, _seconds(other, turn)


def _seconds(action: Callable[[int], object], turn: int) -> float:
    start = time.perf_counter()
    action(turn)
    return time.perf_counter() - start
