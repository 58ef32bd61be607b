"""Heads that are known again: each means what the parser would say, and nothing else is taken for one."""

from __future__ import annotations

from typing import Any

import pytest
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.heads import Known, KnownHeads, header_lines

LINES = (b"Host: gateway", b"X-Namespace: acme", b"Content-Type: application/json", b"X-Odd:  \t spaced ")
BODY = b'{"user_id":"alice"}'
TARGET = b"/v1/reservations"


def request_of(
    body: bytes = BODY,
    *lines: bytes,
    start: bytes = b"POST /v1/reservations HTTP/1.1",
    length: int | None = None,
) -> bytes:
    declared = b"Content-Length: %d" % (len(body) if length is None else length)
    return b"\r\n".join((start, *(lines or LINES), declared, b"", body))


class Parsed:
    """What the parser says of one request."""

    def __init__(self, data: bytes) -> None:
        self.target = self.body = b""
        self.pairs: list[tuple[bytes, bytes]] = []
        self.requests = 0
        self.parser = HttpRequestParser(self)
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.pairs.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.requests += 1


def learnt(*requests: bytes, times: int = 2) -> KnownHeads:
    heads = KnownHeads()
    for data in requests * times:
        teach(heads, data)
    return heads


def teach(heads: KnownHeads, data: bytes) -> None:
    """Have a request learnt, as a connection does that has served it."""
    parsed = Parsed(data)
    if lines := header_lines(data, parsed.target, parsed.body):
        heads.learn(lines, dict(parsed.pairs), parsed.pairs, len(parsed.body))


def check(known: Known | None, data: bytes) -> None:
    parsed = Parsed(data)
    assert known is not None
    target, head, body = known
    assert (target, body) == (parsed.target, parsed.body)
    assert (sorted(head.pairs), head.headers) == (sorted(parsed.pairs), dict(parsed.pairs))
    assert (parsed.requests, parsed.parser.get_method()) == (1, b"POST")
    assert parsed.parser.get_http_version() == "1.1"
    assert parsed.parser.should_keep_alive()


def test_a_head_that_came_twice_is_known_under_any_target_and_with_any_body_of_its_length() -> None:
    heads = learnt(request_of())
    for body in (BODY, BODY[::-1]):
        for target in (b"/v1/reservations", b"/v1/reservations/rsv_0_00/commit"):
            data = request_of(body, start=b"POST %b HTTP/1.1" % target)
            check(heads.read(data), data)


@pytest.mark.parametrize("name", [b"Idempotency-Key", b"idempotency-key"])
@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_head_is_known_under_any_key(name: bytes, place: int) -> None:
    def keyed(key: bytes) -> bytes:
        return request_of(BODY, *LINES[:place], b"%b: %b" % (name, key), *LINES[place:])

    heads = learnt(keyed(b"one"), keyed(b"two"), times=1)
    for data in (keyed(b"three"), keyed(b"~!"), request_of()):
        check(heads.read(data), data)


@pytest.mark.parametrize(
    "lines",
    [
        (b"Idempotency-Key: two", b"Idempotency-Key: three"),
        (b"IDEMPOTENCY-KEY: two", b"Idempotency-Key: three"),
        (b"Idempotency-Key: two ",),
        (b"Idempotency-Key: t wo",),
        (b"Idempotency-Key: ",),
        (b"Idempotency-Key:two",),
        (b"Idempotency-Key: tw\xc3\xb6",),
        (b"Idempotency-Key: two\r\n folded",),
        (b"X-Idempotency-Key: two",),
        (b"X: Idempotency-Key: two",),
    ],
)
def test_an_odd_key_goes_to_the_parser(lines: tuple[bytes, ...]) -> None:
    heads = learnt(request_of(BODY, *LINES, b"Idempotency-Key: one"))
    assert heads.read(request_of(BODY, *LINES, *lines)) is None


@pytest.mark.parametrize(
    "lines", [(b"IDEMPOTENCY-KEY: one",), (b"Idempotency-Key: one", b"Idempotency-Key: one")]
)
def test_a_head_with_another_key_in_it_is_not_learnt(lines: tuple[bytes, ...]) -> None:
    heads = learnt(request_of(BODY, *LINES, *lines), times=3)
    assert heads.read(request_of(BODY, *LINES, *lines)) is None
    assert heads.read(request_of(BODY, *LINES, *lines, b"Idempotency-Key: two")) is None


