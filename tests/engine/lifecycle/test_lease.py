"""A lease ends with its owner, whatever interrupts the owner."""

import threading

import pytest

from fiftyone_redis.engine.lifecycle import lease
from fiftyone_redis.engine.protocol import commands


class InterruptedThread(threading.Thread):
    """A thread that runs, but whose start is interrupted."""

    def start(self):
        super().start()
        raise KeyboardInterrupt


class UnstartedThread(threading.Thread):
    """A thread that is interrupted before it starts."""

    def start(self):
        raise KeyboardInterrupt


@pytest.mark.parametrize("kind", [InterruptedThread, UnstartedThread])
def test_no_thread_renews_a_lease_whose_taking_was_interrupted(client, monkeypatch, kind):
    before = threading.active_count()
    with monkeypatch.context() as patch:
        patch.setattr(lease.threading, "Thread", kind)
        with pytest.raises(KeyboardInterrupt), lease.hold(client, "birds"):
            pass
    assert threading.active_count() == before
    left = client.pttl(commands.lease_key("birds"))  # negative if there is none
    assert left == -2 or 0 <= left <= 1000 * lease.EXPIRY
