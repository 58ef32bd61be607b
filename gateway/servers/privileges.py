"""As whom Postgres runs, which refuses to be root. Adds no account and opens no directory to anybody."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from gateway.servers.children import Account
from gateway.servers.errors import ServerStartError

_NAMESPACE = ("--user", "--map-user=1000", "--map-group=1000")
# What must be possible inside the namespace, where root's right to pass everywhere is gone.
_PROBE = 'test -x "$1" && test -r "$2" && test -w "$2" && test -x "$2"'
_PROBE_S = 10.0


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
        ServerStartError: there is no ``nobody`` to become.
    """
    if os.geteuid() != 0:
        return Standing("same")
    if unshare := shutil.which("unshare"):
        prefix = (unshare, *_NAMESPACE)
        take_over(directory, (0, 0))
        if _works(prefix, program, directory):
            return Standing("same", (*prefix, "--"), (0, 0))
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError as error:
        raise ServerStartError("PostgreSQL refuses to run as root and there is no user nobody") from error
    return Standing("nobody", (), (nobody.pw_uid, nobody.pw_gid))


def take_over(directory: Path, owner: tuple[int, int]) -> None:
    """Give ``directory`` and all below it to the user and group ``owner``, unless it is the user's."""
    if directory.stat().st_uid == owner[0]:
        return
    # The top goes last, so that an interrupted walk is taken up again.
    for entry in [*directory.rglob("*"), directory]:
        os.chown(entry, *owner, follow_symlinks=False)


def _works(prefix: tuple[str, ...], program: Path, directory: Path) -> bool:
    command = [*prefix, "--", "/bin/sh", "-c", _PROBE, "sh", str(program), str(directory)]
    tried = subprocess.run(  # noqa: S603 - fixed words and two paths
        command, capture_output=True, timeout=_PROBE_S, check=False
    )
    return tried.returncode == 0
