"""Whole conversations through the running kernel and through an engine, with what each expects after every packet."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

import numpy as np
from tests.kernel.compare import (
    Asked,
    Comparison,
    Difference,
    Setup,
    differing,
    explained,
    kernel_name,
    key_of,
    ours_in_words,
    table_differences,
)
from tests.kernel.oracle import Oracle, pack, words
from tests.traffic import packets as p
from tests.traffic.describe import describe, flow_key

import fastfw
from fastfw.listing import expectation_line

from .small_talk import mangle

TOLERANCE_S = 2


def expected(lines: Sequence[str]) -> list[tuple[str, int]]:
    """Lines of /proc/net/nf_conntrack_expect, sorted, each without its seconds and with them."""
    return sorted((rest.rstrip(), int(seconds)) for seconds, rest in (line.split(" ", 1) for line in lines))


def alike(theirs: Sequence[str], ours: Sequence[str]) -> bool:
    one, other = expected(theirs), expected(ours)
    return [line for line, _ in one] == [line for line, _ in other] and all(
        abs(a - b) <= TOLERANCE_S for (_, a), (_, b) in zip(one, other, strict=True)
    )


def differences(setup: Setup, oracle: Oracle, packets: Sequence[bytes]) -> list[str]:
    """Where the two part: a packet's answer, what is expected after it, the table at the end. A clock that ticked while
    the kernel was asked is no difference."""
    oracle.flush()
    for name, value in setup.settings.items():
        oracle.set(kernel_name(name), value)
    answers, listed = oracle.follow(packets)
    since = oracle.moment()
    table = oracle.table()
    until = oracle.moment()
    data, offsets, lengths = pack(packets)
    engine = setup.engine()
    found, ours = [], []
    for at in range(len(packets)):
        one = slice(at, at + 1)
        ours.append(engine.process(data, offsets[one], lengths[one], answers["time_ns"][one], iif="eth0", oif="eth1"))
        mine = [str(each) for each in engine.expectations()]
        if not alike(listed[at], mine):
            found.append(f"{at}: {describe(packets[at])}\n  expected: kernel {listed[at]}\n            ours   {mine}")
    out = np.concatenate(ours)
    wrong = differing(answers, out)
    asked = Asked(packets, answers, [np.asarray([at]) for at in range(len(packets))], table, since, until)
    for at in wrong.tolist():
        if not explained(setup, asked, flow_key(packets[at])):
            said = f"kernel {words(answers[at])}, ours {ours_in_words(out[at])}"
            found.append(f"{at}: {describe(packets[at])}\n  {said}")
    masters = {connection.index: connection for connection in engine.connections()}
    theirs = [
        line
        for family in ("ipv4", "ipv6")
        for line in oracle.command("conntrack", "-f", family, "-L", "expect").splitlines()
    ]
    mine = [expectation_line(each, masters.get(each.master)) for each in engine.expectations()]
    if not alike(theirs, mine):
        found.append(f"conntrack -L expect: kernel {theirs}\n                     ours   {mine}")
    tables = []
    for moment in (since, until):
        engine.expire(moment)
        tables.append([str(connection) for connection in engine.connections()])
    apart = table_differences(table, *tables)
    for each in apart:
        key = key_of(Comparison(packets, answers, out, apart), Difference(-1, each.kernel, each.ours))
        if not explained(setup, asked, key):
            found.append(f"table: kernel {each.kernel}\n       ours   {each.ours}")
    return found


def meeting(listed: Sequence[str], stranger: bytes = p.address("10.200.0.9")) -> list[bytes]:
    """A first packet that meets each of the expectations listed, and one from elsewhere or to the next port."""
    made = []
    for line in listed:
        fields = dict(re.findall(r"(\w+)=(\S+)", line))
        source, target = p.address(fields["src"]), p.address(fields["dst"])
        protocol = int(fields["proto"])
        sport, dport = (int(fields.get(f"{end[0]}port") or fields[f"{end}key"], 0) for end in ("src", "dst"))
        if not any(source):
            source = stranger if len(target) == 4 else p.address("fd00:200::9")
        sport = sport or 4444
        for port in (dport, dport + 1 & 0xFFFF):
            if protocol == p.TCP:
                made.append(p.tcp_packet(source, target, sport, port, p.SYN, 7))
            elif protocol == p.UDP:
                made.append(p.udp_packet(source, target, sport, port, b"media"))
            elif protocol == p.GRE:
                made.append(p.ip(source, target, p.GRE, p.gre(port, b"data", version=1, protocol=0x880B)))
    return made


def read(path: str) -> list[bytes]:
    """The IP packets of a capture."""
    capture = fastfw.Capture(path)
    places = zip(capture.offset.tolist(), capture.length.tolist(), strict=True)
    return [bytes(capture.data[start : start + size]) for start, size in places if size]


def payload_at(packet: bytes, ports: Sequence[tuple[int, int]]) -> int:
    """Where the payload of a packet to or from a helper's port begins; 0: it is none, or has none."""
    offset, protocol = p.transport(packet)
    if protocol not in (p.TCP, p.UDP) or len(packet) < offset + 8:
        return 0
    ends = [int.from_bytes(packet[offset + at : offset + at + 2], "big") for at in (0, 2)]
    if not any((protocol, port) in ports for port in ends):
        return 0
    at = offset + (8 if protocol == p.UDP else (packet[offset + 12] >> 4) * 4)
    return at if at < len(packet) else 0


def with_payload(packet: bytes, at: int, payload: bytes, ahead: int = 0) -> bytes:
    """The packet with another payload, `ahead` bytes further on in TCP's stream; lengths and checksums are right."""
    offset, protocol = p.transport(packet)
    made = bytearray(packet[:at] + payload)
    if protocol == p.UDP:
        made[offset + 4 : offset + 6] = (len(made) - offset).to_bytes(2, "big")
    elif ahead:
        sequence = int.from_bytes(made[offset + 4 : offset + 8], "big") + ahead & 0xFFFFFFFF
        made[offset + 4 : offset + 8] = sequence.to_bytes(4, "big")
    return p.repair(made, offset, protocol)


def spoiled(chance: Random, packets: Sequence[bytes], ports: Sequence[tuple[int, int]]) -> list[bytes]:
    """A copy in which some of what is said on the helper's ports is cut, changed, lost, doubled or out of order."""
    made = list(packets)
    for _ in range(chance.randrange(1, 6)):
        places = [at for at, packet in enumerate(made) if payload_at(packet, ports)]
        if not places:
            break
        at = chance.choice(places)
        packet, start = made[at], payload_at(made[at], ports)
        said = packet[start:]
        how = chance.choices(["changed", "cut in two", "lost", "doubled", "late", "joined"], [8, 4, 1, 1, 2, 1])[0]
        if how == "changed":
            for _ in range(9):
                other = mangle(chance, said, b"0123456789,.|() \r\n\0\1\x7f\x80\xff")
                if other != said:
                    break
            made[at] = with_payload(packet, start, other or b"\n")
        elif how == "cut in two" and len(said) > 1:
            cut = chance.randrange(1, len(said))
            made[at : at + 1] = [
                with_payload(packet, start, said[:cut]),
                with_payload(packet, start, said[cut:], cut),
            ]
        elif how == "lost":
            del made[at]
        elif how == "doubled":
            made.insert(at, packet)
        elif how == "late":
            made.insert(min(len(made), at + chance.randrange(1, 4)), made.pop(at))
        elif how == "joined":
            made[at] = with_payload(packet, start, (said + said)[:1200])
    return made
