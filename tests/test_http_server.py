"""Where a server of ours listens, and what its user is told when it cannot."""

from __future__ import annotations

import errno
import socket

import pytest

from gateway.running.http_server import listen, url_of
from gateway.settings import SettingsError

ADVICE = "--port takes another"


def refusal(host: str, port: int) -> str:
    with pytest.raises(SettingsError) as caught:
        listen(host, port, ADVICE)
    return caught.value.problems[0]


def test_a_port_that_is_taken_is_told_with_the_advice() -> None:
    with listen("127.0.0.1", 0, ADVICE) as taken:
        port = taken.getsockname()[1]
        assert url_of(taken) == f"http://127.0.0.1:{port}"
        said = refusal("127.0.0.1", port)
    assert said == (
        f"cannot listen on 127.0.0.1:{port}: Address already in use; is another one running? {ADVICE}"
    )


def test_a_port_that_only_root_may_take_is_told_with_the_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket, "create_server", refused)
    assert refusal("::1", 80) == f"cannot listen on [::1]:80: Permission denied; {ADVICE}"


@pytest.mark.parametrize("host", ["192.0.2.7", "[::1]", "127.0.0.1:80"])
def test_an_address_that_is_not_here_is_not_called_a_taken_port(host: str) -> None:
    said = refusal(host, 0)
    assert said.endswith("; is that an address of this machine?")
