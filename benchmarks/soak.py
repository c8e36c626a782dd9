"""Uses one index from several processes, injects faults all the time, and counts what goes wrong.

``make soak`` runs it for 5 minutes, ``make soak MINUTES=60`` for an hour. Writers add, overwrite
and remove documents of their own, read them back and search; a rebuilder gives the index other
types, metrics and algorithms. Meanwhile processes are killed (SIGKILL) or frozen (SIGSTOP), all
connections are cut, and the server is killed and started again. Its append-only file is written at
every command, so nothing that it acknowledged may be lost.

Every writer notes what it is about to do and what was acknowledged. At the end the index is
compared with the notes. docs/reliability.md has the figures.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import redis
from soak_notes import DIM, Notes, explain, fits, make_vector

from fiftyone_redis.engine import Schema, VectorIndex, connect
from fiftyone_redis.errors import FiftyOneRedisError
from fiftyone_redis.server.locate import find_program
from fiftyone_redis.server.program import build_command, build_environment

NAME = "soak"
WRITERS, IDS_EACH, BATCH = 3, 2000, 200
HUNG_SECONDS = 90
CHANGES: list[dict[str, Any]] = [
    {"dtype": "float16"},
    {"metric": "euclidean"},
    {"dtype": "float64"},
    {"algorithm": "HNSW"},
    {"dtype": "float32"},
    {"metric": "cosine"},
    {"dtype": "float64"},
    {"algorithm": "FLAT"},
]


class Server:
    """A real server that can be killed and come back with all that it acknowledged."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self.port}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the server; returns before it answers."""
        program = find_program()
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        options += ["--appendonly", "yes", "--appendfsync", "always"]
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*build_command(program, {}), *options],
                cwd=self._folder,
                env=build_environment(program, self._folder),
                stdout=log,
            )

    def answers(self) -> bool:
        """Returns whether the server has started."""
        try:
            with redis.Redis(port=self.port) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def kill(self) -> None:
        """Ends the server at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def cut_connections(self) -> None:
        """Ends all connections, with the replies that are on their way."""
        with contextlib.suppress(redis.RedisError), redis.Redis(port=self.port) as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def resident_bytes(self) -> int:
        """Returns the memory of the server's process."""
        return int(psutil.Process(self._process.pid).memory_info().rss) if self._process else 0


def write(url: str, path: Path, number: int, stop: Path) -> None:
    """Adds, overwrites, removes, reads and searches documents of one writer's own."""
    notes, chance = Notes(path), random.Random()
    index = open_index(url)
    ids = [f"w{number}-{row}" for row in range(IDS_EACH)]
    settle(index, notes)
    count = notes.number
    while not stop.exists():
        count += 1
        some = chance.sample(ids, chance.randint(1, BATCH))
        try:
            act(index, notes, some, count, chance)
        except FiftyOneRedisError as error:
            notes.note(error=f"{type(error).__name__}: {error}")
            time.sleep(0.2)
            with contextlib.suppress(FiftyOneRedisError):
                settle(index, notes)


def act(
    index: VectorIndex, notes: Notes, ids: list[str], count: int, chance: random.Random
) -> None:
    """Does one thing, and notes it."""
    kind = chance.choices(["add", "remove", "check", "search"], [5, 1, 3, 3])[0]
    if kind in ("add", "remove"):
        version = count if kind == "add" else None
        notes.note(begin=count, ids=ids, version=version)
        if kind == "add":
            index.add(ids, np.array([make_vector(id, count) for id in ids]))
        else:
            index.remove(ids)
        notes.note(end=count, kind=kind)
        return
    known = {id: next(iter(v)) for id in ids if len(v := notes.possible.get(id, {None})) == 1}
    wrong = check(index, known) if kind == "check" else search(index, known)
    notes.note(kind=kind, wrong=wrong)


def check(index: VectorIndex, known: dict[str, int | None]) -> list[str]:
    """Returns the documents that are not as they were acknowledged."""
    found = index.fetch(list(known))
    held = dict(zip(found.ids, found.vectors, strict=True))
    return [
        explain(id, version, held.get(id))
        for id, version in known.items()
        if not fits(id, version, held.get(id))
    ]


