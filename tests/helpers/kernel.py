"""Conversations put to the kernel's helpers and to ours, and what each expects of them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.kernel import oracle as kernel_oracle
from tests.kernel.oracle import Oracle
from tests.traffic import packets as p

from fastfw.helpers import DROP, Helper
from fastfw.helpers.base import Awaited


class Expectation(NamedTuple):
    """One line of /proc/net/nf_conntrack_expect, the master's tuple aside. None: any (mask: all bits count)."""

    protocol: int
    source: bytes | None
    source_port: int | None
    destination: bytes
    port: int
    permanent: bool
    class_: int
    timeout: int
    source_mask: bytes | None = None
    inactive: bool = False


class Say(NamedTuple):
    """One packet of a conversation: who speaks, what, and where in the stream (None: where the last one ended)."""

    direction: int
    payload: bytes
    at: int | None = None


class Heard(NamedTuple):
    """What came of a conversation: whether each packet passed, and what is expected after the last."""

    passed: tuple[bool, ...]
    expected: tuple[Expectation, ...]


@dataclass
class Ends:
    """The two ends of one conversation, and the sequence number of the first byte each direction says."""

    client: bytes
    server: bytes
    client_port: int
    server_port: int
    protocol: int = p.TCP
    first: tuple[int, int] = (1_000, 5_000)


def ends(number: int, family: int, server_port: int, protocol: int = p.TCP) -> Ends:
    """Ends of their own for the conversation `number`, so that no two get in each other's way."""
    low = number.to_bytes(2, "big")
    if family == 4:
        return Ends(b"\x0a\x01" + low, b"\x0a\x02" + low, 40000, server_port, protocol)
    return Ends(p.address("fd00:1::")[:14] + low, p.address("fd00:2::")[:14] + low, 40000, server_port, protocol)


def segments(talk: Sequence[Say], who: Ends) -> list[tuple[Say, int, bytes]]:
    """The packets of a conversation over a TCP connection that is open: (what is said, sequence number, packet)."""
    first = who.first
    ahead = [*first]
    made = []
    for say in talk:
        sequence = ahead[say.direction] if say.at is None else (first[say.direction] + say.at) & 0xFFFFFFFF
        ahead[say.direction] = (sequence + len(say.payload)) & 0xFFFFFFFF
        one, two = (who.client, who.client_port), (who.server, who.server_port)
        if say.direction:
            one, two = two, one
        packet = p.tcp_packet(
            one[0], two[0], one[1], two[1], p.ACK | p.PSH, sequence, ahead[1 - say.direction], payload=say.payload
        )
        made.append((say, sequence, packet))
    return made


def handshake(who: Ends) -> list[bytes]:
    first = who.first
    there = (who.client, who.server, who.client_port, who.server_port)
    back = (who.server, who.client, who.server_port, who.client_port)
    return [
        p.tcp_packet(*there, p.SYN, first[0] - 1),
        p.tcp_packet(*back, p.SYN | p.ACK, first[1] - 1, first[0]),
        p.tcp_packet(*there, p.ACK, first[0], first[1]),
    ]


def datagrams(talk: Sequence[Say], who: Ends) -> list[bytes]:
    one, two = (who.client, who.client_port), (who.server, who.server_port)
    made = []
    for say in talk:
        a, b = (two, one) if say.direction else (one, two)
        made.append(p.udp_packet(a[0], b[0], a[1], b[1], say.payload))
    return made


def packets(talk: Sequence[Say], who: Ends) -> list[bytes]:
    """Everything one conversation puts on the wire; its last `len(talk)` packets are what is said."""
    if who.protocol == p.UDP:
        return datagrams(talk, who)
    return handshake(who) + [packet for _, _, packet in segments(talk, who)]


# --- the kernel ------------------------------------------------------------------------------------------------------


