"""The simulation's Redis does what the real servers do: same calls, same replies, same keys in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from servers_under_test import (
    FAKE,
    FakeServer,
    RealServer,
    ServerUnderTest,
    provider_names,
    running_server,
    server_names,
)

from gateway.store.errors import RefusedError, UnfencedError
from gateway.store.pipeline import Link

from .inprocess import InProcessServer
from .script_calls import Caller, Words

_WALKS = 4
_CALLS = 250
_READ = {
    "hash": lambda key: ("HGETALL", key),
    "zset": lambda key: ("ZRANGE", key, "0", "-1", "WITHSCORES"),
    "string": lambda key: ("GET", key),
    "stream": lambda key: ("XINFO", "STREAM", key),
}


@pytest.fixture(scope="module", params=server_names())
def other(request: pytest.FixtureRequest) -> Iterator[ServerUnderTest]:
    if request.param == FAKE:
        yield FakeServer()
        return
    provider = provider_names().get(request.param)
    if provider is None:
        pytest.skip(f"{request.param} is not installed")
    with running_server(provider) as running:
        yield RealServer(request.param, running)


async def test_every_script_does_the_same_on_it(other: ServerUnderTest) -> None:
    ours = InProcessServer()
    links = ours.link(), other.link()
    for seed in range(_WALKS):
        ours.clear()
        other.clear()
        for words in Caller(Random(seed), _shas(ours), ours.scripts["open"].text).calls(_CALLS):
            here = await _reply(links[0], words)
            there = await _reply(links[1], _for(other, ours, words))
            assert here == there, (seed, words)
        assert await _everything(links[0]) == await _everything(links[1]), seed
    await links[1].close()


async def test_plain_commands_do_the_same_on_it(other: ServerUnderTest) -> None:
    if not other.real:
        pytest.skip("fakeredis has replies of its own")
    ours = InProcessServer()
    ours.clear()
    other.clear()
    links = ours.link(), other.link()
    for words in _PLAIN:
        replies = [await _reply(link, words) for link in links]
        assert replies[0] == replies[1], words
    await links[1].close()


_PLAIN: tuple[Words, ...] = (
    ("XADD", "j", "3-*", "head", "a"),
    ("XADD", "j", "3-*", "head", "b", "body", "x"),
    ("XADD", "j", "2-*", "head", "c"),
    ("XADD", "j", "5-*", "head", "d"),
    ("XREAD", "COUNT", "2", "STREAMS", "j", "none", "2-18446744073709551615", "0-0"),
    ("XREAD", "COUNT", "9", "STREAMS", "j", "3-0"),
    ("XREAD", "COUNT", "9", "STREAMS", "j", "5-0"),
    ("XREVRANGE", "j", "+", "-", "COUNT", "1"),
    ("XREVRANGE", "none", "+", "-", "COUNT", "1"),
    ("XRANGE", "j", "(3-0", "+"),
    ("XTRIM", "j", "MINID", "5-0"),
    ("XLEN", "j"),
    ("XINFO", "STREAM", "none"),
    ("HMGET", "none", "a", "b"),
    ("HSET", "h", "a", "1", "b", "2"),
    ("HSET", "h", "a", "3", "c", "4"),
    ("HDEL", "h", "a", "b", "z"),
    ("HDEL", "h", "c"),
    ("EXISTS", "h"),
    ("ZADD", "z", "5", "m", "4000000000000", "n"),
    ("ZADD", "z", "6", "m"),
    ("ZRANGE", "z", "0", "-1", "WITHSCORES"),
    ("ZRANGE", "z", "-inf", "6", "BYSCORE", "LIMIT", "0", "1"),
    ("ZRANGE", "z", "1", "0"),
    ("ZREM", "z", "m", "q"),
    ("ZREM", "z", "n"),
    ("EXISTS", "z"),
    ("SET", "s", "v", "PX", "60000"),
    ("PERSIST", "s"),
    ("PERSIST", "s"),
    ("PTTL", "s"),
    ("PTTL", "none"),
    ("PEXPIRE", "none", "5"),
    ("PEXPIRE", "s", "0"),
    ("GET", "s"),
    ("DEL", "j", "none"),
    ("TYPE", "j"),
    ("SCRIPT", "EXISTS", "0" * 40),
    ("EVALSHA", "0" * 40, "0"),
    ("EVAL", "return {1, 'a', {2}, false, true, 3}", "0"),
    ("EVAL", "return redis.error_reply('NO such thing')", "0"),
    ("EVAL", "return redis.call('HSET', KEYS[1], 'n', 12345678901234567)", "1", "h"),
    ("HGETALL", "h"),
    ("EVAL", "redis.call('HSET', 'h', 'm', 1) return redis.call('XADD', 'x', '0-*', 'a', ARGV[1])", "0", "b"),
)


def _shas(server: InProcessServer) -> dict[str, str]:
    for script in server.scripts.values():
        asyncio.get_running_loop()
        server.link().call("SCRIPT", "LOAD", script.text)
    return {verb: script.sha for verb, script in server.scripts.items()}


def _for(other: ServerUnderTest, ours: InProcessServer, words: Words) -> Words:
    """Give a call as another server knows it: there the script goes with its text."""
    if words[0] == "EVAL":
        return ("EVAL", other.scripts["open"].text, *words[2:])
    verb = next(verb for verb, script in ours.scripts.items() if script.sha == words[1])
    return ("EVAL", other.scripts[verb].text, *words[2:])


async def _reply(link: Link, words: Words) -> Any:
    try:
        return await link.call(*words)
    except UnfencedError:
        return "NOSCRIPT"
    except RefusedError:  # each server words its errors in its own way
        return "error"


async def _everything(link: Link) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in sorted(await link.call("KEYS", "*")):
        kind = await link.call("TYPE", key)
        reply = await link.call(*_READ[kind](key))
        if kind == "hash":
            reply = dict(zip(reply[::2], reply[1::2], strict=True))
        elif kind == "stream":
            reply = dict(zip(reply[::2], reply[1::2], strict=True))["last-generated-id"]
        found[key] = reply, (await link.call("PTTL", key)) > 0
    return found
