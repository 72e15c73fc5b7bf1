"""A private network namespace that forwards packets and says what the kernel thought of each.

This file is a program of its own: the oracle starts it as a child process, so that only the child ever leaves the
host's namespace. It reads pickled ``(method, arguments)`` requests from standard input and answers each on standard
output with ``(True, value)`` or ``(False, message)``.

Inside the namespace two TUN devices stand for the two sides of a gateway. Whatever is written into the first is
routed out through the second, and the last rules it meets write the kernel's verdict about its connection into the
TOS byte (traffic class in IPv6). A write to a TUN device runs the whole receive path before it returns, so one read
after one write finds the answer, or finds that there is none.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import pickle
import platform
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
CLONE_NEWNET = 0x40000000
ROUTING_TABLE = "100"
LONGEST_PACKET = 65_535

# How an answer is written into the TOS byte: a state code in the three low bits, one bit a fact above them. The top
# bit is always set, so that a byte that was never rewritten cannot pass for an answer.
STATE_CODES = {"NEW": 1, "ESTABLISHED": 2, "RELATED": 3, "INVALID": 4, "UNTRACKED": 5}
REPLY_BIT, ASSURED_BIT, SEEN_REPLY_BIT, EXPECTED_BIT, ANSWER_BIT = 0x08, 0x10, 0x20, 0x40, 0x80

NETLINK_NETFILTER = 12
NLM_F_REQUEST, NLM_F_ACK = 1, 4
CONNTRACK_DELETE = 0x0102
EXPECTATION_DELETE = 0x0202
TIMEOUT_NEW = 0x0800
NLM_F_CREATE, NLA_NESTED = 0x400, 0x8000

BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
"""The number of bpf(2) on each machine, and of what is asked of it."""
PROG_LOAD, PROG_RUN = 5, 10
TYPE_SYSCALL, SLEEPABLE, JIFFIES64 = 31, 1 << 4, 118
CALL, EXIT = 0x85, 0x95
ROOM = 128
"""Bytes of a request; the kernel ignores zeros behind what it knows."""


def marking_rules(out_device: str) -> str:
    """The mangle rules that answer, as iptables-restore text. They stand last, after every rule of the user's."""
    facts = [
        *((f"--ctstate {state}", code) for state, code in STATE_CODES.items()),
        ("--ctdir REPLY", REPLY_BIT),
        ("--ctstatus ASSURED", ASSURED_BIT),
        ("--ctstatus SEEN_REPLY", SEEN_REPLY_BIT),
        ("--ctstatus EXPECTED", EXPECTED_BIT),
    ]
    lines = [f"-A POSTROUTING -o {out_device} -j TOS --set-tos {ANSWER_BIT:#x}/0xff"]
    lines += [
        f"-A POSTROUTING -o {out_device} -m conntrack {fact} -j TOS --set-tos {bits:#x}/{bits:#x}"
        for fact, bits in facts
    ]
    return "\n".join(["*mangle", *lines, "COMMIT", ""])


IPV4_ONLY = ("irc", "netbios-ns", "pptp", "snmp")


def helper_rules(helpers: list[tuple[str, str, int]], family: int) -> str:
    """The raw rules that attach connection tracking helpers the family knows, as iptables-restore text."""
    lines = [
        f"-A PREROUTING -p {proto} --dport {port} -j CT --helper {name}"
        for name, proto, port in helpers
        if family == 4 or name not in IPV4_ONLY
    ]
    return "\n".join(["*raw", *lines, "COMMIT", ""])


def run(*command: str, text: str | None = None) -> str:
    """Run a program and return what it printed; a failure carries what it complained of."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def attribute(kind: int, value: bytes) -> bytes:
    """A netlink attribute."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def netfilter_request(message: int, flags: int, body: bytes, doing: str) -> None:
    """Ask the kernel's netfilter for something; OSError where it refuses."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as netlink:
        netlink.bind((0, 0))
        flags |= NLM_F_REQUEST | NLM_F_ACK
        netlink.send(struct.pack("=IHHIIBBH", 20 + len(body), message, flags, 1, 0, 0, 0, 0) + body)
        (error,) = struct.unpack_from("=i", netlink.recv(4096), 16)
        if error:
            raise OSError(-error, doing)


def write_setting(path: str, value: int | str) -> None:
    (Path("/proc/sys/net") / path).write_text(f"{value}\n")


def open_tun(name: str) -> int:
    """Create a TUN device that carries bare IP packets; returns its file descriptor, not blocking."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return descriptor


def instruction(code: int, immediate: int) -> bytes:
    return struct.pack("=BBhi", code, 0, 0, immediate)


