"""A way to a server, over which tests watch or change what passes."""

import contextlib
import socket
import threading
from collections.abc import Callable

Change = Callable[[bytes], bytes | None]


class Relay:
    """Hands on what clients and the server say to each other.

    Args:
        port: the server's port on this machine
    """

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def requests(self) -> Change:
        """Returns what changes the requests on one connection; None from it ends that."""
        return bytes

    def replies(self) -> Change:
        """Returns what changes the replies on one connection; None from it ends that."""
        return bytes

    def close(self) -> None:
        """Ends all connections."""
        for each in (self._listening, *self._sockets):
            _shut(each)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            self._sockets += [near, far]
            for ends in ((near, far, self.requests()), (far, near, self.replies())):
                threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, change: Change) -> None:
        with contextlib.suppress(OSError):
            while (data := source.recv(1 << 16)) and (changed := change(data)) is not None:
                sink.sendall(changed)
        for each in (source, sink):
            _shut(each)


def _shut(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
