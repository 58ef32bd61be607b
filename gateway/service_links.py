"""Tells the variables that Kubernetes puts into every container for its services from settings. Sets nothing.

For a service named quotagate-redis they begin as our settings do: QUOTAGATE_REDIS_SERVICE_HOST, and
QUOTAGATE_REDIS_PORT=tcp://10.0.0.1:6379, each with kin.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAME = re.compile(
    r"QUOTAGATE_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_ADDRESS_NAME = re.compile(r"QUOTAGATE_(?:\w+_)?PORT")
_ADDRESS = re.compile(r"(?:tcp|udp|sctp)://\S+:\d+")


def service_links(environ: Mapping[str, str]) -> list[str]:
    """Give the names of the variables that describe services, sorted."""
    return sorted(name for name, text in environ.items() if _is_link(name, text))


def _is_link(name: str, text: str) -> bool:
    if _NAME.fullmatch(name):
        return True
    return bool(_ADDRESS_NAME.fullmatch(name) and _ADDRESS.fullmatch(text))