def search(index: VectorIndex, known: dict[str, int | None]) -> list[str]:
    """Returns the documents that a search for their own vectors does not find."""
    there = [(id, version) for id, version in known.items() if version is not None][:5]
    wrong = []
    for id, version in there:
        [hits] = index.search(make_vector(id, version)[np.newaxis], 1, within=[id])
        if hits.ids != [id]:
            wrong.append(f"search for {id} found {hits.ids}")
    if there and not index.search(make_vector(*there[0])[np.newaxis], 10)[0].ids:
        wrong.append("a search found nothing")
    return wrong


def settle(index: VectorIndex, notes: Notes) -> None:
    """Notes which of their possible versions documents have, after an error or a death."""
    unsure = {id: v for id, v in notes.possible.items() if len(v) > 1}
    if not unsure:
        return
    found = index.fetch(list(unsure))
    held = dict(zip(found.ids, found.vectors, strict=True))
    seen = {}
    for id, versions in unsure.items():
        fitting = [each for each in versions if fits(id, each, held.get(id))]
        if fitting:
            seen[id] = fitting[0]
    wrong = [f"{id} is none of {unsure[id]}" for id in unsure if id not in seen]
    notes.note(seen=seen, kind="settle", wrong=wrong)


def rebuild(url: str, path: Path, _: int, stop: Path) -> None:
    """Rebuilds the index in every way, one after the other."""
    notes = Notes(path)
    index = open_index(url)
    count = notes.number
    while not stop.exists():
        count += 1
        try:
            index.rebuild(**CHANGES[count % len(CHANGES)])
            notes.note(kind="rebuild", wrong=[])
        except FiftyOneRedisError as error:
            notes.note(error=f"{type(error).__name__}: {error}")
        time.sleep(random.uniform(0, 0.5))


def open_index(url: str) -> VectorIndex:
    """Opens the index, however long the server needs to come back."""
    while True:
        try:
            return VectorIndex.open(connect(url, retry_timeout=30), NAME)
        except FiftyOneRedisError:
            time.sleep(0.2)


class Team:
    """The processes that use the index; those that were killed are started again."""

    def __init__(self, server: Server, folder: Path) -> None:
        self._server = server
        self.stop = folder / "stop"
        jobs = [(write, folder / f"writer-{n}", n) for n in range(WRITERS)]
        self._jobs = [*jobs, (rebuild, folder / "rebuilder", 0)]
        self.paths = [path for _, path, _ in self._jobs]
        self.processes = [self._start(n) for n in range(len(self._jobs))]
        self.frozen: dict[int, float] = {}
        self.hung = 0

    def _start(self, number: int) -> BaseProcess:
        job, path, own = self._jobs[number]
        path.touch()
        process = multiprocessing.get_context("spawn").Process(
            target=job, args=(self._server.url, path, own, self.stop)
        )
        process.start()
        return process

    def kill(self, number: int) -> None:
        """Kills a process, and starts another one in its place."""
        os.kill(self.processes[number].pid or 0, signal.SIGKILL)
        self.processes[number].join()
        self.frozen.pop(number, None)
        self.processes[number] = self._start(number)

    def freeze(self, number: int, seconds: float) -> None:
        """Freezes a process."""
        os.kill(self.processes[number].pid or 0, signal.SIGSTOP)
        self.frozen[number] = time.monotonic() + seconds

    def thaw(self, everyone: bool = False) -> None:
        """Has those go on that were frozen long enough."""
        for number, until in list(self.frozen.items()):
            if everyone or time.monotonic() > until:
                os.kill(self.processes[number].pid or 0, signal.SIGCONT)
                del self.frozen[number]

    def watch(self) -> None:
        """Starts processes again that hang or have ended."""
        for number, process in enumerate(self.processes):
            silent = time.time() - self.paths[number].stat().st_mtime
            if not process.is_alive():
                raise SystemExit(f"The process {self._jobs[number][1].name} has crashed.")
            if silent > HUNG_SECONDS and number not in self.frozen:
                self.hung += 1
                self.kill(number)

    def resident_bytes(self) -> int:
        """Returns the memory of the largest process."""
        return max(int(psutil.Process(p.pid).memory_info().rss) for p in self.processes)

    def end(self) -> None:
        """Lets all processes end."""
        self.thaw(everyone=True)
        self.stop.touch()
        for process in self.processes:
            process.join(HUNG_SECONDS)
            if process.is_alive():
                self.hung += 1
                process.kill()


