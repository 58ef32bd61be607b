"""Takes server-sent events apart, however their bytes were cut. What an event says is not known here."""

from __future__ import annotations

from collections.abc import Iterator

_BOM = b"\xef\xbb\xbf"


class EventStream:
    """Gives the data of each event (the lines of ``data:``, joined by a line feed) as soon as it is whole.

    Holds at most one event, of at most ``max_bytes``: in the place of a longer one stands None.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._line = bytearray()
        self._data = bytearray()
        self._has_data = False
        self._after_return = False
        self._skips_event = False
        self._first = True

    def feed(self, chunk: bytes) -> Iterator[bytes | None]:
        """Take more of the stream; give the data of the events that are whole by now."""
        if self._after_return and chunk:
            # CRLF is one end of line, also where the two come apart.
            chunk = chunk.removeprefix(b"\n")
            self._after_return = False
        for piece in chunk.splitlines(keepends=True):
            ended = piece.endswith((b"\r", b"\n"))
            self._extend(piece.rstrip(b"\r\n") if ended else piece)
            self._after_return = piece.endswith(b"\r")
            if ended:
                yield from self._end_line()

    def close(self) -> Iterator[bytes | None]:
        """Give the data of the event that the stream's end left without its empty line, if there is any."""
        if self._line:
            yield from self._end_line()
        yield from self._end_event()

    def _extend(self, piece: bytes) -> None:
        if self._skips_event:
            piece = piece[:1]
        elif len(self._line) + len(piece) + len(self._data) > self._max_bytes:
            self._skips_event = True
            self._data.clear()
            piece = piece[:1]
        self._line += piece
        if self._skips_event:
            # Of a skipped line only whether it is empty matters.
            del self._line[1:]

    def _end_line(self) -> Iterator[bytes | None]:
        line = bytes(self._line)
        self._line.clear()
        if self._first:
            self._first = False
            line = line.removeprefix(_BOM)
        if not line:
            yield from self._end_event()
        elif not self._skips_event:
            self._take(line)

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"data":
            if self._has_data:
                self._data += b"\n"
            self._has_data = True
            self._data += value.removeprefix(b" ")

    def _end_event(self) -> Iterator[bytes | None]:
        if self._skips_event:
            yield None
        elif self._data:
            yield bytes(self._data)
        self._data.clear()
        self._has_data = False
        self._skips_event = False
