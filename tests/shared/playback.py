"""Servers of the tests that play back what real Redis servers were recorded to say.

A recording is a JSON file of replies, each with the state the server was in, the protocol and the
command. Raw replies are kept as text, one character per byte (latin-1).
"""

import contextlib
import json
import socket
import threading
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ports import find_unused_port

WELL = "as it should be"
MIGRATING = "one slot is migrating"
KILLED = "a primary and its replica were killed this moment"
GONE = "a primary and its replica are gone for 8 s"

# Commands about the index that was recorded, and replies that a test may want to give.
SEARCH = ["FT.SEARCH", "a", "*", "NOCONTENT", "LIMIT", 0, 10]
COUNT = ["FT.AGGREGATE", "a", "*", "GROUPBY", "0", "REDUCE", "COUNT", "0"]
EMPTY = (
    b"%5\r\n+attributes\r\n*0\r\n+warning\r\n*0\r\n+total_results\r\n:0\r\n+format\r\n+STRING\r\n"
    b"+results\r\n*0\r\n"
)
FULL_PAGE = b"*2\r\n%b:7\r\n" % EMPTY
LAST_PAGE = b"*2\r\n%b:0\r\n" % EMPTY

_BY_NAME = ("FT.SEARCH", "FT.AGGREGATE", "FT.INFO", "FT.CREATE", "HMGET")
_BUILT_IN = {
    ("CLIENT", "ID"): b":1\r\n",
    ("CLIENT",): b"+OK\r\n",
    ("PING",): b"+PONG\r\n",
    ("COMMAND",): b"*0\r\n",
    ("READONLY",): b"+OK\r\n",
    ("SELECT", "0"): b"+OK\r\n",
}

Words = list[str]


class Playback:
    """A server that answers as a recorded one did, on a free port of this machine.

    Args:
        recording: the recording's path
        state: the state whose replies are given; those of ``WELL`` where it has none
        rewrite: turns a recorded reply to a command into the one that is given

    Attributes:
        state: can be changed at any time
        counts: how often each command came, by its first word
    """

    def __init__(
        self,
        recording: Path,
        state: str = WELL,
        rewrite: Callable[[Words, bytes], bytes] | None = None,
    ) -> None:
        self.state = state
        self.counts: Counter[str] = Counter()
        self.port = find_unused_port()
        self._replies = [
            (each["state"], each["resp"], each["command"], each["reply"].encode("latin-1"))
            for each in json.loads(recording.read_text())["replies"]
        ]
        self._rewrite = rewrite or (lambda words, reply: reply)
        self._answers: list[tuple[Callable[[Words], bool], deque[bytes]]] = []
        self._unrecorded: list[tuple[Callable[[Words], bool], bytes]] = []
        self._changes: list[Callable[[Words, bytes], bytes]] = []
        self._hanging: set[str] = set()
        self._resumed = threading.Event()
        self._sockets: set[socket.socket] = set()
        self.restart()

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.die()

    @property
    def is_alive(self) -> bool:
        return self._listening is not None

    def answer(self, matches: Callable[[Words], bool], *replies: bytes) -> None:
        """Gives certain commands other replies than the recorded: one after the other, then the
        last of them again and again. What was said last goes first.
        """
        self._answers.insert(0, (matches, deque(replies)))

    def answer_unrecorded(self, matches: Callable[[Words], bool], reply: bytes) -> None:
        """Gives certain commands a reply in those states in which none was recorded."""
        self._unrecorded.append((matches, reply))

    def alter(self, change: Callable[[Words, bytes], bytes]) -> None:
        """Has recorded replies changed, given the command and the reply."""
        self._changes.append(change)

    def hang(self, *commands: str) -> None:
        """Leaves commands without an answer, by their first word; all of them if none is named."""
        self._resumed.clear()
        self._hanging = set(commands) or {"*"}

    def go_on(self) -> None:
        """Answers again, those included that wait."""
        self._hanging = set()
        self._resumed.set()

    def die(self) -> None:
        """Ends all connections and takes none, as a killed server."""
        listening, self._listening = self._listening, None
        for each in [*([listening] if listening else []), *self._sockets]:
            _shut(each)
        self._sockets.clear()
        self.go_on()

    def restart(self) -> None:
        """Takes connections, on the port that it always had."""
        self._listening = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                near, _ = listening.accept()
            except OSError:
                return
            self._sockets.add(near)
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        protocol = 2
        with contextlib.suppress(OSError, ValueError), near.makefile("rb") as requests:
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while (words := _read(requests)) is not None:
                self.counts[words[0].upper()] += 1
                if {"*", words[0].upper()} & self._hanging:
                    self._resumed.wait()
                if words[0].upper() == "HELLO" and len(words) > 1:
                    protocol, words = int(words[1]), words[:2]
                near.sendall(self._reply(words, protocol))
        self._sockets.discard(near)
        _shut(near)

    def _reply(self, words: Words, protocol: int) -> bytes:
        for matches, replies in self._answers:
            if matches(words):
                return replies.popleft() if len(replies) > 1 else replies[0]
        if words == ["HELLO"]:
            words = ["HELLO", str(protocol)]
        for start, reply in _BUILT_IN.items():
            if tuple(word.upper() for word in words[: len(start)]) == start:
                return reply
        for state in (self.state, WELL):
            reply = self._recorded(words, protocol, state)
            if reply is not None:
                reply = self._rewrite(words, reply)
                for change in self._changes:
                    reply = change(words, reply)
                return reply
        refusal = f"-ERR not recorded: {' '.join(words)[:80]!r}\r\n".encode()
        return next((reply for matches, reply in self._unrecorded if matches(words)), refusal)

    def _recorded(self, words: Words, protocol: int, state: str) -> bytes | None:
        """Returns the reply to the command that is most like this one."""
        close = [
            (command, reply)
            for its_state, resp, command, reply in self._replies
            if its_state == state and resp == protocol and _is_like(command, words)
        ]
        if not close:
            return None
        return max(close, key=lambda each: _likeness(each, words))[1]


