"""As whom Postgres runs, which refuses to be root. Adds no account and opens no directory to anybody."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from gateway.servers.children import Account
from gateway.servers.errors import ServerStartError

_NAMESPACE = ("--user", "--map-user=1000", "--map-group=1000", "--")
_REACH = 'test -x "$1" && test -r "$2" && test -w "$2" && test -x "$2"'
_PROBE_S = 10.0
# CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_SETGID and CAP_SETUID: what it takes to hand a directory to another
# user, become that user and still reach the directory. Root in a container may lack any of them.
_TO_BECOME_NOBODY = 1 << 0 | 1 << 1 | 1 << 6 | 1 << 7


@dataclass(frozen=True, slots=True)
class Standing:
    """How a program is started that must not be root.

    Attributes:
        account: the account to change to.
        prefix: words before the program's own command.
        owner: numbers of the user and group whose its directory must be; None: leave it.
    """

    account: Account
    prefix: tuple[str, ...] = ()
    owner: tuple[int, int] | None = None


def standing(program: Path, directory: Path) -> Standing:
    """Decide how to run ``program`` on ``directory``, without root's name.

    A plain user runs it directly. Root runs it in a user namespace where it is called 1000; where the
    kernel grants none, or the program or directory cannot be reached from inside, as ``nobody``.

    Raises:
        ServerStartError: neither is possible.
    """
    if os.geteuid() != 0:
        return Standing("same")
    if prefix := _namespace(program, directory):
        return Standing("same", prefix, (0, 0))
    if not _may_become_nobody():
        raise ServerStartError(
            "PostgreSQL refuses to run as root, and this root may neither make a user namespace nor become "
            "the user nobody: run as a plain user, or give a URL in QUOTAGATE_DATABASE_URL"
        )
    nobody = pwd.getpwnam("nobody")
    return Standing("nobody", (), (nobody.pw_uid, nobody.pw_gid))


def _namespace(program: Path, directory: Path) -> tuple[str, ...] | None:
    """Return the words that run a command in a user namespace; None where that cannot be done."""
    unshare = shutil.which("unshare")
    if unshare is None or not _succeeds(unshare, *_NAMESPACE, "/bin/sh", "-c", ":"):
        return None
    # Inside, only root's own files are its own, and root's right to pass everywhere is gone.
    take_over(directory, (0, 0))
    reaches = _succeeds(unshare, *_NAMESPACE, "/bin/sh", "-c", _REACH, "sh", str(program), str(directory))
    return (unshare, *_NAMESPACE) if reaches else None


def _may_become_nobody() -> bool:
    try:
        pwd.getpwnam("nobody")
    except KeyError:
        return False
    if sys.platform != "linux":
        return True
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return int(effective.split()[1], 16) & _TO_BECOME_NOBODY == _TO_BECOME_NOBODY


def take_over(directory: Path, owner: tuple[int, int]) -> None:
    """Give ``directory`` and all below it to the user and group ``owner``, unless it is the user's."""
    if directory.stat().st_uid == owner[0]:
        return
    # The top goes last, so that an interrupted walk is taken up again.
    for entry in [*directory.rglob("*"), directory]:
        os.chown(entry, *owner, follow_symlinks=False)


def _succeeds(*command: str) -> bool:
    tried = subprocess.run(  # noqa: S603 - fixed words and two paths
        command, capture_output=True, timeout=_PROBE_S, check=False
    )
    return tried.returncode == 0
