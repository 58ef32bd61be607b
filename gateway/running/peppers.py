"""The pepper of an embedded ledger: kept beside its data, for its owner alone. No key is known here."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from gateway.settings import SettingsError

_FILE = "key_pepper"
_SOUND = re.compile(r"[!-~]{32,512}")


def kept_pepper(data_dir: Path) -> str:
    """Give the pepper of a data directory; make it where there is none yet.

    Raises SettingsError when the file can be read by others, or says something else.
    """
    path = data_dir / _FILE
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return _made(path)
    with os.fdopen(descriptor, encoding="ascii") as file:
        if os.fstat(descriptor).st_mode & 0o077:
            raise SettingsError([f"{path}: others can read it; `chmod 600` it, and make every key anew"])
        pepper = file.read().strip()
    if not _SOUND.fullmatch(pepper):
        raise SettingsError([f"{path}: is not 32 to 512 visible ASCII characters; no key fits it"])
    return pepper


def _made(path: Path) -> str:
    """Make the file whole or not at all: a half of it would be another pepper."""
    pepper = secrets.token_hex(32)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{pepper}\n")
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    return pepper