def test_a_head_that_came_once_is_not_known_yet() -> None:
    assert learnt(request_of(), times=1).read(request_of()) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        request_of()[:-1],
        request_of() + b" ",
        request_of() + request_of(),
        request_of(BODY + b" "),
        request_of(length=len(BODY) - 1),
        request_of(start=b"POST /v1/reservations HTTP/1.0"),
        request_of(start=b"PUT /v1/reservations HTTP/1.1"),
        request_of(start=b"post /v1/reservations HTTP/1.1"),
        b"\r\n" + request_of(),
        request_of(start=b"POST /v1/reservations HTTP/1.1\r\nPOST /v1/reservations HTTP/1.1"),
        request_of(start=b"POST"),
        request_of(start=b"POST HTTP/1.1"),
        request_of(BODY, *LINES[:2]),
        request_of(BODY, *LINES[::-1]),
        request_of(BODY, *LINES, b"X-Namespace: other"),
        request_of(BODY, LINES[0], b"X-Namespace: acmE", *LINES[2:]),
        request_of().replace(b"\r\n", b"\n"),
    ],
)
def test_nothing_else_is_taken_for_it(data: bytes) -> None:
    assert learnt(request_of()).read(data) is None


def test_a_head_that_the_parser_ends_elsewhere_is_not_learnt() -> None:
    assert header_lines(request_of(), TARGET, BODY)
    assert header_lines(request_of(), TARGET, BODY[:-1]) == b""
    assert header_lines(request_of(), TARGET[:-1], BODY) == b""


def test_half_a_head_is_none_however_long_the_body_is_to_be() -> None:
    for length in range(300):
        good = request_of(b"a" * length)
        heads = learnt(good)
        assert all(heads.read(good[:end]) is None for end in range(len(good)))


@pytest.mark.parametrize("start", [b"\r\n", b"GET / HTTP/1.1\r\n\r\n", request_of()])
def test_a_head_is_learnt_from_where_it_begins_alone(start: bytes) -> None:
    assert header_lines(start + request_of(), TARGET, BODY) == b""


def test_what_is_learnt_is_bounded() -> None:
    heads = KnownHeads()
    long = request_of(BODY, b"X-Long: " + b"a" * 4000)
    many = request_of(BODY, *(b"a%d:" % number for number in range(40)))
    for data in [request_of(BODY, b"X-Number: %d" % number) for number in range(9000)] + [long, many]:
        for _ in range(2):
            teach(heads, data)
    assert len(heads._known) <= 1024
    assert len(heads._seen) <= 4096
    assert heads.read(long) is None
    assert heads.read(many) is None
    assert heads.read(request_of(BODY, b"X-Number: 8999")) is not None


@given(place=st.integers(0, 220), gone=st.integers(0, 3), put=st.binary(max_size=3), twice=st.booleans())
def test_whatever_is_changed_what_is_known_is_what_the_parser_says(
    place: int, gone: int, put: bytes, twice: bool
) -> None:
    good = request_of(BODY, *LINES, b"Idempotency-Key: one")
    changed = good[:place] + put + good[place + gone :] + (good if twice else b"")
    known = learnt(good, request_of(), request_of(BODY[1:])).read(changed)
    # Which targets are served is asked elsewhere; what no target can hold is none of them.
    if known is not None and known[0].isascii() and not set(known[0]) & set(b" \r\n"):
        try:
            check(known, changed)
        except (HttpParserError, HttpParserUpgrade):
            assert any(byte < 0x21 or byte > 0x7E for byte in known[0])


PIECES = (
    request_of(),
    request_of(BODY, *LINES, b"Idempotency-Key: one"),
    request_of(b"a" * 150),
    request_of(request_of()),
    request_of(b""),
    b"\r\n",
    b"\r\n\r\n",
    b"POST / HTTP/1.1\r\n",
)


@given(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=3),
    st.integers(0, 400),
    st.integers(0, 400),
    st.data(),
)
def test_whatever_arrives_what_is_known_is_what_the_parser_says(
    pieces: list[bytes], first: int, last: int, drawn: st.DataObject
) -> None:
    heads = KnownHeads()
    for taught in drawn.draw(st.lists(st.sampled_from(PIECES), min_size=4, max_size=8)) * 2:
        teach(heads, taught)
    data = b"".join(pieces)
    arrived = data[first % (len(data) + 1) :][: len(data) - last % (len(data) + 1)]
    known = heads.read(arrived)
    if known is not None:
        check(known, arrived)


@given(
    st.lists(
        st.tuples(
            st.from_regex(rb"X-[A-Za-z0-9-]{1,8}", fullmatch=True),
            st.from_regex(rb"[ \t]*[\x21-\x7e]{0,12}[ \t]*", fullmatch=True),
        ),
        max_size=6,
    ),
    st.binary(max_size=40),
)
def test_every_head_that_the_parser_takes_is_known_as_it_took_it(lines: Any, body: bytes) -> None:
    data = request_of(body, *(b"%b:%b" % line for line in lines), b"Host: gateway")
    check(learnt(data).read(data), data)
