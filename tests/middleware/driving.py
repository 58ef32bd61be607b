"""Drives an ASGI app for one request, as a server would; the client may leave when the test says so."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from gateway.middleware.requests import App, Message


class Reply(NamedTuple):
    """What the client got; ``whole`` is whether the reply came to its end."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool


class Client:
    """One request. ``leave`` says when the client goes away; ``parts`` is the body as it arrives."""

    def __init__(self, path: str = "/", method: str = "GET", *parts: bytes, **headers: str) -> None:
        self.left = asyncio.Event()
        self.parts: list[bytes] = []
        self._status = 0
        self._headers: dict[str, str] = {}
        self._whole = False
        self._waiting: list[Message] = [
            {"type": "http.request", "body": part, "more_body": at < len(parts)}
            for at, part in enumerate(parts or (b"",), 1)
        ]
        self._scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "http",
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "root_path": "",
        }

    async def through(self, app: App) -> Reply:
        """Let the app answer."""
        await app(self._scope, self._receive, self._send)
        return self.reply

    @property
    def reply(self) -> Reply:
        """What has come by now."""
        return Reply(self._status, self._headers, b"".join(self.parts), self._whole)

    async def _receive(self) -> Message:
        if self._waiting:
            return self._waiting.pop(0)
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self.left.is_set():
            raise OSError("the client is gone")
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = {name.decode(): value.decode() for name, value in message["headers"]}
        elif message["type"] == "http.response.body":
            self.parts.append(message.get("body", b""))
            self._whole = not message.get("more_body", False)
        await asyncio.sleep(0)


async def call(app: App, *arguments: Any, **headers: str) -> Reply:
    """Send one request and wait for the whole reply."""
    return await Client(*arguments, **headers).through(app)