def missing() -> str | None:
    """Why the kernel's helpers cannot be asked here, in one line; None if they can."""
    if shutil.which("conntrack") is None:
        return "expectations are listed by conntrack(8), not installed"
    return kernel_oracle.missing()


def parse_expectation(line: str) -> tuple[tuple[bytes, bytes], Expectation]:
    """A line of `conntrack -L expect`: its master's (source, destination), and what it waits for."""
    timeout, rest = line.split(None, 1)
    fields: dict[str, list[str]] = {}
    for word in rest.split():
        key, equals, value = word.partition("=")
        for name in (key,) if equals else (f"flag {flag}" for flag in key.split(",")):
            fields.setdefault(name, []).append(value)

    def port(kind: str, at: int) -> int:
        return int(fields.get(f"{kind}key", fields.get(f"{kind[0]}port", ["0"] * 3))[at], 0)

    mask = p.address(fields["mask-src"][0])
    any_source = not any(mask)
    expected = Expectation(
        protocol=int(fields["proto"][0]),
        source=None if any_source else p.address(fields["src"][0]),
        source_port=port("src", 0) if port("src", 1) else None,
        destination=p.address(fields["dst"][0]),
        port=port("dst", 0),
        permanent="flag PERMANENT" in fields,
        class_=int(fields["class"][0]),
        timeout=int(timeout),
        source_mask=None if any_source or mask == b"\xff" * len(mask) else mask,
        inactive="flag INACTIVE" in fields,
    )
    return (p.address(fields["master-src"][0]), p.address(fields["master-dst"][0])), expected


def ask_kernel(oracle: Oracle, talks: Sequence[tuple[Ends, Sequence[Say]]]) -> list[Heard]:
    """Put conversations, each between ends of its own, to the kernel; what came of each, timeouts included."""
    oracle.flush()
    wire = [packets(talk, who) for who, talk in talks]
    answers = iter(oracle.ask([packet for each in wire for packet in each])["answered"].tolist())
    passed = [[next(answers) for _ in each] for each in wire]
    expected: dict[tuple[bytes, bytes], list[Expectation]] = {}
    for family in ("ipv4", "ipv6"):
        for line in oracle.command("conntrack", "-f", family, "-L", "expect").splitlines():
            master, one = parse_expectation(line)
            expected.setdefault(master, []).append(one)
    return [
        Heard(tuple(each[len(each) - len(talk) :]), tuple(sorted(expected.get((who.client, who.server), []), key=repr)))
        for each, (who, talk) in zip(passed, talks, strict=True)
    ]


WORDS = {p.TCP: "tcp", p.UDP: "udp"}


def attach(oracle: Oracle, name: str, protocol: int, port: int, family: int) -> None:
    """Attach one of the kernel's helpers to new connections to a port; most work over one family only."""
    command = {4: "iptables-legacy", 6: "ip6tables-legacy"}[family]
    rule = ["-p", WORDS[protocol], "--dport", str(port), "-j", "CT", "--helper", name]
    oracle.command(command, "-t", "raw", "-A", "PREROUTING", *rule)


# --- our helpers -----------------------------------------------------------------------------------------------------


