"""Reads from the options of a rediss:// URL how TLS is to be spoken. No connection is made here."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from redis.asyncio.connection import RedisSSLContext
from redis.exceptions import RedisError

_PREFIX = "ssl_"


class TlsOptionsError(ValueError):
    """Options for TLS that cannot be used. The message quotes no secret."""


def tls_context(options: Mapping[str, Any]) -> ssl.SSLContext:
    """Give the context for options as ``parse_url`` gives them: ssl_ca_certs, ssl_cert_reqs and the like.

    Without any, the server must show a certificate of its host name that the system trusts.

    Raises TlsOptionsError when an option is unknown, or names a file that cannot be used.
    """
    said = {name.removeprefix(_PREFIX): value for name, value in options.items() if name.startswith(_PREFIX)}
    try:
        return RedisSSLContext(**{"cert_reqs": "required", "check_hostname": True, **said}).get()
    except (TypeError, OSError, RedisError) as error:
        raise TlsOptionsError(f"its TLS options cannot be used: {error}") from error