class PlaybackCluster:
    """The primaries of a recorded cluster, each on a port of its own.

    Args:
        recording: the recording's path

    Attributes:
        nodes: the primaries, in the order of the ports that they had
    """

    def __init__(self, recording: Path) -> None:
        self._nodes_of = {
            each["state"]: each["reply"].partition("\r\n")[2].removeprefix("txt:")
            for each in json.loads(recording.read_text())["replies"]
            if each["command"] == ["CLUSTER", "NODES"]
        }
        lines = [line.split() for line in self._nodes_of[WELL].split("\n") if line.strip()]
        ports = {_port(line): line for line in lines}
        self._ids = sorted((port, line[0]) for port, line in ports.items() if "master" in line[2])
        self.nodes = [
            Playback(recording, rewrite=partial(self._rewritten, id)) for _, id in self._ids
        ]
        self._ports = {port: find_unused_port() for port in ports}
        self._ports |= {
            port: node.port for (port, _), node in zip(self._ids, self.nodes, strict=True)
        }
        self._state = WELL

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            node.die()

    @property
    def state(self) -> str:
        return self._state

    @state.setter
    def state(self, state: str) -> None:
        """Has all nodes answer as they did in a state; who was dead then is dead now."""
        self._state = state
        for node, line in zip(self.nodes, self._lines(state), strict=True):
            node.state = state
            is_dead = "fail" in line[2] or line[7] == "disconnected"
            if is_dead and node.is_alive:
                node.die()
            elif not is_dead and not node.is_alive:
                node.restart()

    def dead(self) -> list[Playback]:
        return [node for node in self.nodes if not node.is_alive]

    def slots(self, node: Playback) -> list[str]:
        """Returns the slots that a node holds, as CLUSTER NODES writes them."""
        return self._lines(WELL)[self.nodes.index(node)][8:]

    def answer(self, matches: Callable[[Words], bool], *replies: bytes) -> None:
        for node in self.nodes:
            node.answer(matches, *replies)

    def answer_unrecorded(self, matches: Callable[[Words], bool], reply: bytes) -> None:
        for node in self.nodes:
            node.answer_unrecorded(matches, reply)

    def _lines(self, state: str) -> list[list[str]]:
        lines = [line.split() for line in self._nodes_of[state].split("\n") if line.strip()]
        return [next(line for line in lines if line[0] == id) for _, id in self._ids]

    def _rewritten(self, id: str, words: Words, reply: bytes) -> bytes:
        if words[0] not in ("CLUSTER", "SEARCH.CLUSTERINFO") and not reply.startswith(b"-MOVED"):
            return reply
        for old, new in self._ports.items():
            reply = reply.replace(b":%d\r\n" % old, b":%d\r\n" % new)
            reply = reply.replace(b":%d@" % old, b":%d@" % new)
        return _as_node(reply, id) if words == ["CLUSTER", "NODES"] else reply


def once(name: str, work: Callable[[], object]) -> Callable[[Words], bool]:
    """Does something when a command comes for the first time, before it is answered.

    It is to be given to ``answer``, without replies.
    """
    left = [work]

    def matches(words: Words) -> bool:
        if words[0] == name and left:
            left.pop()()
        return False

    return matches


def later(seconds: float, work: Callable[[], None]) -> None:
    """Does something in a while."""
    threading.Timer(seconds, work).start()


def bulk(text: str) -> bytes:
    """Returns text as a reply."""
    raw = text.encode("latin-1")
    return b"$%d\r\n%b\r\n" % (len(raw), raw)


def _as_node(reply: bytes, id: str) -> bytes:
    """Rewrites a reply to CLUSTER NODES to be that of a certain node.

    Only the node that gave it told of slots on the move.
    """
    text = reply.partition(b"\r\n")[2].decode("latin-1").removesuffix("\r\n")
    lines = []
    for line in text.removeprefix("txt:").splitlines():
        words = line.replace("myself,", "").split()
        if words[0] == id:
            words[2] = "myself," + words[2]
        else:
            words = [word for word in words if "[" not in word]
        lines.append(" ".join(words))
    text = "\n".join([*lines, ""])
    return (
        bulk(text)
        if reply.startswith(b"$")
        else b"=%d\r\ntxt:%b\r\n"
        % (
            len(text) + 4,
            text.encode(),
        )
    )


def _port(line: Words) -> int:
    return int(line[1].partition("@")[0].rpartition(":")[2])


def _is_like(command: Words, words: Words) -> bool:
    if command == words:
        return True
    name = words[0].upper()
    return name in _BY_NAME and command[0] == name and command[1:2] == words[1:2]


def _likeness(recorded: tuple[Words, bytes], words: Words) -> tuple[bool, bool, int]:
    """Returns how well a recorded command fits another one, whose like is not refused."""
    command, reply = recorded
    shared = len(set(command) & set(words))
    return command == words, not reply.startswith(b"-"), 2 * shared - len(command)


def _read(requests) -> Words | None:
    """Reads a request; None at the end of the connection."""
    head = requests.readline()
    if not head:
        return None
    words = []
    for _ in range(int(head[1:])):
        length = int(requests.readline()[1:])
        words.append(requests.read(length + 2)[:-2].decode("latin-1"))
    return words


def _shut(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
