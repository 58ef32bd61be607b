"""What several commands take and say alike: namespaces, gateways, spans, numbers. None does its work here."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import typer

from gateway.domain.names import namespace_error
from gateway.errors import MeterValidationError
from gateway.protocols import Actor

DAYS_MAX = 36_525.0  # a hundred years: every day within is in the calendar


def sound_namespace(namespace: str | None) -> str | None:
    """Take a namespace as it is given, or none; an empty one is a variable that was not set, and refused."""
    error = None if namespace is None else namespace_error(namespace)
    if error is not None:
        raise typer.BadParameter(error.detail)
    return namespace


def sound_url(url: str) -> str:
    """Take the URL of a gateway; what is none is refused before anything is asked."""
    from gateway.client.base import checked_url

    try:
        checked_url(url)
    except MeterValidationError as error:
        raise typer.BadParameter(f"{url!r}: {error.errors[0].detail}") from error
    return url


def user_of_machine() -> Actor:
    """Name the user of this machine who gives a command; one without a name, as in containers, by number."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return Actor(actor_id=f"cli:{name}")


@contextmanager
def named_options(options: Mapping[str, str]) -> Iterator[None]:
    """Let faults of fields name the options that the fields were given in."""
    try:
        yield
    except MeterValidationError as error:
        if not error.errors:
            raise
        raise MeterValidationError.of(
            [fault._replace(field=options.get(fault.field, fault.field)) for fault in error.errors]
        ) from error


def counted(number: int, noun: str) -> str:
    """Say how many there are of something, as people do."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun.removesuffix('y')}ies" if noun.endswith("y") else f"{number} {noun}s"
