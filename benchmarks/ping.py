"""How long another client of a Redis waits for the reply to PING.

Command: ``python ping.py PORT``; it pings until its input ends, and then prints the number of pings
and the median, the 99th percentile and the longest wait in milliseconds. A process of its own, as
whatever is measured beside it would keep a thread waiting.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import bare
import numpy as np

_EVERY = 0.002


@contextmanager
def beside(port: int) -> Iterator[dict[str, Any]]:
    """Pings while the block runs; the figures are there when it is left."""
    command = [sys.executable, __file__, str(port)]
    figures: dict[str, Any] = {}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        pings: Any = process.stdout
        pings.readline()  # it has begun
        yield figures
        figures |= json.loads(process.communicate("")[0])


def main() -> None:
    """Pings until the input ends."""
    client, waits = bare.client(int(sys.argv[1])), [0.0]
    client.ping()
    ended = threading.Event()
    threading.Thread(target=_wait_for_end, args=[ended], daemon=True).start()
    print("begun", flush=True)
    while not ended.wait(_EVERY):
        start = time.perf_counter()
        client.ping()
        waits.append(1e3 * (time.perf_counter() - start))
    middle, late, worst = np.percentile(waits, [50, 99, 100])
    print(json.dumps({"pings": len(waits), "median": middle, "p99": late, "worst": worst}))


def _wait_for_end(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


if __name__ == "__main__":
    main()
