"""The few steps between fork and a server's own program: run as a script, never imported.

Usage: launch.py PARENT_PID DEATH_SIGNAL PID_FILE same|nobody COMMAND...

It writes its pid (which the server inherits) before anything else, so no server of ours ever runs
without being findable; becomes ``nobody`` if asked to; asks Linux to send DEATH_SIGNAL when the parent
dies; and becomes the command. It knows the standard library only, because it runs without site-packages.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import struct
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522


def main(arguments: list[str]) -> None:
    """Take the steps in order and become the command; returns only by raising."""
    parent_pid, death_signal, pid_file, account, *command = arguments
    Path(pid_file).write_text(f"{os.getpid()}\n", encoding="ascii")
    if account == "nobody":
        _become_nobody()
    # Last, because a change of user clears it.
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, int(death_signal))
    if os.getppid() != int(parent_pid):
        raise OSError("the process that wanted this server is gone")
    os.execvp(command[0], command)  # noqa: S606 - becoming the server is this script's purpose


def _become_nobody() -> None:
    """Give up root for good, keeping on Linux only the right to pass through others' directories.

    Without it the server could reach neither its program nor its data wherever they lie below a directory
    closed to others, such as root's home, and the alternative would be to open that directory.
    """
    account = pwd.getpwnam("nobody")
    if sys.platform == "linux":
        _prctl(_PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    if sys.platform == "linux":
        _keep_only(_CAP_DAC_OVERRIDE)


def _keep_only(capability: int) -> None:
    mask = 1 << capability
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    # Effective, permitted and inheritable, low words first, then the three high words.
    _check(_LIBC.capset(header, struct.pack("6I", mask, mask, mask, 0, 0, 0)), "capset")
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability)


def _prctl(option: int, *arguments: int) -> None:
    padded = (*arguments, *[0] * (4 - len(arguments)))
    _check(_LIBC.prctl(option, *map(ctypes.c_ulong, padded)), f"prctl {option}")


def _check(result: int, call: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


_LIBC = ctypes.CDLL(None, use_errno=True)

if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (OSError, LookupError) as error:
        sys.exit(f"could not start the server: {error}")
