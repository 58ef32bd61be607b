"""Bodies of entries that tell the ledger, in their metadata, what they are about."""

from __future__ import annotations

import msgspec

from gateway.protocols import NO_EXTRAS, Extras

_encode = msgspec.json.Encoder().encode
_read_extras = msgspec.json.Decoder(Extras).decode


def extras_of(body: bytes) -> Extras:
    """Read what a call says beside its amounts; b"" says nothing."""
    return _read_extras(body) if body else NO_EXTRAS


def telling(extras: Extras, told: object) -> bytes:
    """Give the body of an entry with these extras, but for the metadata: that is ``told``, as JSON."""
    return _encode(msgspec.structs.replace(extras, metadata=msgspec.Raw(_encode(told))))