def tick_counter() -> Callable[[], int]:
    """A function that returns the low 32 bits of the kernel's own count of ticks, which its timeouts are kept in;
    OSError where the kernel refuses.

    No clock that programs read is exactly that: the coarse ones move a little after the count does, a packet later as
    often as not. A program of two instructions, run by bpf(2), returns the count itself.
    """
    number = BPF.get(platform.machine())
    if number is None:
        raise OSError(f"the number of bpf(2) on {platform.machine()} is not known")
    libc = ctypes.CDLL(None, use_errno=True)
    code = instruction(CALL, JIFFIES64) + instruction(EXIT, 0)
    text, licence = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"Apache-2.0")
    fields = (TYPE_SYSCALL, len(code) // 8, ctypes.addressof(text), ctypes.addressof(licence), 0, 0, 0, 0, SLEEPABLE)
    load = ctypes.create_string_buffer(struct.pack("=IIQQIIQII", *fields), ROOM)
    program = libc.syscall(number, PROG_LOAD, load, ROOM)
    if program < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"bpf(BPF_PROG_LOAD): {os.strerror(error)}")
    request = ctypes.create_string_buffer(struct.pack("=II", program, 0), ROOM)
    returned = ctypes.c_uint32.from_buffer(request, 4)
    call = libc.syscall

    def count() -> int:
        call(number, PROG_RUN, request, ROOM)
        return returned.value

    if call(number, PROG_RUN, request, ROOM) < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"bpf(BPF_PROG_RUN): {os.strerror(error)}")
    return count


