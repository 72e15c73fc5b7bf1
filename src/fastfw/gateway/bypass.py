"""Connections that skip the queue: granted by the driver, carried out by the kernel's rules, taken back and kept alive
here.

Every change of rules, settings or connections takes all grants back first: the kernel's rules are given another
generation, of which no connection has the mark, and from then on every packet is queued. What the engine does not see
it cannot refresh, so connections whose time is nearly up are asked for in the kernel's table, which sees all.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
import threading
import time
from collections.abc import Iterator

import numpy as np

from fastfw.connection import Connection, from_entry
from fastfw.drivers.bypass import BITS_OF_WAY, GENERATIONS, LEAST_SECONDS, Bypass
from fastfw.engine import Engine
from fastfw.gateway import steer
from fastfw.gateway.flowmap import FlowMap
from fastfw.gateway.hostct import Ends, HostConntrack
from fastfw.gateway.log import Log
from fastfw.gateway.steer import End, MapSkip, Plan, Skip, SteerError

PAUSE = 0.25
"""Seconds between looks for new ways."""

LOOKS = 16
"""Of these looks every one by this number is for connections whose time is nearly up."""

AHEAD = LEAST_SECONDS - 5
"""Seconds before its end at which a connection is asked for; more than two of the looks."""

SECOND = 1_000_000_000


class Skipping:
    """The grants of one daemon. Its rules must be in force before `start`, and be those of `plan`."""

    def __init__(self, engine: Engine, mask: int, accounted: bool, log: Log) -> None:
        self.host = HostConntrack()
        self._begin(engine, Bypass(engine, mask, accounted=accounted), log)

    def _begin(self, engine: Engine, driver: Bypass, log: Log) -> None:
        self.engine = engine
        self.log = log
        self.driver = driver
        self.revoked = 0
        self._plan: Plan | None = None
        self._generation = random.randrange(1, GENERATIONS)  # not for secrecy: other than one that was before
        self._ways = 0
        self._depth = 0
        self._blind = False
        """The kernel's table could not be asked when it was last tried: nobody would keep what skips."""
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fastfw-bypass", daemon=True)

    def prepare(self) -> None:
        """Take away what an earlier daemon left. OSError: the kernel's table cannot be asked."""
        self.host.check()
        self.host.clear(self.driver.mask)

    def plan(self, plan: Plan) -> Plan:
        """A plan of the kernel's rules, with those for connections that skip the queue as they are now."""
        return dataclasses.replace(plan, skip=self._skip(self.driver.asked()[: self._ways]))

    def _skip(self, ways: tuple[tuple[End, End], ...]) -> Skip | MapSkip:
        """What the kernel's rules are to have for connections that skip, on these ways. SteerError."""
        return Skip(self.driver.shift, self._generation, ways)

    def start(self, plan: Plan) -> None:
        """Grant from now on; the plan, by `plan`, is in force."""
        with self._lock:
            self._plan = plan
            self.driver.grant(self._generation)
        self._thread.start()

    def stop(self) -> None:
        """Grant no more; the kernel's rules are gone."""
        self._end()
        try:
            self.host.clear(self.driver.mask)
        finally:
            self.host.close()

    def _end(self) -> None:
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(10)
        self.pause()

    def pause(self) -> None:
        """Grant nothing more."""
        self.driver.grant(0)

    @contextlib.contextmanager
    def taken_back(self) -> Iterator[None]:
        """Every packet is queued while something is changed, and after it until connections are granted anew.
        SteerError: the kernel's rules could not be changed, and nothing may be."""
        with self._lock:
            if self._plan is None or self._depth:
                yield
                return
            self._depth += 1
            self.driver.grant(0)
            try:
                self._renew()
                self.revoked += 1
                yield
            finally:
                self._depth -= 1
                self.driver.grant(0 if self._blind else self._generation)

    def replan(self, plan: Plan) -> None:
        """Put another plan's rules in force. SteerError."""
        with self._lock:
            self._plan = plan
            steer.install(self.plan(plan))

    def _renew(self) -> None:
        """Give the kernel's rules another generation. SteerError."""
        assert self._plan is not None
        following = self._generation + 1
        if following == GENERATIONS:  # the first ones come round again: nothing may be left of them
            steer.change(dataclasses.replace(self._plan, skip=Skip(self.driver.shift, self._generation)))
            try:
                self.host.clear(self.driver.mask)
            except OSError as error:
                raise SteerError(f"marks in the kernel's table: {error.strerror or error}") from None
            following = 1
        before, self._generation = self._generation, following
        try:
            steer.change(self.plan(self._plan))
        except SteerError:
            self._generation = before
            raise

    def _run(self) -> None:
        looks = 0
        while not self._stopping.wait(PAUSE):
            looks += 1
            try:
                self._open_ways()
                if looks % LOOKS == 0:
                    self.look_after()
            except (SteerError, OSError) as error:
                self.log("error", "bypass_failed", error=getattr(error, "strerror", None) or error)

    def _open_ways(self) -> None:
        """Let the kernel's rules know the ways that connections have come to take."""
        with self._lock:
            count = len(self.driver.asked())
            if count == self._ways or self._plan is None or self._stopping.is_set():
                return
            before, self._ways = self._ways, count
            try:
                steer.change(self.plan(self._plan))
            except SteerError:
                self._ways = before
                raise
            self.driver.open(count)

    def look_after(self) -> None:
        """Keep what skips; where the kernel's table cannot be asked, have every packet queued until it can. SteerError,
        OSError."""
        try:
            if self._blind:
                self.host.check()
            self.keep()
        except OSError:
            with self._lock:
                self.driver.grant(0)
                if not self._blind:
                    self._renew()
                    self.revoked += 1
                    self._blind = True
            raise
        with self._lock:
            if self._blind:
                self._blind = False
                self.driver.grant(self._generation)

    def keep(self) -> int:
        """Keep the connections that the kernel's table still has; how many were nearly over."""
        now = max(self.engine.now, time.time_ns())
        table, indices = self.driver.due(now + AHEAD * SECOND)
        if not len(table):
            return 0
        rows = zip(table.tolist(), indices.tolist(), strict=True)
        names = self.engine.helper_names()
        ends = [ends_of(from_entry(row, index, now, names)) for row, index in rows]
        left = self.host.left(ends, self.driver.mask)
        self.driver.prolong(table, indices, [now + seconds * SECOND if seconds else 0 for seconds in left])
        return len(table)


