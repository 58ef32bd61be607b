"""Names and addresses of this machine. Nothing is looked up here."""

from __future__ import annotations

import ipaddress


def is_loopback_address(host: str) -> bool:
    """Whether this is an address that only this machine can reach, or that only it can have."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether a host, without a port, can only be this machine: by address, or as ``localhost``."""
    return host.lower() == "localhost" or is_loopback_address(host)