class Namespace:
    """The gateway inside the namespace. One method a request of the oracle's."""

    def __init__(self, in_device: str, out_device: str) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNET)")
        self.enter = open_tun(in_device)
        self.leave = open_tun(out_device)
        self.devices = (in_device, out_device)
        self.tick = tick_counter()
        self._configure()

    def _configure(self) -> None:
        for device in ("all", "default", *self.devices):
            for name, value in (("rp_filter", 0), ("accept_local", 1), ("send_redirects", 0), ("forwarding", 1)):
                write_setting(f"ipv4/conf/{device}/{name}", value)
            # No address, no duplicate detection, no solicitation: the devices stay silent unless asked.
            quiet = {
                "accept_ra": 0,
                "router_solicitations": 0,
                "dad_transmits": 0,
                "addr_gen_mode": 1,
                "accept_redirects": 0,
            }
            for name, value in {**quiet, "forwarding": 1}.items():
                write_setting(f"ipv6/conf/{device}/{name}", value)
        in_device, out_device = self.devices
        run("ip", "link", "set", "lo", "up")
        for device in self.devices:
            run("ip", "link", "set", device, "mtu", str(LONGEST_PACKET), "txqueuelen", "1000", "up")
        # Without a queueing discipline a packet that was routed is in the second device when the write returns.
        run("tc", "qdisc", "replace", "dev", out_device, "root", "noqueue")
        for family in ("-4", "-6"):
            run("ip", family, "rule", "add", "iif", in_device, "lookup", ROUTING_TABLE)
            run("ip", family, "route", "add", "default", "dev", out_device, "table", ROUTING_TABLE)

    def load(self, rules4: str | None, rules6: str | None, helpers: list[tuple[str, str, int]]) -> None:
        """Load the user's tables, then the rules that attach helpers, then the rules that answer."""
        for family, command, rules in (
            (4, "iptables-legacy-restore", rules4),
            (6, "ip6tables-legacy-restore", rules6),
        ):
            if rules:
                run(command, "-c", text=rules)
            if helpers:
                run(command, "--noflush", text=helper_rules(helpers, family))
            run(command, "--noflush", text=marking_rules(self.devices[1]))

    def ask(self, data: bytes, offsets: bytes, lengths: bytes) -> tuple[bytes, bytes, bytes]:
        """Send each packet and collect its answer.

        ``offsets`` (uint64) and ``lengths`` (uint32) address the packets in ``data``. Returns one answer byte a packet
        (0: none came out) and the kernel's count of ticks (uint32) before each packet was written and after its answer.
        """
        packets = memoryview(data)
        starts, sizes = array("Q", offsets), array("I", lengths)
        answers = bytearray(len(starts))
        ticks = array("I", bytes(4 * (len(starts) + 1)))
        enter, write, tick, receive = self.enter, os.write, self.tick, self._receive
        self._drain()
        for index, start in enumerate(starts):
            packet = packets[start : start + sizes[index]]
            ticks[index] = tick()
            try:
                write(enter, packet)
            except OSError:
                continue
            answers[index] = receive(packet)
        ticks[len(starts)] = tick()
        return bytes(answers), ticks[:-1].tobytes(), ticks[1:].tobytes()

    def follow(self, data: bytes, offsets: bytes, lengths: bytes) -> list[tuple[bytes, bytes, bytes, list[str]]]:
        """As `ask`, with what is expected after each packet."""
        heard = []
        for start, size in zip(array("Q", offsets), array("I", lengths), strict=True):
            one = array("I", [size]).tobytes()
            answer = self.ask(data[start : start + size], bytes(8), one)
            heard.append((*answer, self.expectations()))
        return heard

    def _receive(self, packet: memoryview) -> int:
        """The answer byte of the packet just written, 0 if it did not come out."""
        while True:
            try:
                out = os.read(self.leave, LONGEST_PACKET)
            except BlockingIOError:
                return 0
            if out[0] >> 4 == 4:
                same = out[12:20] == packet[12:20]
                answer = out[1]
                fragment = out[6] & 0x3F or out[7]
            else:
                same = out[8:40] == packet[8:40]
                answer = (out[0] << 4 | out[1] >> 4) & 0xFF
                fragment = out[6] in (0, 43, 44, 60)  # some header comes between: more pieces may follow
            # Anything else is the kernel speaking for itself, multicast reports above all; the answer stands behind it.
            if same and answer & ANSWER_BIT:
                if fragment:
                    self._drain()
                return answer

    def _drain(self) -> None:
        for descriptor in (self.enter, self.leave):
            try:
                while True:
                    os.read(descriptor, LONGEST_PACKET)
            except BlockingIOError:
                pass

    def replies(self) -> list[bytes]:
        """What the kernel sent back through the first device since the last call: rejections, errors."""
        found = []
        try:
            while True:
                found.append(os.read(self.enter, LONGEST_PACKET))
        except BlockingIOError:
            return found

    def table(self) -> list[str]:
        return Path("/proc/net/nf_conntrack").read_text().splitlines()

    def ticks(self) -> int:
        return self.tick()

    def expectations(self) -> list[str]:
        return Path("/proc/net/nf_conntrack_expect").read_text().splitlines()

    def statistics(self) -> str:
        return Path("/proc/net/stat/nf_conntrack").read_text()

    def counters(self, family: int) -> str:
        return run("iptables-legacy-save" if family == 4 else "ip6tables-legacy-save", "-c")

    def get(self, name: str) -> str:
        return (Path("/proc/sys/net") / name).read_text().strip()

    def set(self, name: str, value: int | str) -> None:
        write_setting(name, value)

    def command(self, *words: str) -> str:
        """Run any program inside the namespace."""
        return run(*words)

    def flush(self) -> None:
        """Forget every connection and expectation."""
        for message in (EXPECTATION_DELETE, CONNTRACK_DELETE):
            netfilter_request(message, 0, b"", "flushing the connection table")

    def timeout_policy(self, name: str, family: int, protocol: int, seconds: dict[int, int]) -> None:
        """Make a timeout policy; `seconds` by the number of each of the protocol's timeouts, from 1."""
        data = b"".join(attribute(kind, struct.pack(">I", value)) for kind, value in seconds.items())
        body = attribute(1, name.encode() + b"\0") + attribute(2, struct.pack(">H", 2 if family == 4 else 10))
        body += attribute(3, bytes([protocol])) + attribute(4 | NLA_NESTED, data)
        netfilter_request(TIMEOUT_NEW, NLM_F_CREATE, body, f"making the timeout policy {name}")

    def listen(self, *options: str) -> None:
        """Begin to hear what `conntrack -E` tells, with `expect` of expectations."""
        self.heard = tempfile.TemporaryFile()  # noqa: SIM115 - it lives until `events`
        self.listener = subprocess.Popen(["conntrack", "-E", *options], stdout=self.heard, stderr=subprocess.STDOUT)
        while not self._unheard():
            time.sleep(0.01)

    def events(self) -> list[str]:
        """What `conntrack -E` told since `listen`; it ends. OSError where the kernel told more than it could hear."""
        while not self._heard_all():
            time.sleep(0.01)
        self.listener.send_signal(signal.SIGINT)
        self.listener.wait(10)
        self.heard.seek(0)
        lines = self.heard.read().decode().splitlines()
        if any("ENOBUFS" in line for line in lines):
            raise OSError("conntrack -E missed events")
        return lines

    def _heard_all(self) -> bool:
        """Whether the listener has nothing left to read and waits for more, with all that it read written down."""

        def asleep() -> bool:
            state = Path(f"/proc/{self.listener.pid}/stat").read_text().rpartition(")")[2].split()[0]
            return state in "SZ"

        return not any(self._unheard()) and asleep() and not any(self._unheard())

    def _unheard(self) -> list[int]:
        """The bytes that wait to be read by each socket that is told of connections or expectations."""
        sockets = [line.split() for line in Path("/proc/net/netlink").read_text().splitlines()[1:]]
        return [int(one[4]) for one in sockets if int(one[1]) == NETLINK_NETFILTER and int(one[3], 16)]


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until the other end closes its pipe."""
    namespace: Namespace | None = None
    while True:
        try:
            method, arguments = pickle.load(requests)
        except EOFError:
            return
        answer: tuple[bool, Any]
        try:
            if namespace is None:
                namespace = Namespace(*arguments)
                answer = (True, None)
            else:
                answer = (True, getattr(namespace, method)(*arguments))
        except (OSError, RuntimeError) as error:
            answer = (False, str(error))
        pickle.dump(answer, answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
