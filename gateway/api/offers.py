"""What becomes of an offer to speak something else than HTTP/1.1: nothing. No request is served here.

Many a client offers HTTP/2 with its first request, and sends that request whole all the same (RFC 9110, 7.8).
The parser believes the offer: it stops at the end of the head, and would take the body for the next request.
"""

from __future__ import annotations

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_CONNECT = b"CONNECT"
_NO_HTTP = "Invalid HTTP request received."


class PlainProtocol(HttpToolsProtocol):
    """One connection that speaks HTTP/1.1 to its end, whatever else its client offers."""

    def data_received(self, data: bytes) -> None:
        """Take a piece of a request, or of several."""
        self._unset_keepalive_if_required()
        try:
            self._parse(data)
        except HttpParserError:
            self.logger.warning(_NO_HTTP)
            self.send_400_response(_NO_HTTP)

    def on_headers_complete(self) -> None:
        """Begin to serve the request, unless its head is to be read again."""
        if not self.parser.should_upgrade():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Take note that the request is here whole, unless only its head is."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _parse(self, data: bytes | memoryview) -> None:
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as offer:
            rest: memoryview | None = memoryview(data)[offer.args[0] :]
            while rest is not None:
                rest = self._parsed_without_offer(rest)

    def _parsed_without_offer(self, rest: memoryview) -> memoryview | None:
        """Read the last head again without its offer, and on to the next offer; give what follows that."""
        method = self.parser.get_method()
        if method == _CONNECT:  # which is nothing but an offer
            raise HttpParserError(_CONNECT)
        target = b"%b %b HTTP/%b" % (method, self.url, self.parser.get_http_version().encode())
        headers = (b"%b: %b" % header for header in self.headers if header[0] != b"upgrade")
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
        self.parser.feed_data(b"\r\n".join((target, *headers, b"", b"")))
        try:
            self.parser.feed_data(rest)
        except HttpParserUpgrade as offer:
            return rest[offer.args[0] :]
        return None
