"""What can go wrong with embedded servers, for the person who starts them. Never raised while serving."""

from __future__ import annotations


class ServersError(Exception):
    """Base of every error of this room; its message is one a person can act on."""


class ServerNotFoundError(ServersError):
    """No usable server program is installed, or none that can read what the data directory holds."""


class DataDirectoryError(ServersError):
    """The data directory is in use, belongs to somebody else, or holds something else."""


class ServerStartError(ServersError):
    """A server did not start; the message carries the last lines of its log."""
