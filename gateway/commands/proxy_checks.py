"""What ``quotagate proxy`` cannot do as it is told, said at the start; each complaint names its option."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from gateway.commands.proxy_accounts import Payer
from gateway.domain.amounts import scale_of, to_scaled
from gateway.domain.fields import FieldError
from gateway.domain.names import account_errors
from gateway.errors import MeterValidationError
from gateway.settings import SettingsError

T = TypeVar("T")

# What a reply says it cost; in other units only weights can tell.
_READ_UNITS = frozenset({"tokens", "usd"})
_OPTIONS = {
    "user_id": "--user",
    "event_type": "--event-type",
    "unit": "--unit",
    "resource": "--resource",
    "user_header": "--user-header",
}
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def check_payers(payers: Sequence[Payer], also: Sequence[str], *, weighted: bool) -> None:
    """Raise SettingsError for accounts that cannot be, or whose unit nobody can count in."""
    faults = [f"{_OPTIONS[fault.field]}: {fault.detail}" for fault in _faults(payers[0], weighted=weighted)]
    for text, payer in zip(also, payers[1:], strict=True):
        faults += [
            f"--also {text}: {fault.field} {fault.detail}" for fault in _faults(payer, weighted=weighted)
        ]
    if faults:
        raise SettingsError(faults)


def _faults(payer: Payer, *, weighted: bool) -> Iterator[FieldError]:
    user_id, event_type, unit, resource, *_ = payer.account
    found = account_errors(user_id, event_type, unit, resource)
    yield from found
    if payer.user_header is not None and not _HEADER.fullmatch(payer.user_header):
        yield FieldError("user_header", "VAL_USER_HEADER_INVALID", "must be the name of a header")
    if not found and unit not in _READ_UNITS and not weighted:
        detail = f"{unit!r} must be tokens or usd, unless --weights say what a token is in it"
        yield FieldError("unit", "VAL_UNIT_UNKNOWN", detail)


def check_other_cost(text: str, units: Sequence[str]) -> None:
    """Raise SettingsError where what other calls cost is no amount of the accounts' one unit."""
    if len(units) > 1:
        raise SettingsError(["--other-cost: is one amount, and the accounts count in several units"])
    cost = to_scaled("other_cost", text, scale_of(units[0]))
    if isinstance(cost, FieldError):
        raise SettingsError([f"--other-cost {text}: {cost.detail}"])
    if cost < 0:
        raise SettingsError([f"--other-cost {text}: must not be negative"])


def check_metrics_path(path: str | None) -> None:
    """Raise SettingsError for a path that no request has."""
    if path is not None and not path.startswith("/"):
        raise SettingsError([f"--metrics-path {path}: must begin with a slash"])


def read_file(option: str, path: Path, read: Callable[[bytes], T]) -> T:
    """Read a file that an option names. Raises SettingsError for one that says something else."""
    try:
        return read(path.read_bytes())
    except MeterValidationError as error:
        raise SettingsError([f"{option} {path}: {error}"]) from error
