"""Lines in the daemon's log for packets that LOG, NFLOG and TRACE rules tell of."""

from __future__ import annotations

import threading
import time
from collections import Counter

from fastfw.engine import Engine
from fastfw.gateway.config import LogSection
from fastfw.gateway.limits import Buckets
from fastfw.gateway.log import LEVELS, Log
from fastfw.logs import LogRecord

PAUSE = 0.25
"""Seconds between two looks."""

ROOM = 2048
"""Packets that are kept between two looks; of more in that time the first are counted, not kept."""

SNAP = 128
"""Bytes of a packet: its headers, and those that an ICMP error quotes."""

NFLOG_ONLY = ("group", "threshold", "size")

LEFT_OUT_IF_EMPTY = ("prefix", "in_interface", "out_interface", "mark")


class PacketLog:
    """Takes what rules told of from an engine, and writes a line for each: of every rule so many a second."""

    def __init__(self, engine: Engine, section: LogSection, log: Log) -> None:
        self.engine = engine
        self.log = log
        self.counts = Counter(written=0, suppressed=0, below_level=0, lost=0)
        """Packets since the start: told of; beyond the rate; of a level that is not written; come to be forgotten
        unread."""
        self._suppressed: Counter[tuple[int, str, str]] = Counter()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._wanted = False
        self._thread = threading.Thread(target=self._run, name="fastfw-packets", daemon=True)
        self.configure(section)

    def configure(self, section: LogSection) -> None:
        """Write the next lines so."""
        with self._lock:
            self._buckets = Buckets(section.packet_rate, section.packet_burst)
            if section.packets != self._wanted:
                self._wanted = section.packets
                self.engine.watch_logs(ROOM if section.packets else 0, SNAP)

    def start(self) -> None:
        """Look now and then, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Look a last time, and no more."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(10)
        self.look()

    def look(self) -> None:
        """Write what there is."""
        with self._lock:
            if not self._wanted:
                return
            records, lost = self.engine.logs()
            for record in records:
                self._tell(record)
        if lost:
            self.counts["lost"] += lost
            self.log("warning", "packets_not_logged", lost=lost)

    def _tell(self, record: LogRecord) -> None:
        if record.level > self.log.level:
            self.counts["below_level"] += 1
            return
        key = record.family, record.rule, record.prefix
        if not self._buckets.take(key, time.monotonic()):
            self._suppressed[key] += 1
            self.counts["suppressed"] += 1
            return
        fields = record.as_dict()
        level = LEVELS[fields.pop("level")]
        if record.kind != "NFLOG":
            for name in NFLOG_ONLY:
                del fields[name]
        told = {name: value for name, value in fields.items() if value or name not in LEFT_OUT_IF_EMPTY}
        self.counts["written"] += 1
        self.log(level, "packet", limited=False, **told, suppressed=self._suppressed.pop(key, None))

    def _run(self) -> None:
        while not self._stopping.wait(PAUSE):
            try:
                self.look()
            except Exception as error:  # packets go on, and so do the next looks
                self.log("error", "fault", at=__name__, error=f"{type(error).__name__}: {error}")
