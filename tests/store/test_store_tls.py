"""TLS as a rediss:// URL asks for it, against a server with a certificate of its own making."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.store.errors import LinkLostError
from gateway.store.pipeline import Pipeline
from gateway.store.tls import TlsOptionsError

NEW_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
FOR_LOCALHOST = "-subj /CN=localhost -addext subjectAltName=DNS:localhost"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    directory = tmp_path_factory.mktemp("tls")
    openssl(directory, f"req -x509 {NEW_KEY} {FOR_LOCALHOST} -keyout key.pem -out made.pem")
    return directory / "made.pem", directory / "key.pem"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an authority, ca.pem, that does not say what its key is for, and what it made."""
    directory = tmp_path_factory.mktemp("authority")
    (directory / "names").write_text("subjectAltName=DNS:localhost\n", encoding="ascii")
    openssl(directory, f"req -x509 {NEW_KEY} -subj /CN=ca -keyout ca_key.pem -out ca.pem")
    openssl(directory, f"req {NEW_KEY} {FOR_LOCALHOST} -keyout key.pem -out asked.pem")
    signing = "-CA ca.pem -CAkey ca_key.pem -CAcreateserial -extfile names"
    openssl(directory, f"x509 -req -in asked.pem {signing} -out made.pem")
    return directory


def openssl(directory: Path, words: str) -> None:
    try:
        subprocess.run(["openssl", *words.split()], cwd=directory, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")


@pytest.fixture
async def port(certificate: tuple[Path, Path]) -> AsyncIterator[int]:
    async with serving(*certificate) as port:
        yield port


@contextlib.asynccontextmanager
async def serving(made: Path, key: Path) -> AsyncIterator[int]:
    """A server that says OK to everything, over TLS; it asks for a certificate and takes none."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made, key)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                if line.startswith(b"*"):
                    writer.write(b"+OK\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def said(url: str) -> str:
    link = Pipeline(url, timeout_s=5.0)
    try:
        return str(await link.call("PING"))
    finally:
        await link.close()


async def test_a_certificate_is_checked_against_the_authorities_of_the_url(
    port: int, certificate: tuple[Path, Path]
) -> None:
    made, _ = certificate
    assert await said(f"rediss://localhost:{port}?ssl_ca_certs={made}") == "OK"
    assert await said(f"rediss://127.0.0.1:{port}?ssl_ca_certs={made}&ssl_check_hostname=false") == "OK"
    assert await said(f"rediss://localhost:{port}?ssl_cert_reqs=none") == "OK"


@pytest.mark.parametrize(
    "url", ["rediss://localhost:{port}", "rediss://127.0.0.1:{port}?ssl_ca_certs={made}"]
)
async def test_a_certificate_nobody_vouches_for_is_refused(
    port: int, certificate: tuple[Path, Path], url: str
) -> None:
    with pytest.raises(LinkLostError, match="certificate"):
        await said(url.format(port=port, made=certificate[0]))


async def test_an_authority_that_python_takes_no_more_since_3_13_can_be_taken(authority: Path) -> None:
    options = f"ssl_ca_certs={authority / 'ca.pem'}&ssl_exclude_verify_flags=VERIFY_X509_STRICT"
    async with serving(authority / "made.pem", authority / "key.pem") as port:
        assert await said(f"rediss://localhost:{port}?{options}") == "OK"
        with pytest.raises(LinkLostError, match="certificate"):
            await said(f"rediss://localhost:{port}?{options.partition('&')[2]}")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("ssl_ca_certs=/nowhere/ca.pem", "No such file"),
        ("ssl_cert_reqs=perhaps", "perhaps"),
        ("ssl_speed=9", "speed"),
        ("ssl_certfile=/nowhere/me.pem", "No such file"),
    ],
)
def test_options_that_cannot_be_used_are_named_at_once(options: str, reason: str) -> None:
    with pytest.raises(TlsOptionsError, match=reason):
        Pipeline(f"rediss://localhost:1?{options}")
