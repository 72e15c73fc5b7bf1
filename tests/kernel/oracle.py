"""What the running kernel says of a packet: state, direction and flags of its connection.

The oracle keeps a child process in a network namespace of its own (see ``namespace.py``); the calling process and the
host's namespace are never changed, save for the few settings all namespaces share, which are put back on exit.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from .namespace import ANSWER_BIT, ASSURED_BIT, EXPECTED_BIT, REPLY_BIT, SEEN_REPLY_BIT, STATE_CODES

STATES = ("-", *STATE_CODES)
"""Names of the state codes; index 0 stands for a packet that did not come out."""

ANSWER = np.dtype(
    [
        ("answered", "?"),
        ("state", "u1"),
        ("direction", "u1"),
        ("assured", "?"),
        ("seen_reply", "?"),
        ("expected", "?"),
        ("time_ns", "i8"),
        ("late_ns", "i8"),
    ]
)
"""One record a packet. ``direction`` is 0 for original, 1 for reply. The kernel judged the packet between ``time_ns``
and ``late_ns``, whole ticks of its count: mostly they are one, but a busy machine may let it move on between."""

TICK = round(time.clock_getres(6) * 1e9)
"""Nanoseconds a tick of the kernel's count, 1/HZ: what CLOCK_MONOTONIC_COARSE moves by."""

RECEIVE_ROOM = Path("/proc/sys/net/core/rmem_default")
IN_DEVICE, OUT_DEVICE = "eth0", "eth1"
SHARED_SETTINGS = ("nf_conntrack_max", "nf_conntrack_expect_max", "nf_conntrack_buckets")
PROGRAMS = ("ip", "tc", "iptables-legacy-restore", "ip6tables-legacy-restore", "iptables-legacy-save")


def missing() -> str | None:
    """Why the kernel cannot be asked here, in one line; None if it can."""
    if os.geteuid() != 0:
        return "the kernel is asked by root only"
    if not Path("/dev/net/tun").exists():
        return "the kernel is asked through /dev/net/tun, which is missing"
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    return f"the kernel is asked with {', '.join(absent)}, not installed" if absent else None


def setting_path(name: str) -> str:
    """The place of a setting under /proc/sys/net; conntrack's settings may drop their directory."""
    return name if "/" in name else f"netfilter/{name}"


def pack(packets: Sequence[bytes]) -> tuple[bytes, npt.NDArray[np.uint64], npt.NDArray[np.uint32]]:
    """One buffer, offsets and lengths, the form in which batches of packets travel."""
    lengths = np.fromiter(map(len, packets), np.uint32, len(packets))
    offsets = np.zeros(len(packets), np.uint64)
    np.cumsum(lengths[:-1], out=offsets[1:])
    return b"".join(packets), offsets, lengths


