"""Which classes and which scripts a world is made of: those of the product, unless a protection is taken out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.store.calls import Calls
from gateway.store.journal import RedisJournal
from gateway.store.loading import Loader
from gateway.store.scripts import Script, scripts
from persistence.fence import LedgerFence
from persistence.flusher import Flusher

from .ledger import SimLedger


@dataclass
class Design:
    """What processes are put together from.

    ``salvage`` says that an acknowledged entry survives the loss of a Redis tail as long as its gateway
    lives; ``lookup`` that a key is found after an epoch change. Without them such losses are allowed.
    """

    scripts: Mapping[str, Script] = field(default_factory=lambda: scripts(shebang=False))
    ledger: Callable[[], SimLedger] = SimLedger
    fence: Callable[..., LedgerFence] = LedgerFence
    journal: Callable[..., RedisJournal] = RedisJournal
    loader: Callable[..., Loader] = Loader
    calls: Callable[..., Calls] = Calls
    flusher: Callable[..., Flusher] = Flusher
    salvage: bool = False
    lookup: bool = False
    patches: Mapping[str, Any] = field(default_factory=dict)
