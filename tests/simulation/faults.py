"""What befalls a world: each fault strikes between two steps that the seed picks, and most heal again."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING

from .links import SimLink
from .server import Instance

if TYPE_CHECKING:
    from .world import World

_LASTS_S = (0.0, 0.02, 0.3, 1.5, 4.0, 30.0)


class Faults:
    """Strikes at every so many steps of links and ledger, until it is told to heal."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._chance = world.chance
        self._left = world.mood.faults
        self._next = self._gap()
        self._healing: list[Callable[[], None]] = []
        self._split: list[Instance] = []

    def _gap(self) -> int:
        return 1 + int(self._chance.expovariate(1 / self._world.mood.fault_every))

    def tick(self) -> None:
        """One more step was taken."""
        self._next -= 1
        if self._next <= 0 and self._left > 0:
            self._left -= 1
            self._next = self._gap()
            kinds = self._world.mood.kinds
            kind = self._chance.choices(list(kinds), kinds.values())[0]
            self._world.note("fault", kind)
            getattr(self, kind)()

    def heal(self) -> None:
        """Put everything right, and strike no more."""
        self._left = 0
        healing, self._healing = self._healing, []
        for step in healing:
            step()

    def _later(self, step: Callable[[], None]) -> None:
        """Heal after a while, or with everything else."""

        def once() -> None:
            if step in self._healing:
                self._healing.remove(step)
                step()

        self._healing.append(step)
        self._world.loop.call_later(self._chance.choice(_LASTS_S), once, context=Context())

    def _link(self) -> SimLink | None:
        slots = [slot for slot in self._world.slots if slot.parts is not None and slot.process.alive]
        if not slots:
            return None
        parts = self._chance.choice(slots).parts
        return None if parts is None else self._chance.choice(parts.links())

    # Processes.

    def kill_gateway(self) -> None:
        self._chance.choice(self._world.gateways).kill()

    def kill_flusher(self) -> None:
        self._chance.choice(self._world.flushers).kill()

    def stop_flusher(self) -> None:
        self._chance.choice(self._world.flushers).stop()

    def freeze_process(self) -> None:
        """Let a process stand still, as SIGSTOP does; for the others it is simply silent."""
        process = self._chance.choice(self._world.slots).process
        if process.alive and process.frozen is None:
            process.frozen = []
            self._later(lambda: self._world.loop.thaw(process))

    # Links.

    def drop_link(self) -> None:
        if (link := self._link()) is not None:
            link.drop()

    def freeze_link(self) -> None:
        link = self._link()
        if link is not None and (connection := link.connection) is not None:
            connection.frozen = True
            self._later(connection.thaw)

    # Redis.

    def freeze_server(self) -> None:
        instance = self._world.redis.instance
        instance.frozen = True
        self._later(lambda: self._world.redis.thaw(instance))

    def restart_whole(self) -> None:
        self._restart(len(self._world.redis.instance.log))

    def forget_scripts(self) -> None:
        if self._world.redis.instance.running:
            self._world.redis.forget_scripts()

    def jump_clock(self) -> None:
        self._world.redis.jump_clock(self._chance.choice((-5000, -300, 700, 20_000)))

    def lose_tail(self) -> None:
        self._restart(self._prefix())

    def lose_all(self) -> None:
        self._restart(0)

    def promote(self) -> None:
        """Let a replica take over; the old primary is gone."""
        old = self._world.redis.promote(self._prefix())
        self._world.redis.retire(old)

    def split(self) -> None:
        """Let a replica take over while the old primary goes on answering those who are still connected."""
        self._world.redis.was_split = True
        old = self._world.redis.promote(self._prefix())
        for slot in self._world.slots:
            for link in slot.parts.links() if slot.parts is not None else ():
                if self._chance.random() < 0.5:
                    link.drop()
        self._later(lambda: self._world.redis.retire(old))

    def flush_all(self) -> None:
        if self._world.redis.instance.running:
            self._world.redis.flush_all()

    def _prefix(self) -> int:
        """Draw how much of the log survives: all but the last few changes."""
        length = len(self._world.redis.instance.log)
        return max(0, length - self._chance.choice((1, 2, 3, 5, 10, 30)))

    def _restart(self, survives: int) -> None:
        """Stop the server, and start it with the first changes of its log: at once or after a while."""
        redis, stopped = self._world.redis, self._world.redis.instance
        if not stopped.running:
            return
        redis.stop()

        def start() -> None:
            if redis.instance is stopped:
                redis.restart(stopped.log[:survives])

        if self._chance.random() < 0.5:
            start()
        else:
            self._later(start)

    # The ledger.

    def ledger_away(self) -> None:
        weather = self._world.weather
        weather.absences += 1
        self.lose_lock()
        self._later(lambda: setattr(weather, "absences", weather.absences - 1))

    def ledger_fails(self) -> None:
        weather = self._world.weather
        weather.fails = 0.4
        self._later(lambda: setattr(weather, "fails", 0.0))

    def ledger_slow(self) -> None:
        """Let some messages take far longer than anybody waits for."""
        weather = self._world.weather
        weather.storms += 1
        self._later(lambda: setattr(weather, "storms", weather.storms - 1))

    def stall_load(self) -> None:
        """Let the answer of the next load come when nobody expects it any more."""
        self._world.weather.stalls += 1

    def lose_lock(self) -> None:
        """Break the session that holds the fence's lock: another fence may begin while the first goes on."""
        holder = self._world.locks.holder
        if holder is not None:
            holder.lose()
