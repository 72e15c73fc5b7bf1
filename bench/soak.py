"""A table held full for a stated time: `python -m bench.soak --seconds 60`.

UDP and TCP connections come and go at the ceiling: every round a hundredth of them ends, another hundredth begins, and
thirty thousand packets meet young connections chosen by chance. Every few rounds the rules are replaced, the table is
saved and loaded into another engine, and everything whose time is up is swept out. The engine's clock moves by itself,
so that an hour of expiry takes seconds. Shown are memory, what an established packet and a new connection cost, and
how well the index is spread; the end must be as the beginning.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tests.attacks import crowd
from tests.attacks.crowd import SECOND, Crowd
from tests.traffic import packets as p

import fastfw

SERVER = crowd.address("192.168.0.1")
ROUNDS_A_LIFE = 100
MEET = 30_000
HEARD = 10
"""Rounds after its beginning in which a connection may be heard of."""
RULES = """*filter
:FORWARD DROP [0:0]
:new - [0:0]
-A FORWARD -m state --state ESTABLISHED,RELATED -j ACCEPT
-A FORWARD -m mark --mark {} -j DROP
-A FORWARD -m state --state NEW -j new
-A new -p udp -j ACCEPT
-A new -p tcp -m multiport --dports 22,80 -j ACCEPT
COMMIT
"""
RELOAD, SAVE = 7, 50
"""Rounds between two replacements of the rules, and two saves."""
SLACK = 4 << 20
"""Bytes by which the interpreter's own memory comes and goes."""


@dataclass
class Sample:
    """One round: processor seconds a packet, resident bytes, share of entries outside their home bucket."""

    established: float
    new: float
    resident: int
    spilled: float
    count: int


def begins(numbers: crowd.Numbers) -> Crowd:
    """The first packets of connections by number: every second one a SYN."""
    source, port = 10 << 24 | numbers & 0xFFFFFF, 1024 + (numbers >> 24) % 60_000
    if numbers[0] & 1:
        return crowd.tcp(source, SERVER, port, 80, p.SYN, 100)
    return crowd.udp(source, SERVER, port, 53)


def answers(numbers: crowd.Numbers) -> Crowd:
    """What the server says first: a SYN-ACK or a datagram."""
    source, port = 10 << 24 | numbers & 0xFFFFFF, 1024 + (numbers >> 24) % 60_000
    if numbers[0] & 1:
        return crowd.tcp(SERVER, source, 80, port, p.SYN | p.ACK, 500, 101)
    return crowd.udp(SERVER, source, 53, port)


