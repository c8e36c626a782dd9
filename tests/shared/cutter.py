"""A connection that loses replies when a test wants it to."""

import contextlib
import socket
import threading


class Cutter:
    """A way to a server that can be cut when a reply comes along it, so that the reply is lost."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._cuts = 0
        self._awaited = b""
        self.port = self._listening.getsockname()[1]
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_next_reply(self) -> None:
        self._cuts = 1

    def cut_reply_to(self, request: bytes) -> None:
        """Cuts when the reply comes to the next request that has these bytes."""
        self._awaited = request

    @property
    def is_done(self) -> bool:
        return not self._cuts and not self._awaited

    def close(self) -> None:
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
            for ends in ((near, far, False), (far, near, True)):
                threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, replies: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if replies and self._cuts:
                    self._cuts = 0
                    break
                if not replies and self._awaited and self._awaited in data:
                    self._awaited, self._cuts = b"", 1
                sink.sendall(data)
        for each in (source, sink):
            _shut(each)


def _shut(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
