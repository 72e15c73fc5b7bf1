"""A thread for each queue, and what happens when a queue fails."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from fastfw.drivers.rejected import Rejected
from fastfw.engine import Engine
from fastfw.gateway.config import QueueSection
from fastfw.gateway.log import Log

if TYPE_CHECKING:
    from fastfw.drivers.bypass import Bypass


class AnyQueue(Protocol):
    """What a driver's queue can do."""

    def run(self) -> None: ...
    def stop(self) -> None: ...
    def close(self) -> None: ...
    def statistics(self) -> dict[str, int]: ...


Opener = Callable[[int, int], AnyQueue]
"""Opens the queue of a number with a copy range."""

LOSSES = {"queue_dropped": "queue_full", "user_dropped": "socket_full", "refused_verdicts": "verdicts_refused"}
"""Counts of packets that were lost: their names in a queue's statistics, and in the log."""

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 5.0
"""Seconds between tries to have a failed queue back."""


def queue_opener(
    engine: Engine, section: QueueSection, on_reject: Callable[[Rejected], object], bypass: Bypass | None = None
) -> Opener:
    """Opens the kernel's queues by the driver of the configuration. OSError where that driver is not installed."""
    if section.driver == "netfilterqueue":
        return portable_opener(engine, section, on_reject)
    from fastfw.drivers.nfqueue import Queue

    def opened(number: int, copy_range: int) -> AnyQueue:
        return Queue(
            engine,
            number,
            copy_range=copy_range,
            length=section.length,
            fail_open=section.fail_open,
            gso=section.gso,
            receive_buffer=section.receive_buffer,
            on_reject=on_reject,
            bypass=bypass,
        )

    return opened


def portable_opener(engine: Engine, section: QueueSection, on_reject: Callable[[Rejected], object]) -> Opener:
    """Opens the kernel's queues by the NetfilterQueue package, which has a copy range of its own."""
    from fastfw.drivers.netfilterqueue import Queue

    def opened(number: int, copy_range: int) -> AnyQueue:
        try:
            return Queue(
                engine, number, length=section.length, receive_buffer=section.receive_buffer, on_reject=on_reject
            )
        except ImportError as error:
            raise OSError(str(error)) from None

    return opened


class Worker:
    """Serves one queue until it is stopped; a queue that fails is opened anew. Meanwhile the kernel drops its packets,
    or lets them pass where the rules fail open."""

    def __init__(self, number: int, opener: Opener, copy_range: int, log: Log) -> None:
        self.number = number
        self.failures = 0
        self.log = log
        self._opener = opener
        self._copy_range = copy_range
        self._queue: AnyQueue | None = opener(number, copy_range)
        self._stopping = threading.Event()
        self._past: Counter[str] = Counter()
        self._told: dict[str, int] = {}
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"fastfw-queue-{number}", daemon=True)

    def start(self) -> None:
        """Serve, in a thread of its own."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def serving(self) -> bool:
        """Whether the queue is open."""
        return self._queue is not None

    def want(self, copy_range: int) -> None:
        """Have so many bytes of each packet copied from now on."""
        with self._lock:
            if copy_range != self._copy_range:
                self._copy_range = copy_range
                if self._queue is not None:
                    self._queue.stop()  # the thread opens it anew

    def stop(self) -> None:
        """Stop serving and give the queue back."""
        with self._lock:
            self._stopping.set()
            if self._queue is not None:
                self._queue.stop()
        if self._thread.ident is not None:
            self._thread.join(10)
        with self._lock:
            self._close()

    def statistics(self) -> dict[str, int]:
        """The queue's counts, those before a failure included."""
        with self._lock:
            counts = self._past.copy()
            if self._queue is not None:
                counts.update(self._queue.statistics())
            counts["failures"] = self.failures
            return dict(counts)

    def lost(self) -> dict[str, Any]:
        """What was lost since the last call, by why. The kernel's counts begin anew with a queue opened anew."""
        counts = self.statistics()
        now = {said: counts.get(name, 0) for name, said in LOSSES.items()}
        before, self._told = self._told, now
        return {said: count - before.get(said, 0) for said, count in now.items() if count > before.get(said, 0)}

    def _close(self) -> None:
        if self._queue is None:
            return
        counts = self._queue.statistics()
        for name in ("received", "accepted", "dropped", "repeated", "refused_verdicts"):
            self._past[name] += counts.get(name, 0)
        try:
            self._queue.close()
        except OSError as error:
            self.log("warning", "queue_close_failed", queue=self.number, error=error.strerror)
        self._queue = None

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            queue = self._queue
            try:
                if queue is None:
                    with self._lock:
                        if self._stopping.is_set():
                            return
                        self._queue = self._opener(self.number, self._copy_range)
                    self.log("notice", "queue_opened", queue=self.number, copy_range=self._copy_range)
                    continue
                began = time.monotonic()
                queue.run()
                if time.monotonic() - began > LONGEST_PAUSE:
                    pause = FIRST_PAUSE
                if not self._stopping.is_set():
                    with self._lock:
                        self._close()
            except (OSError, ValueError) as error:
                self.failures += 1
                said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                self.log("error", "queue_failed", queue=self.number, error=said, retry_seconds=pause)
                with self._lock:
                    self._close()
                self._stopping.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE)


def waiting(number: int) -> int:
    """Packets that the kernel holds for a queue now."""
    try:
        with open("/proc/net/netfilter/nfnetlink_queue") as file:
            for line in file:
                fields = line.split()
                if int(fields[0]) == number:
                    return int(fields[2])
    except OSError:
        pass
    return 0


class Health:
    """Whether the workers get on: a queue with packets waiting must have been received from since the last look."""

    def __init__(self) -> None:
        self._received: dict[int, int] = {}
        self._waiting: dict[int, int] = {}

    def stuck(self, workers: list[Worker]) -> list[int]:
        """The queues that stood still, packets waiting, between the last look and this one; of dead threads too."""
        found = []
        for worker in workers:
            received, now = worker.statistics()["received"], waiting(worker.number)
            before = self._received.get(worker.number)
            if not worker.alive or (now and self._waiting.get(worker.number) and received == before):
                found.append(worker.number)
            self._received[worker.number], self._waiting[worker.number] = received, now
        return found