class Soak:
    """An engine, its clock, and the numbers of the connections it should hold."""

    def __init__(self, connections: int) -> None:
        self.step = connections // ROUNDS_A_LIFE // 2 * 2
        life = 100 * SECOND
        self.engine = fastfw.Engine(
            rules4=fastfw.Ruleset.parse(RULES.format(1)),
            settings={
                # a connection that is heard of late lives that much longer
                "nf_conntrack_max": connections + (HEARD + 2) * self.step,
                "nf_conntrack_checksum": 0,
                "nf_conntrack_udp_timeout": life // SECOND,
                "nf_conntrack_udp_timeout_stream": life // SECOND,
                "nf_conntrack_tcp_timeout_syn_recv": life // SECOND,
            },
        )
        self.life = life
        self.now = SECOND
        self.next = 0
        self.rounds = 0
        self.rng = np.random.default_rng(1)
        self.lost = 0

    def round(self) -> Sample:
        """A hundredth of the connections ends, another begins, and some of those that live are heard of."""
        self.rounds += 1
        self.now += self.life // ROUNDS_A_LIFE + 1
        self.engine.expire(self.now)
        numbers = np.arange(self.next, self.next + self.step)
        self.next += self.step
        crowds = [begins(numbers[numbers & 1 == parity]) for parity in (0, 1)]
        before = time.process_time()
        for each in crowds:
            self.lost += int((each.into(self.engine, self.now)["verdict"] != 1).sum())
        new = (time.process_time() - before) / self.step
        crowds = [answers(numbers[numbers & 1 == parity]) for parity in (0, 1)]
        for each in crowds:
            self.lost += int((each.into(self.engine, self.now)["verdict"] != 1).sum())
        oldest = max(0, self.next - self.step * HEARD)
        known = self.rng.integers(oldest, self.next, MEET) & ~1
        meeting = answers(known)
        before = time.process_time()
        out = meeting.into(self.engine, self.now)
        established = (time.process_time() - before) / MEET
        self.lost += int((out["state"] != 2).sum())
        if self.rounds % RELOAD == 0:
            self.engine.replace(rules4=fastfw.Ruleset.parse(RULES.format(1 + self.rounds)))
        if self.rounds % SAVE == 0:
            self.save()
        found = self.engine._table_statistics()
        return Sample(established, new, crowd.resident(), found["spilled"] / found["count"], found["count"])

    def save(self) -> None:
        """Every connection is in the file, and another engine takes them all."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "state"
            saved = self.engine.save_state(path)
            other = fastfw.Engine(settings={"nf_conntrack_max": saved + 1})
            other.expire(self.engine.now)
            self.lost += saved - other.load_state(path).connections


def verdict(samples: list[Sample], lost: int, slower: float) -> list[str]:
    """What is worse at the end than after the table was first full; nothing, if all is well. `slower`: how many times
    as dear a packet may be."""
    tenth = max(1, len(samples) // 10)
    first, last = samples[:tenth], samples[-tenth:]

    def middle(of: list[Sample], name: str) -> float:
        return float(np.median([getattr(each, name) for each in of]))

    found = []
    for name, most in (("established", slower), ("new", slower), ("spilled", 1.2), ("resident", 1.05)):
        beside = SLACK if name == "resident" else 0
        ratio = (middle(last, name) - beside) / max(middle(first, name), 1e-12)
        print(f"{name}: {ratio:.3f} of what it was at first (at most {most})")
        if ratio > most:
            found.append(f"{name} is {ratio:.2f} times what it was")
    if lost:
        found.append(f"{lost} packets or connections were lost")
    return found


def soak(connections: int, seconds: float, entries: int, slower: float) -> list[str]:
    """Hold so many connections for so long, and for so many entries in all; what was wrong."""
    table = Soak(connections)
    # a life and a half to be as full as it will be
    for _ in range(ROUNDS_A_LIFE * 3 // 2 + SAVE):
        table.round()
    samples: list[Sample] = []
    until = time.monotonic() + seconds
    shown = 0.0
    while time.monotonic() < until or table.next < entries or len(samples) < 30:
        samples.append(table.round())
        if time.monotonic() - shown > max(1.0, seconds / 20):
            shown = time.monotonic()
            last = samples[-1]
            print(
                f"{table.next:>12} entries  {last.count:>9} live  {last.resident / 1e6:8.1f} MB  "
                f"{last.established * 1e9:6.1f} ns an established packet  {last.new * 1e9:6.1f} ns a new connection  "
                f"{last.spilled:6.2%} outside their bucket",
                flush=True,
            )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{table.next} connections came and went in {table.rounds} rounds, {table.rounds // RELOAD} reloads, "
          f"{table.rounds // SAVE} saves; at most {peak / 1e3:.1f} MB")  # fmt: skip
    return verdict(samples, table.lost, slower)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=60, help="how long, once the table is full")
    options.add_argument("--connections", type=int, default=1_000_000, help="live at a time")
    options.add_argument("--entries", type=int, default=0, help="go on until so many came and went")
    options.add_argument("--slower", type=float, default=1.5, help="how many times as dear a packet may become")
    given = options.parse_args()
    faults = soak(given.connections, given.seconds, given.entries, given.slower)
    for fault in faults:
        print(f"FAILED: {fault}", file=sys.stderr)
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