class Oracle:
    """A gateway in a namespace of its own that answers what its kernel thinks of packets.

    Parameters
    ----------
    sysctls:
        settings by name (``nf_conntrack_tcp_loose``) or by path under /proc/sys/net (``ipv4/ip_default_ttl``).
    rules4, rules6:
        iptables-save text loaded before the rules that answer. A packet they drop has no answer.
    helpers:
        ``(name, protocol, port)`` of connection tracking helpers to attach.
    """

    def __init__(
        self,
        sysctls: dict[str, int | str] | None = None,
        rules4: str | None = None,
        rules6: str | None = None,
        helpers: Sequence[tuple[str, str, int]] = (),
    ) -> None:
        self._sysctls = dict(sysctls or {})
        self._rules = (rules4, rules6, list(helpers))
        self._put_back: dict[str, str] = {}
        self._child: subprocess.Popen[bytes] | None = None
        self._epoch: int | None = None
        self.fresh = True
        """Nothing was asked since the namespace was made."""

    @property
    def kernel(self) -> str:
        """The release of the kernel that answers."""
        return os.uname().release

    def __enter__(self) -> Self:
        self._start()
        return self

    def _start(self) -> None:
        self.fresh = True
        program = Path(__file__).with_name("namespace.py")
        self._child = subprocess.Popen([sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            self._call("", IN_DEVICE, OUT_DEVICE)
            self._call("load", *self._rules)
            for name, value in self._sysctls.items():
                self.set(name, value)
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the child, and with it the namespace; put shared settings back."""
        for path, value in self._put_back.items():
            (Path("/proc/sys/net") / path).write_text(value)
        self._put_back.clear()
        self._stop()

    def _stop(self) -> None:
        if self._child is not None and self._child.stdin and self._child.stdout:
            self._child.stdin.close()
            self._child.stdout.close()
            self._child.wait(timeout=30)
        self._child = None

    def _call(self, method: str, *arguments: object) -> Any:
        if self._child is None or self._child.stdin is None or self._child.stdout is None:
            raise RuntimeError("the oracle is not open")
        pickle.dump((method, arguments), self._child.stdin, pickle.HIGHEST_PROTOCOL)
        self._child.stdin.flush()
        good, value = pickle.load(self._child.stdout)
        if not good:
            raise RuntimeError(value)
        return value

    def ask(
        self,
        packets: Sequence[bytes] | bytes,
        offsets: npt.NDArray[np.uint64] | None = None,
        lengths: npt.NDArray[np.uint32] | None = None,
    ) -> npt.NDArray[np.void]:
        """Send packets in order; returns one ``ANSWER`` record a packet.

        Either a sequence of packets, or one buffer with the offset and length of each.
        """
        if offsets is None or lengths is None:
            packets, offsets, lengths = pack(packets)  # type: ignore[arg-type]
        self.fresh = False
        starts, sizes = offsets.astype(np.uint64).tobytes(), lengths.astype(np.uint32).tobytes()
        return self._answers(*self._call("ask", bytes(packets), starts, sizes))  # type: ignore[arg-type]

    def follow(self, packets: Sequence[bytes]) -> tuple[npt.NDArray[np.void], list[list[str]]]:
        """As `ask`, and the lines of /proc/net/nf_conntrack_expect after each packet."""
        data, offsets, lengths = pack(packets)
        heard = self._call("follow", data, offsets.tobytes(), lengths.tobytes())
        codes, times, late = (b"".join(each[place] for each in heard) for place in range(3))
        return self._answers(codes, times, late), [each[3] for each in heard]

    def _answers(self, codes: bytes, *times: bytes) -> npt.NDArray[np.void]:
        """Records of what the child said: a code a packet, and the ticks before and after it, uint32."""
        code = np.frombuffer(codes, np.uint8)
        answers = np.zeros(len(code), ANSWER)
        answers["answered"] = code & ANSWER_BIT != 0
        answers["state"] = code & 7
        answers["direction"] = code & REPLY_BIT != 0
        answers["assured"] = code & ASSURED_BIT != 0
        answers["seen_reply"] = code & SEEN_REPLY_BIT != 0
        answers["expected"] = code & EXPECTED_BIT != 0
        for name, readings in zip(("time_ns", "late_ns"), times, strict=True):
            answers[name] = self._moments(np.frombuffer(readings, np.uint32))
        return answers

    def _moments(self, ticks: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
        """Nanoseconds of some clock that moves with the kernel's ticks: since a second before the first reading."""
        if self._epoch is None:
            self._epoch = int(ticks[0]) - 1_000_000_000 // TICK if len(ticks) else None
        since = (ticks.astype(np.int64) - (self._epoch or 0)) & 0xFFFFFFFF  # the count is 32 bits of it and wraps
        return since * TICK

    def moment(self) -> int:
        """The kernel's tick now, in the clock of answers, ns."""
        return int(self._moments(np.array([self._call("ticks")], np.uint32))[0])

    def say(self, packet: bytes) -> str:
        """One packet's answer in words: ``ESTABLISHED REPLY SEEN_REPLY ASSURED``, or ``-``."""
        return words(self.ask([packet])[0])

    def table(self) -> list[str]:
        """The lines of /proc/net/nf_conntrack."""
        return list(self._call("table"))

    def expectations(self) -> list[str]:
        """The lines of /proc/net/nf_conntrack_expect."""
        return list(self._call("expectations"))

    def statistics(self) -> str:
        """The text of /proc/net/stat/nf_conntrack: one line a processor."""
        return str(self._call("statistics"))

    def counters(self, family: int) -> str:
        """``iptables-save -c`` text, the answering rules included."""
        return str(self._call("counters", family))

    def replies(self) -> list[bytes]:
        """Packets the kernel itself sent back through the first device after the last packet asked."""
        return list(self._call("replies"))

    def load(self, rules4: str | None, rules6: str | None) -> None:
        """Put tables, as iptables-save text, in the place of those of the same names; the answering rules follow."""
        self._call("load", rules4, rules6, [])

    def command(self, *words: str) -> str:
        """Run a program inside the namespace; returns what it printed."""
        return str(self._call("command", *words))

    def get(self, name: str) -> str:
        """The value of a setting."""
        return str(self._call("get", setting_path(name)))

    def set(self, name: str, value: int | str) -> None:
        """Change a setting; those all namespaces share are put back on exit."""
        path = setting_path(name)
        if name not in SHARED_SETTINGS:
            self._call("set", path, value)
            return
        shared = Path("/proc/sys/net") / path
        self._put_back.setdefault(path, shared.read_text())
        shared.write_text(f"{value}\n")

    def timeout_policy(self, name: str, family: int, protocol: int, seconds: dict[int, int]) -> None:
        """Make a timeout policy for `-j CT --timeout`; `seconds` by the number of each timeout, from 1."""
        self._call("timeout_policy", name, family, protocol, seconds)

    def listen(self, *options: str) -> None:
        """Begin to hear what `conntrack -E` tells.

        The socket on which it hears has the room that sockets are given by default, whatever its -b says, and a busy
        machine lets it overflow: the default, which all namespaces share, is raised while the socket is made.
        """
        with RECEIVE_ROOM.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            usual = RECEIVE_ROOM.read_text()
            RECEIVE_ROOM.write_text(str(64 << 20))
            try:
                self._call("listen", *options)
            finally:
                RECEIVE_ROOM.write_text(usual)

    def events(self) -> list[str]:
        """The lines that `conntrack -E` told since `listen`."""
        return list(self._call("events"))

    def flush(self) -> None:
        """Forget every connection and expectation; fragments that wait for others stay until ``restart``."""
        self._call("flush")

    def restart(self) -> None:
        """Begin again in a fresh namespace, set up as this one was at first."""
        self._stop()
        self._start()


def words(answer: np.void) -> str:
    """An ``ANSWER`` record in words."""
    if not answer["answered"]:
        return "-"
    parts = [STATES[answer["state"]]]
    parts += ["REPLY"] * int(answer["direction"])
    parts += [name.upper() for name in ("seen_reply", "assured", "expected") if answer[name]]
    return " ".join(parts)