@dataclass
class FakeFlow:
    """A flow that keeps what it was asked to expect, by the engine's rules for one connection."""

    helper: Helper
    who: Ends
    direction: int = 0
    sequence: int = 0
    established: bool = True
    memory: dict[str, Any] = field(default_factory=dict)
    waiting: list[Expectation] = field(default_factory=list)
    lives: int | None = None
    broadcast_mask: bytes | None = None
    expected: bool = False

    @property
    def family(self) -> int:
        return 4 if len(self.who.client) == 4 else 6

    @property
    def protocol(self) -> int:
        return self.who.protocol

    @property
    def source(self) -> bytes:
        return self.who.server if self.direction else self.who.client

    @property
    def source_port(self) -> int:
        return self.who.server_port if self.direction else self.who.client_port

    @property
    def destination(self) -> bytes:
        return self.who.client if self.direction else self.who.server

    @property
    def destination_port(self) -> int:
        return self.who.client_port if self.direction else self.who.server_port

    def expect(
        self,
        *,
        destination: bytes,
        port: int,
        protocol: int = p.TCP,
        source: bytes | None = None,
        source_mask: bytes | None = None,
        source_port: int | None = None,
        permanent: bool = False,
        timeout: int | None = None,
        class_: int = 0,
        helper: str | None = None,
        inactive: bool = False,
        shared: bool = False,
    ) -> bool:
        limit, patience = self.helper.policy(class_)
        made = Expectation(
            protocol,
            source,
            source_port,
            destination,
            port,
            permanent,
            class_,
            patience if timeout is None else timeout,
            source_mask,
            inactive,
        )
        if shared and any(one[:5] == made[:5] and one.class_ != class_ for one in self.waiting):
            return True
        self.waiting = [one for one in self.waiting if one[:5] != made[:5] or one.class_ != made.class_]
        if limit and sum(one.class_ == class_ for one in self.waiting) >= limit:
            self.waiting.remove(next(one for one in self.waiting if one.class_ == class_))
        self.waiting.append(made)
        return True

    def awaiting(self, class_: int) -> list[Awaited]:
        return [Awaited(*one[:5]) for one in self.waiting if one.class_ == class_]

    def cancel(
        self, *, protocol: int, source: bytes | None, source_port: int | None, destination: bytes, port: int
    ) -> None:
        gone = Awaited(protocol, source, source_port, destination, port)
        self.waiting = [one for one in self.waiting if one[:5] != gone]

    def forget_calls(self) -> None:
        pass

    def refresh(self, seconds: int) -> None:
        self.lives = seconds


def ask_helper(helper: Helper, who: Ends, talk: Sequence[Say]) -> Heard:
    """Put a conversation to one of our helpers."""
    flow = FakeFlow(helper, who)
    passed = []
    steps = segments(talk, who) if who.protocol == p.TCP else [(say, 0, b"") for say in talk]
    seen_reply = who.protocol == p.TCP
    for say, sequence, _ in steps:
        seen_reply = seen_reply or say.direction == 1
        flow.direction, flow.sequence, flow.established = say.direction, sequence, seen_reply
        verdict = helper.on_payload(memoryview(say.payload), flow) if say.payload or who.protocol == p.UDP else None
        passed.append(verdict is not DROP)
    return Heard(tuple(passed), tuple(sorted(flow.waiting, key=repr)))


def differences(oracle: Oracle, helper: Helper, talks: Sequence[tuple[Ends, Sequence[Say]]]) -> list[str]:
    """Where the kernel and our helper part.

    On a busy machine the namespace may give a packet back late, which looks as if it had been dropped; conversations
    that seem to differ are therefore put to the kernel once more, and only what differs again is a difference.
    """
    ours = [ask_helper(helper, who, talk) for who, talk in talks]
    suspects = list(range(len(talks)))
    for _ in range(2):
        answers = ask_kernel(oracle, [talks[index] for index in suspects])
        suspects = [index for index, kernel in zip(suspects, answers, strict=True) if not alike(ours[index], kernel)]
    found = []
    for index in suspects:
        who, talk = talks[index]
        (kernel,) = ask_kernel(oracle, [(who, talk)])
        found.append(
            "\n  ".join([*(f"{s.direction} {s.payload!r}" for s in talk), f"kernel {kernel}", f"ours   {ours[index]}"])
        )
    return found


def alike(ours: Heard, kernel: Heard) -> bool:
    """The same, where a few seconds may pass between an expectation and its listing."""
    return (
        ours.passed == kernel.passed
        and len(ours.expected) == len(kernel.expected)
        and all(
            one._replace(timeout=0) == other._replace(timeout=0) and 0 <= one.timeout - other.timeout <= 5
            for one, other in zip(ours.expected, kernel.expected, strict=True)
        )
    )