class MapSkipping(Skipping):
    """The grants of one daemon, in BPF maps. Another generation is one value in the kernel, and how long ago a
    connection's packet passed stands beside its grant: neither the kernel's rules nor its table have a part in it."""

    def __init__(self, engine: Engine, directory: str, accounted: bool, log: Log) -> None:
        self.map = FlowMap(directory)
        self._programs: list[str] = []
        self._begin(engine, Bypass(engine, accounted=accounted, maps=self.map.maps), log)
        self._force()

    def prepare(self) -> None:
        """OSError: no program can be named in the directory."""
        self.map.check()

    def stop(self) -> None:
        """Grant no more; the kernel's rules are gone."""
        self._end()
        self.map.close()

    def _skip(self, ways: tuple[tuple[End, End], ...]) -> Skip | MapSkip:
        try:
            while len(self._programs) < len(ways):
                self._programs.append(str(self.map.program(len(self._programs) + 1)))
        except OSError as error:
            raise SteerError(f"{self.map.directory}: {error.strerror or error}") from None
        return MapSkip(ways, tuple(self._programs[: len(ways)]))

    def _renew(self) -> None:
        self._generation = self._generation % (GENERATIONS - 1) + 1
        try:
            if self._generation == 1:  # nothing may be left of those that were before
                self.map.force(0)
                self.map.clear()
            self._force()
        except OSError as error:
            raise SteerError(f"the flow map: {error.strerror or error}") from None

    def _force(self) -> None:
        self.map.force(self._generation << BITS_OF_WAY)

    def look_after(self) -> None:
        """Keep what skips."""
        self.keep()

    def keep(self) -> int:
        """Keep the connections of which the maps have heard; how many were nearly over."""
        now = max(self.engine.now, time.time_ns())
        table, indices = self.driver.due(now + AHEAD * SECOND)
        heard = self.driver.heard(table)
        self.driver.prolong(table, indices, np.where(heard[:, 1] > 0, now - heard[:, 0] + heard[:, 1], 0))
        return len(table)


def ends_of(one: Connection) -> Ends:
    """A connection's name in the kernel's table."""
    return one.family, one.source, one.destination, one.protocol, one.source_port, one.destination_port
