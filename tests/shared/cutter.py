"""A connection that loses replies when a test wants it to."""

from relay import Change, Relay


class Cutter(Relay):
    """A way to a server that can be cut when a reply comes along it, so that the reply is lost."""

    def __init__(self, port: int) -> None:
        self._cuts = 0
        self._awaited = b""
        super().__init__(port)

    def cut_next_reply(self) -> None:
        self._cuts = 1

    def cut_reply_to(self, request: bytes) -> None:
        """Cuts when the reply comes to the next request that has these bytes."""
        self._awaited = request

    @property
    def is_done(self) -> bool:
        return not self._cuts and not self._awaited

    def requests(self) -> Change:
        return self._request

    def replies(self) -> Change:
        return self._reply

    def _request(self, data: bytes) -> bytes:
        if self._awaited and self._awaited in data:
            self._awaited, self._cuts = b"", 1
        return data

    def _reply(self, data: bytes) -> bytes | None:
        if self._cuts:
            self._cuts = 0
            return None
        return data
