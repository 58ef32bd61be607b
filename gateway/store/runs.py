"""Reads in INFO which run of a server answers, and whether it is or was a replica. Asks nobody."""

from __future__ import annotations

import re

ASKED = ("INFO", "server", "replication")


def run_id_of(info: str) -> str:
    """Name the run of a server; "" when it says of none.

    A run ends with its process, and when the server becomes a replica: its data are another's from then on.
    So one that is or was a replica is named by the history that it is in as well.
    """
    process = _said(info, "run_id")
    if process and (primary_in(info) or was_replica(info)):
        return f"{process}:{_said(info, 'master_replid')}"
    return process


def was_replica(info: str) -> bool:
    """Say whether a server replaced the one it copied, as far as it tells; True where it does not tell.

    A primary that was a replica keeps the id of the history that it took over, as its second one.
    """
    before = _said(info, "master_replid2")
    return not before or before.strip("0") != ""


def primary_in(info: str) -> str:
    """Say whose replica a server is, as ``host:port``; "" when it is a primary or does not tell."""
    if _said(info, "role") != "slave":
        return ""
    return f"{_said(info, 'master_host')}:{_said(info, 'master_port')}"


def _said(info: str, field: str) -> str:
    found = re.search(rf"^{field}:(\S+)", info, re.MULTILINE)
    return found[1] if found else ""
