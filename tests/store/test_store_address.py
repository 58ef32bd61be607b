"""A URL of which a part would have no effect is refused: another database is worse than none."""

from __future__ import annotations

import pytest

from gateway.store.address import AddressError, read_address


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("redis://cache", {"host": "cache"}),
        ("redis://cache/03", {"host": "cache", "db": 3}),
        ("redis://cache:7000/", {"host": "cache", "port": 7000}),
        ("redis://app:s%40@[::1]:7000/3", {"username": "app", "password": "s@", "host": "::1", "db": 3}),
        ("redis://cache?db=2&socket_timeout=5", {"host": "cache", "db": 2}),
        ("redis://cache/2?db=2&max_connections=9&client_name=us&protocol=3", {"host": "cache", "db": 2}),
        ("rediss://cache/1?ssl_cert_reqs=none", {"host": "cache", "db": 1, "ssl_cert_reqs": "none"}),
        ("unix:///run/a%20b/redis.sock?db=1", {"path": "/run/a b/redis.sock", "db": 1}),
        ("unix://app:secret@/run/redis.sock", {"path": "/run/redis.sock", "password": "secret"}),
    ],
)
def test_where_it_is_and_how_it_is_greeted(url: str, options: dict[str, object]) -> None:
    assert read_address(url).items() >= options.items()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://cache:6379/production", "number of a database"),
        ("redis://cache:6379/0/1", "number of a database"),
        ("redis://:12/secret@cache/0", "number of a database"),
        ("redis://cache/0#secret", "has a #"),
        ("redis://cache/0?ssl_cert_reqs=required", "rediss://"),
        ("redis://cache?database=2", "unknown or empty"),
        ("redis://cache/0?tls=secret", "unknown or empty"),
        ("unix:///run/redis.sock?DB=2", "unknown or empty"),
        ("redis://cache?secret=2", "unknown or empty"),
        ("redis://cache?tls", "unknown or empty"),
        ("redis://cache?db=", "unknown or empty"),
        ("redis://cache/1?db=2", "two databases"),
        ("unix://run/redis.sock", "whole path"),
        ("unix://secret", "whole path"),
    ],
)
def test_what_would_be_passed_over_is_refused(url: str, words: str) -> None:
    with pytest.raises(AddressError) as caught:
        read_address(url)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
