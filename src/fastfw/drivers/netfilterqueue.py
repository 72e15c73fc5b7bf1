"""The kernel's packet queue by way of the NetfilterQueue package (`pip install 'fastfw[netfilterqueue]'`).

For machines where that package is what there is: it calls Python for every packet and answers each with a system call,
so `fastfw.drivers.nfqueue` is many times as fast. It also tells less: checksums are taken as right, since the kernel's
word on them is not passed on; packets are cut at 4016 bytes, so helpers and payload matches see no more; super-packets
are taken apart by the kernel first; and a queue that is full drops.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

from fastfw.core.engine import Core
from fastfw.core.terms import Verdict
from fastfw.drivers.netlink import QueueError, queue_line
from fastfw.drivers.rejected import Rejected
from fastfw.drivers.single import hook_at, judge

__all__ = ["Queue", "QueueError"]

COPY_MOST = 4016
"""Bytes of a packet that the package hands over at most."""

SECOND = 1_000_000_000
REASSEMBLY = 60 * SECOND
"""After which a held fragment is dropped whatever happened to its datagram."""

DROPPING = (Verdict.VERDICT_DROP, Verdict.VERDICT_REJECT)


class _Stop(Exception):
    """Leaves the package's loop, which ends by itself only when no packet waits."""


class Queue:
    """One NFQUEUE queue and the engine that judges its packets; its methods are nfqueue.Queue's.

    `length` is how many packets the kernel holds for us, `on_reject(rejected)` is called with a Rejected for packets
    that a REJECT rule drops. ImportError without the package, PermissionError without CAP_NET_ADMIN; QueueError where
    the kernel refuses, as when another program has the queue.
    """

    def __init__(
        self,
        engine: Core,
        number: int = 0,
        *,
        length: int = 4096,
        receive_buffer: int = 16 << 20,
        on_reject: Callable[[Rejected], object] | None = None,
    ) -> None:
        if not 0 <= number <= 65535:
            raise ValueError(f"number: a queue from 0 to 65535 expected, not {number}")
        if length < 1:
            raise ValueError(f"length: at least one packet expected, not {length}")
        try:
            from netfilterqueue import NetfilterQueue
        except ImportError:
            raise ImportError(
                "this driver needs the NetfilterQueue package: pip install 'fastfw[netfilterqueue]', for which "
                "libnetfilter-queue's headers must be installed"
            ) from None
        self.number = number
        self.received = self.accepted = self.dropped = 0
        self._engine = engine
        self._on_reject = on_reject
        self._log = logging.getLogger("fastfw.drivers")
        self._most_held = length // 2
        self._held: dict[int, list[tuple[int, Any]]] = {}
        self._held_count = 0
        self._names: dict[int, str] = {}
        self._tend_at = 0
        self._stopping = self._closing = self._leave = False
        self._busy = threading.RLock()
        # the engine's clock is the wall clock as it was now, carried on by one that never jumps
        self._clock_offset = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._queue: Any = NetfilterQueue()
        try:
            self._queue.bind(number, self._judge, max_len=length, range=COPY_MOST, sock_len=receive_buffer)
        except OSError as error:
            if queue_line(number) is not None:
                raise QueueError(f"queue {number}: another program has it") from error
            if os.geteuid() != 0:
                raise PermissionError(f"queue {number}: not allowed to bind it: CAP_NET_ADMIN is needed") from error
            raise QueueError(f"queue {number}: the kernel would not bind it: {error}") from error
        self._socket: int = self._queue.get_fd()
        os.set_blocking(self._socket, False)
        self._wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def close(self) -> None:
        """Give the queue back, once `run` has ended if a thread is in it; the kernel drops what it still holds for it
        (or lets it through: --queue-bypass)."""
        self._closing = True
        self.stop()
        with self._busy:
            self._shut()

    def _shut(self) -> None:
        if self._socket >= 0:
            self._socket = -1
            self._held.clear()
            self._queue.unbind()
            os.close(self._wakeup)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def fileno(self) -> int:
        """The socket, for select and event loops; -1 once closed."""
        return self._socket

    @property
    def clock(self) -> int:
        """What the engine's clock reads now, ns."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) + self._clock_offset

    def stop(self) -> None:
        """End `run`, from any thread or signal handler; one that has not begun ends at once."""
        # woken first: `run` may end as soon as it reads the flag, and takes the wakeup with it
        if self._socket >= 0:
            os.eventfd_write(self._wakeup, 1)
        self._stopping = True

    def poll(self) -> int:
        """Judge what has come, without waiting; how many packets that was."""
        with self._busy:
            if self._socket < 0:
                raise ValueError("the queue is closed")
            before = self.received
            self._leave = False
            self._serve()
            return self.received - before

    def run(self) -> None:
        """Judge packets until `stop` is called. QueueError where the socket fails."""
        if not self._busy.acquire(blocking=False):
            raise RuntimeError(f"queue {self.number}: another thread serves it")
        try:
            if self._socket < 0:
                raise ValueError("the queue is closed")
            ready = select.poll()
            ready.register(self._socket, select.POLLIN)
            ready.register(self._wakeup, select.POLLIN)
            self._leave = True
            while not self._stopping:
                ready.poll(1000)
                self._serve()
            self._stopping = False
            with suppress(BlockingIOError):  # another `stop` came while this one was obeyed
                os.eventfd_read(self._wakeup)
        finally:
            if self._closing:
                self._shut()
            self._busy.release()

    def statistics(self) -> dict[str, int]:
        """Counts of this queue: received, accepted, dropped; held: fragments that wait now; and the kernel's own
        queue_dropped (the queue was full) and user_dropped (the socket was)."""
        fields = queue_line(self.number) or ["0"] * 7
        return {
            "received": self.received,
            "accepted": self.accepted,
            "dropped": self.dropped,
            "held": self._held_count,
            "queue_dropped": int(fields[5]),
            "user_dropped": int(fields[6]),
        }

    def _serve(self) -> None:
        try:
            self._queue.run(block=False)
        except _Stop:
            return
        except OSError as error:
            raise QueueError(error.errno, f"queue {self.number}: {error.strerror}") from error
        now = self.clock
        if now >= self._tend_at:
            self._tend_at = now + SECOND
            self._names.clear()
            for datagram in [key for key, pieces in self._held.items() if pieces[0][0] <= now]:
                self._release(datagram, False)

    def _name(self, index: int) -> str:
        """An interface's name; asked for anew every second, since interfaces come and go."""
        if index not in self._names:
            try:
                self._names[index] = socket.if_indextoname(index) if index else ""
            except OSError:
                self._names[index] = ""
        return self._names[index]

    def _judge(self, packet: Any) -> None:
        payload: bytes = packet.get_payload()
        self.received += 1
        now = self.clock
        iif = self._name(packet.indev)
        hook = hook_at(packet.hook, packet.indev != 0)
        mark: int = packet.mark
        hardware: bytes = packet.get_hw() or b""
        verdict, after, datagram, rule, family = judge(
            self._engine, payload, _length(payload), hook, iif, self._name(packet.outdev), mark, now, hardware
        )
        if verdict == Verdict.VERDICT_HOLD:
            self._hold(datagram, packet, now)
        else:
            passes = verdict not in DROPPING
            if verdict == Verdict.VERDICT_REJECT and self._on_reject is not None:
                try:
                    self._on_reject(Rejected(payload, family, hook, rule, iif, True))
                except Exception:
                    self._log.exception("queue %d: on_reject failed", self.number)
            if datagram:
                self._release(datagram, passes)
            if passes and after != mark:
                packet.set_mark(after)
            self._answer(packet, passes)
        if self._leave and self._stopping:
            raise _Stop

    def _answer(self, packet: Any, passes: bool) -> None:
        if passes:
            self.accepted += 1
            packet.accept()
        else:
            self.dropped += 1
            packet.drop()

    def _hold(self, datagram: int, packet: Any, now: int) -> None:
        """Let a fragment wait. Half the queue may: where more would, the datagram that began first goes."""
        if self._held_count >= self._most_held and self._held:
            self._release(next(iter(self._held)), False)
        packet.retain()
        self._held.setdefault(datagram, []).append((now + REASSEMBLY, packet))
        self._held_count += 1

    def _release(self, datagram: int, passes: bool) -> None:
        """Give the held pieces of a datagram a verdict, in the order they came."""
        pieces = self._held.pop(datagram, [])
        self._held_count -= len(pieces)
        for _until, packet in pieces:
            self._answer(packet, passes)


def _length(packet: bytes) -> int:
    """The length of an IP packet as its header says: the package does not tell whether it was cut."""
    if len(packet) >= 40 and packet[0] >> 4 == 6:
        return 40 + int.from_bytes(packet[4:6], "big")
    return int.from_bytes(packet[2:4], "big") if len(packet) >= 20 else len(packet)
