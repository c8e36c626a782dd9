"""Processes that are forked, and may be killed or frozen before one of the requests they send."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.process import BaseProcess

import psutil
from redis.connection import AbstractConnection
from waiting import wait_until

from fiftyone_redis.engine import VectorIndex, connect
from fiftyone_redis.engine.lifecycle import lease
from fiftyone_redis.errors import FiftyOneRedisError

Work = Callable[[VectorIndex], object]

SECONDS = 60
EXPIRY = 0.4
"""Seconds after which the lease of a child expires that is killed or frozen."""

FAILED = 3
"""The exit code of a child whose work ended with an error of this package."""


@contextmanager
def forked(
    target: Callable[..., object], arguments: Sequence[tuple[object, ...]]
) -> Iterator[list[BaseProcess]]:
    """Forks a process for each tuple of arguments; none of them outlives the ``with`` block."""
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=target, args=each) for each in arguments]
    for child in children:
        child.start()
    try:
        yield children
    finally:
        for child in children:
            child.kill()
            child.join()


def join(children: Sequence[BaseProcess]) -> list[int | None]:
    """Waits until processes have ended; returns their exit codes."""
    for child in children:
        child.join(SECONDS)
    return [child.exitcode for child in children]


def start(
    url: str, work: Work, requests: int, signal_number: int, expiry: float = EXPIRY
) -> AbstractContextManager[list[BaseProcess]]:
    """Starts a child that works on the index "docs", and sends itself a signal meanwhile.

    Args:
        url: the server
        work: what the child does with the index
        requests: how many requests it sends before the signal
        signal_number: SIGKILL, or SIGSTOP
        expiry: the seconds after which its lease expires
    """
    return forked(_work, [(url, work, requests, signal_number, expiry)])


def was_killed(url: str, work: Work, requests: int, expiry: float = EXPIRY) -> bool:
    """Runs a child that is killed before one request too many; returns whether it was."""
    with start(url, work, requests, signal.SIGKILL, expiry) as children:
        [code] = join(children)
    assert code in (0, -signal.SIGKILL)
    return code != 0


def is_frozen(child: BaseProcess) -> bool:
    """Waits until a child is frozen or has ended; returns whether it is frozen."""
    process = psutil.Process(child.pid)
    ends = (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    wait_until(lambda: process.status() in ends)
    return process.status() == psutil.STATUS_STOPPED


def thaw(child: BaseProcess) -> bool:
    """Has a frozen child go on to its end; returns whether its work succeeded."""
    os.kill(child.pid, signal.SIGCONT)
    child.join(SECONDS)
    assert child.exitcode in (0, FAILED)
    return child.exitcode == 0


def _work(url: str, work: Work, requests: int, signal_number: int, expiry: float) -> None:
    lease.EXPIRY, lease._RENEWAL = expiry, expiry / 8
    index = VectorIndex.open(connect(url), "docs")
    send = AbstractConnection.send_packed_command
    left = [requests]

    def send_or_die(connection, *arguments, **options):
        if threading.current_thread() is threading.main_thread():
            left[0] -= 1
            if left[0] == -1:
                os.kill(os.getpid(), signal_number)
                time.sleep(0.01)  # a process may go on for a moment
        return send(connection, *arguments, **options)

    AbstractConnection.send_packed_command = send_or_die
    try:
        work(index)
    except FiftyOneRedisError:
        sys.exit(FAILED)