def disturb(server: Server, team: Team, faults: Counter[str]) -> None:
    """Injects one fault."""
    # The rebuilder is spared more often, so that most rebuilds come to their end.
    number = min(random.randrange(2 * WRITERS + 1) // 2, len(team.processes) - 1)
    fault = random.choices(["kill", "freeze", "cut", "restart"], [4, 3, 4, 1])[0]
    faults[fault] += 1
    if fault == "kill":
        team.kill(number)
    elif fault == "freeze" and number not in team.frozen:
        team.freeze(number, random.uniform(0.5, 10))
    elif fault == "cut":
        server.cut_connections()
    elif fault == "restart":
        server.kill()
        time.sleep(random.uniform(0, 1))
        server.start()


def compare(server: Server, team: Team) -> dict[str, Any]:
    """Compares the index with what was acknowledged."""
    index = open_index(server.url)
    index.rebuild(metric="euclidean")  # removes what interrupted rebuilds have left
    found = index.fetch()
    held = dict(zip(found.ids, found.vectors, strict=True))
    possible: dict[str, set[int | None]] = {}
    for path in team.paths[:WRITERS]:
        possible |= Notes(path).possible
    wrong = [id for id, v in possible.items() if not any(fits(id, e, held.get(id)) for e in v)]
    with redis.Redis(port=server.port) as client:
        fields = Counter(
            field for key in client.scan_iter(f"{NAME}:*") for field in client.hkeys(key)
        )
        names = client.execute_command("FT._LIST")
        keys = client.dbsize()
        memory = client.info("memory")["used_memory"]
    fields.pop(index.schema.vector_field.encode(), None)
    return {
        "documents": len(held),
        "lost": sum(1 for id in wrong if id not in held),
        "wrong": sum(1 for id in wrong if id in held) + len(held.keys() - possible.keys()),
        "stale fields left": sum(fields.values()),
        "other keys left": keys - len(held),
        "other indexes left": len(names) - 1,
        "server memory": f"{memory / 1e6:.0f} MB",
    }


def summarize(team: Team) -> dict[str, Any]:
    """Counts what the notes tell."""
    kinds: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    wrong = []
    for path in team.paths:
        for each in Notes(path).read():
            kinds[each.get("kind", "")] += 1
            wrong += each.get("wrong", [])
            if "error" in each:
                errors[each["error"].split(":")[0]] += 1
    del kinds[""]
    return {
        "operations": kinds.total(),
        **kinds,
        "errors that said so": dict(errors),
        "wrong answers meanwhile": len(wrong),
        "first of them": wrong[:5],
    }


def run(minutes: float, folder: Path) -> dict[str, Any]:
    """Runs everything, and returns the figures."""
    server, faults = Server(folder), Counter[str]()
    server.start()
    while not server.answers():
        time.sleep(0.05)
    VectorIndex.create(connect(server.url), Schema(NAME, DIM))
    team = Team(server, folder)
    deadline, memory = time.monotonic() + 60 * minutes, []
    try:
        while time.monotonic() < deadline:
            time.sleep(random.uniform(0.3, 2))
            team.thaw()
            disturb(server, team, faults)
            team.watch()
            memory.append((team.resident_bytes(), server.resident_bytes()))
        team.end()
        figures = {"minutes": minutes, "faults": faults.total(), **faults, **summarize(team)}
        figures |= {"hung": team.hung, **compare(server, team)}
        for name, column in zip(("client", "server"), zip(*memory, strict=True), strict=True):
            half = max(1, len(column) // 2)
            figures[f"{name} resident, most in 1st half and 2nd"] = (
                f"{max(column[:half]) / 1e6:.0f} MB, {max(column[half:]) / 1e6:.0f} MB"
            )
        return figures
    finally:
        for process in team.processes:
            process.kill()
        server.kill()


def main() -> None:
    """Runs for the minutes of the command line, and prints the figures."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        figures = run(minutes, folder)
    finally:
        if not os.environ.get("SOAK_KEEP"):
            shutil.rmtree(folder, ignore_errors=True)
    for name, value in figures.items():
        print(f"{name}: {value}")
    bad = ("lost", "wrong", "hung", "wrong answers meanwhile", "other indexes left")
    sys.exit(any(figures[name] for name in bad))


if __name__ == "__main__":
    main()
