"""Sends the answers of REJECT rules, within limits: through raw sockets, or where they are not allowed by a Courier."""

from __future__ import annotations

import errno
import socket
import struct
import threading
import time
from collections import Counter

from fastfw.drivers.rejected import Rejected
from fastfw.engine import Engine
from fastfw.gateway.answers import Answer, Silence, answer
from fastfw.gateway.config import RejectSection
from fastfw.gateway.courier import Courier
from fastfw.gateway.limits import Bucket, Buckets
from fastfw.gateway.log import Log
from fastfw.gateway.routes import ANYCAST, LOCAL, UNICAST, Routes
from fastfw.ruleset.ext.reject import DEFAULT, Reject

SO_MARK = 36
IPV6_HDRINCL = 36
IPPROTO_RAW = 255
ROOM = 1 << 20
"""Bytes that may wait in a socket: an answer is lost rather than waited for."""


class Answerer:
    """One for all queues."""

    def __init__(self, engine: Engine, section: RejectSection, log: Log) -> None:
        self.engine = engine
        self.section = section
        self.log = log
        self.sent: Counter[str] = Counter()
        """Answers sent, by kind."""
        self.silent: Counter[str] = Counter()
        """Packets that got none, by why."""
        self._lock = threading.Lock()
        self._total = Bucket(section.rate, max(section.burst, 1))
        self._hosts = Buckets(section.host_rate, max(section.host_burst, 1))
        self._sockets: dict[str, socket.socket] = {}
        self.courier: Courier | None = None
        """What sends instead of raw sockets, which need CAP_NET_RAW."""
        self._routes: Routes | None = None
        self._kinds: dict[int, tuple[object, dict[int, str]]] = {}

    def open(self, steered: bool = True) -> bool:
        """Open what sends; False, and a line in the log, where that cannot be. `steered`: the kernel's rules will serve
        a courier."""
        try:
            self._open_sockets()
        except OSError as error:
            self.close()
            if not steered or not isinstance(error, PermissionError):
                hint = "REJECT answers need CAP_NET_RAW"
                self.log("warning", "answers_off", error=error.strerror, hint=hint)
                return False
        else:
            return True
        try:
            self.courier = Courier(self.section.queue, self.section.mark)
            self._routes = Routes()
        except OSError as error:
            self.close()
            self.log("warning", "answers_off", error=error.strerror or error)
            return False
        self.log("info", "answers_by_queue", queue=self.section.queue)
        return True

    def _open_sockets(self) -> None:
        """Open the raw sockets. OSError."""
        wanted = {
            "ipv4": (socket.AF_INET, IPPROTO_RAW, ()),
            "reset6": (socket.AF_INET6, IPPROTO_RAW, ((socket.IPPROTO_IPV6, IPV6_HDRINCL),)),
            "icmp6": (socket.AF_INET6, socket.IPPROTO_ICMPV6, ()),
        }
        self._routes = Routes()
        for name, (family, protocol, options) in wanted.items():
            try:
                made = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
            except OSError as error:
                if family == socket.AF_INET6 and error.errno == errno.EAFNOSUPPORT:
                    continue  # a kernel without IPv6
                raise
            self._sockets[name] = made
            for level, option in options:
                made.setsockopt(level, option, 1)
            made.setsockopt(socket.SOL_SOCKET, SO_MARK, struct.pack("=I", self.section.mark))
            made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ROOM)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 0)
            if name == "icmp6":  # it only sends: no message is to be copied to it
                made.setsockopt(socket.IPPROTO_ICMPV6, 1, b"\xff" * 32)

    def configure(self, section: RejectSection) -> None:
        """Answer as often as this says from now on."""
        with self._lock:
            self.section = section
            self._total = Bucket(section.rate, max(section.burst, 1))
            self._hosts = Buckets(section.host_rate, max(section.host_burst, 1))

    def close(self) -> None:
        """Close the sockets; what is refused from now on is dropped unanswered."""
        with self._lock:
            for made in self._sockets.values():
                made.close()
            self._sockets.clear()
            if self.courier is not None:
                self.courier.close()
                self.courier = None
            if self._routes is not None:
                self._routes.close()
                self._routes = None

    def __call__(self, rejected: Rejected) -> None:
        """Answer a refused packet, or count why not. From any thread; never waits."""
        with self._lock:
            try:
                if self._routes is None:
                    raise Silence("off")
                now = time.monotonic()
                if not self._total.take(now):
                    raise Silence("rate")
                made = answer(rejected, self.kind(rejected))
                self._check(rejected, made)
                if made.kind == "unreachable" and not self._hosts.take(made.target, now):
                    raise Silence("host_rate")
                self._send(made, rejected)
                self.sent[made.kind] += 1
            except Silence as why:
                self.silent[str(why)] += 1
            except OSError as error:
                self.silent["error"] += 1
                self.log("warning", "answer_failed", error=error.strerror or error)

    def kind(self, rejected: Rejected) -> str:
        """What the rule that refused the packet wants it answered with."""
        program = self.engine._rules(rejected.family)
        known = self._kinds.get(rejected.family)
        if known is None or known[0] is not program:
            known = self._kinds[rejected.family] = (program, self._read(rejected.family))
        return known[1].get(rejected.rule, DEFAULT[rejected.family])

    def _read(self, family: int) -> dict[int, str]:
        rules = self.engine.ruleset(family)
        found: dict[int, str] = {}
        if rules is not None:
            for table, chain, first, _end in self.engine._rules(family).chains:
                for number, rule in enumerate(rules.tables[table].chains[chain].rules, first):
                    if isinstance(rule.target, Reject):
                        found[number] = rule.target.answer
        return found

    def _check(self, rejected: Rejected, made: Answer) -> None:
        """Silence: by the kernel's own routes the packet was sent to many, or by nobody in particular."""
        assert self._routes is not None
        size = 4 if rejected.family == 4 else 16
        at = 16 if rejected.family == 4 else 24
        if self._routes.kind(rejected.packet[at : at + size]) not in (UNICAST, LOCAL, ANYCAST, None):
            raise Silence("group")
        if self._routes.kind(made.target) not in (UNICAST, LOCAL):
            raise Silence("source")

    def _send(self, made: Answer, rejected: Rejected) -> None:
        scope = 0
        if made.family == 6 and made.target[0] == 0xFE and made.target[1] & 0xC0 == 0x80:
            # link local: out by where it came in
            scope = socket.if_nametoindex(rejected.in_interface) if rejected.in_interface else 0
        if self.courier is not None:
            self.courier.send(made.family, made.target, scope, made.whole)
            return
        name = "ipv4" if made.family == 4 else "reset6" if made.kind == "reset" else "icmp6"
        sock = self._sockets.get(name)
        if sock is None:
            raise Silence("off")
        if made.family == 4:
            sock.sendto(made.data, (socket.inet_ntop(socket.AF_INET, made.target), 0))
            return
        to = (socket.inet_ntop(socket.AF_INET6, made.target), 0, 0, scope)
        extra = []
        if made.source is not None:
            info = made.source + struct.pack("=I", scope)
            extra.append((socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info))
        sock.sendmsg([made.data], extra, 0, to)
