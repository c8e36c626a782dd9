"""Waits for something to be so, and does something in the background meanwhile."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event, Timer
from typing import TypeVar

T = TypeVar("T")

SECONDS = 20.0


def wait_until(is_so: Callable[[], bool]) -> None:
    """Waits until something is so."""
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "It did not come to be."
        time.sleep(0.01)


@contextmanager
def repeat_meanwhile(ask: Callable[[], T]) -> Iterator[list[T]]:
    """Asks again and again in another thread; yields the list that the answers are added to."""
    stop, answers = Event(), []

    def repeat() -> None:
        while not stop.is_set():
            answers.append(ask())

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(repeat)
        try:
            yield answers
        finally:
            stop.set()
        asking.result(SECONDS)


@contextmanager
def do_later(seconds: float, *actions: Callable[[], object]) -> Iterator[None]:
    """Does something in the background after a while."""
    timers = [Timer(seconds, action) for action in actions]
    for timer in timers:
        timer.start()
    try:
        yield
    finally:
        for timer in timers:
            timer.join()
