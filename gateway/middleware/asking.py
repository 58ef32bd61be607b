"""Asks OpenAI's streams for their usage, where the caller did not. Nothing else of a request is changed."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.middleware.requests import App, Message, Receive, Request, Scope, Send

_read = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_plain = msgspec.json.decode
_write = msgspec.json.encode


class AskUsage:
    """Sets ``stream_options.include_usage`` in streamed completions; the stream then ends in one more chunk.

    Args:
        app: the ASGI app behind it.
        max_body_bytes: the longest body that is looked into.
    """

    def __init__(self, app: App, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Raises BodyTooLargeError, ClientLeftError."""
        if scope["type"] != "http" or scope["method"] != "POST" or not is_completion(scope["path"]):
            return await self._app(scope, receive, send)
        request = Request(scope, receive, self._max_body_bytes)
        changed = asking(await request.body())
        if changed is None:
            return await self._app(scope, request.receive, send)
        body: list[Message] = [{"type": "http.request", "body": changed, "more_body": False}]

        async def from_here() -> Message:
            return body.pop() if body else await receive()

        return await self._app(
            {**scope, "headers": _of_length(scope["headers"], len(changed))}, from_here, send
        )


def asking(body: bytes) -> bytes | None:
    """Give the body with the wish in it; None where it is there, or has no place."""
    try:
        fields = _read(body)
        if _plain(fields.get("stream", msgspec.Raw(b"false"))) is not True:
            return None
        options = _plain(fields.get("stream_options", msgspec.Raw(b"null"))) or {}
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if not isinstance(options, dict) or options.get("include_usage"):
        return None
    fields["stream_options"] = msgspec.Raw(_write({**options, "include_usage": True}))
    return _write(fields)


def is_completion(path: str) -> bool:
    """Whether a path is that of completions, the only streams that have to be asked."""
    return path.lower().rstrip("/").endswith("/completions")


def _of_length(headers: Any, length: int) -> list[tuple[bytes, bytes]]:
    kept = [
        (name, value)
        for name, value in headers
        if name.lower() not in {b"content-length", b"transfer-encoding"}
    ]
    return [*kept, (b"content-length", str(length).encode())]
