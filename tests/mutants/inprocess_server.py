"""The server that changed scripts are tried on: the simulation's Redis. Who tries says what is changed."""

from __future__ import annotations

from simulation.inprocess import InProcessServer

from gateway.store.scripts import Script, scripts


class ChangedServer(InProcessServer):
    """An in-process server; ``texts`` are the scripts of every server made from now on."""

    texts: dict[str, Script] | None = None

    def __init__(self) -> None:
        super().__init__(self.texts or scripts(shebang=False))
