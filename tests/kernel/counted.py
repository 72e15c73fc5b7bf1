"""Random rulesets in the engine and in the kernel's iptables: where verdicts of packets or counters of rules differ.

``python -m tests.kernel.counted --seeds 0-199 --count 10000`` prints a line a seed and every difference; ``--share
1/4`` takes the first of four parts of the seeds. Exit status 0: none, 1: some, 2: the kernel cannot be asked.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
from tests.helpers.kernel import Say, ends, packets
from tests.kernel.oracle import IN_DEVICE, OUT_DEVICE, Oracle, missing, pack
from tests.kernel.parity import seeds
from tests.traffic.everything import GATEWAYS, everything, whole
from tests.traffic.generate import generate
from tests.traffic.rare import rare
from tests.traffic.rulesets import ruleset, tables
from tests.traffic.sets import sets

import fastfw
from fastfw.core.terms import Verdict
from fastfw.sets import Sets

NOT_OURS = ("OUTPUT", "POSTROUTING")
"""Chains that count packets the kernel itself sends."""


CLOCK_SETTLED = 960
"""Seconds after boot. The kernel takes what is left to a connection that is not confirmed for an end on its tick count,
which begins 300 s before it wraps to 0: until the longest timeout of a first packet, 600 s, has gone by after that,
--ctexpire says of such a connection what depends on when the machine was started. From then on it says 0."""

ATTEMPTS = 3

Make = Callable[[int, int], str]
Traffic = Callable[[int, int], list[bytes]]


def settled(text: str) -> str:
    """The rules, those that ask for the time left restricted to confirmed connections while the machine is young."""
    if time.clock_gettime(time.CLOCK_BOOTTIME) > CLOCK_SETTLED:
        return text
    asks = "-m conntrack --ctstatus CONFIRMED "
    return "\n".join(
        line.replace("-m conntrack ", asks + "-m conntrack ", 1) if "--ctexpire" in line else line
        for line in text.split("\n")
    )


AWAY = "away"
"""Where a host with a way out sends what it has to say itself: neither to where packets come from nor to where they are
awaited."""


def way_out(oracle: Oracle) -> list[str]:
    """Give the kernel a way to everywhere; returns the routes that an engine is told of it."""
    oracle.command("ip", "tuntap", "add", "dev", AWAY, "mode", "tun")
    oracle.command("ip", "link", "set", AWAY, "addrgenmode", "none", "up")
    for family in ("-4", "-6"):
        oracle.command("ip", family, "route", "add", "default", "dev", AWAY)
    return [f"{network} dev {AWAY}" for network in ("0.0.0.0/0", "::/0")]


def host(oracle: Oracle, seed: int) -> dict[str, Any]:
    """Give the kernel a way out for everything and the sets of `sets(seed)`; returns what an engine is told of it.

    Where TEE sends its copies there is none: they would meet rules that answer, as if the packet itself came out.
    """
    routes = way_out(oracle)
    for gateway in GATEWAYS:
        oracle.command("ip", "route", "add", "unreachable", gateway)
        routes.append(f"unreachable {gateway}")
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(sets(seed))
        file.flush()
        oracle.command("ipset", "restore", "-file", file.name)
    return {"routes": routes, "time_zone": 0, "sets": Sets.parse(sets(seed))}


def differences(
    seed: int,
    count: int,
    rules: Make = ruleset,
    settings: dict[str, int] | None = None,
    traffic: Traffic = generate,
    prepare: Callable[[Oracle, int], dict[str, Any]] | None = None,
) -> list[str]:
    """The rules whose counters, and the packets whose verdicts, differ between the kernel and the engine.

    Where the kernel's clock moved on while it judged a packet, a difference may come of that (connlimit looks for what
    begins once a tick only): then it is asked again, up to `ATTEMPTS` times in all.
    """
    for attempt in range(ATTEMPTS):
        found, certain = asked_once(seed, count, rules, settings, traffic, prepare)
        if not found or certain:
            break
        print(f"seed {seed}: {len(found)} differences, and the clock moved on: attempt {attempt + 1} of {ATTEMPTS}")
    return found


def asked_once(
    seed: int,
    count: int,
    rules: Make,
    settings: dict[str, int] | None,
    traffic: Traffic,
    prepare: Callable[[Oracle, int], dict[str, Any]] | None,
) -> tuple[list[str], bool]:
    """The differences, and whether the kernel's clock stood still while it judged each packet."""
    texts = {family: settled(rules(seed, family)) for family in (4, 6)}
    packets = traffic(seed, count)
    with Oracle(dict(settings or {})) as oracle:
        print(f"kernel {oracle.kernel}, seed {seed}, {count} packets")
        told_of = prepare(oracle, seed) if prepare is not None else {}
        oracle.load(texts[4], texts[6])
        answers = oracle.ask(packets)
        counted = {family: fastfw.Ruleset.parse(oracle.counters(family), family) for family in (4, 6)}

    def engine() -> fastfw.Engine:
        return fastfw.Engine(
            rules4=fastfw.Ruleset.parse(texts[4], 4),
            rules6=fastfw.Ruleset.parse(texts[6], 6),
            settings=settings,
            queues=(),
            **told_of,
        )

    certain = bool((answers["time_ns"] == answers["late_ns"]).all())
    return judged_otherwise(engine, packets, answers, counted), certain


def judged_otherwise(
    make: Callable[[], fastfw.Engine],
    packets: list[bytes],
    answers: npt.NDArray[np.void],
    counted: dict[int, fastfw.Ruleset],
) -> list[str]:
    """The rules whose counters, and the packets whose verdicts, are not the kernel's in engines as `make` makes them.

    Where the kernel's clock moved on while it judged a packet, what either end of that time makes of it is right.
    """
    found: list[str] = []
    for times in (answers["time_ns"], answers["late_ns"]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fastfw.RulesetNotice)
            engine = make()
        out = engine.process(*pack(packets), times, iif=IN_DEVICE, oif=OUT_DEVICE)
        told = counted_otherwise(engine, counted)
        told += [
            f"packet {index}: kernel {bool(answers['answered'][index])}, ours {out['verdict'][index]}"
            for index in np.flatnonzero((out["verdict"] == Verdict.VERDICT_ACCEPT) != answers["answered"])
        ]
        found = [text for text in told if text in found] if found else told
        if not found:
            break
    return found


def counted_otherwise(engine: fastfw.Engine, counted: dict[int, fastfw.Ruleset]) -> list[str]:
    """The rules and policies for which the engine's counters are not the kernel's."""
    found = []
    for family, kernel in counted.items():
        ours = engine.ruleset(family)
        assert ours is not None
        for name, table in ours.tables.items():
            for chain in table.chains.values():
                theirs = kernel.tables[name].chains[chain.name]
                if chain.policy is not None and chain.name not in NOT_OURS:
                    said, counts = (theirs.packets, theirs.bytes), (chain.packets, chain.bytes)
                    if said != counts:
                        found.append(f"{name} {chain.name} policy: kernel {said}, ours {counts}")
                for number, (rule, their) in enumerate(zip(chain.rules, theirs.rules, strict=False), 1):
                    said, counts = (their.packets, their.bytes), (rule.packets, rule.bytes)
                    if said != counts:
                        found.append(
                            f"IPv{family} {name} {chain.name} {number}{rule.save(family)}: {said}, ours {counts}"
                        )
    return found


ACCOUNTING = {"nf_conntrack_acct": 1}


ANNOUNCED = 12
"""FTP sessions of each family among `mixed` packets."""


def sessions(random: Random) -> list[list[bytes]]:
    """FTP sessions whose server names a port, each with the data connection to it, or one to the port beside it."""
    found = []
    for family in (4, 6):
        for number in range(1, ANNOUNCED + 1):
            who = ends(number, family, 21)
            port = random.randrange(1024, 65000)
            named = b"227 Entering Passive Mode (%s,%d,%d)" % (
                b",".join(b"%d" % octet for octet in who.server[:4]), port >> 8, port & 255,
            ) if family == 4 else b"229 Entering Extended Passive Mode (|||%d|)" % port  # fmt: skip
            session = packets([Say(0, b"PASV\r\n"), Say(1, named + b"\r\n"), Say(0, b"LIST\r\n")], who)
            data = replace(who, client_port=50_000, server_port=port + random.choice((0, 0, 0, 1)))
            session += packets([Say(1, b"-rw-r--r-- 1 0 0 17 a\r\n")], data)
            found.append(session)
    return found


def mixed(seed: int, count: int) -> list[bytes]:
    """Every protocol's conversations, some in pieces, a share of rare headers, and FTP sessions."""
    uncommon = count // 10
    ftp = sessions(Random(seed))
    count -= sum(map(len, ftp))
    made = generate(
        seed, count - uncommon, protocols=("tcp", "tcp", "udp", "icmp", "sctp", "gre", "other"), fragments=0.02
    )
    random = Random(seed)
    for packet in rare(seed, uncommon):
        made.insert(random.randrange(len(made) + 1), packet)
    for session in ftp:
        places = sorted(random.randrange(len(made) + 1) for _ in session)
        for later, (place, packet) in enumerate(zip(places, session, strict=True)):
            made.insert(place + later, packet)
    return made


@dataclass(frozen=True)
class Kind:
    """What rulesets are made of, the settings under which they are judged, the packets and the host's own facts."""

    rules: Make
    settings: dict[str, int] = field(default_factory=dict)
    traffic: Traffic = generate
    prepare: Callable[[Oracle, int], dict[str, Any]] | None = None


KINDS = {
    "filter": Kind(ruleset),
    "tables": Kind(tables),
    "everything": Kind(everything, ACCOUNTING),
    "whole": Kind(whole, ACCOUNTING, mixed, host),
}


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.kernel.counted", description=__doc__)
    parser.add_argument("--seeds", type=seeds, default=seeds("0-199"), metavar="N[-M]", help="default 0-199")
    parser.add_argument("--count", type=int, default=10_000, help="packets a seed (default 10000)")
    parser.add_argument("--rules", choices=sorted(KINDS), default="whole", help="default whole")
    parser.add_argument("--share", default="1/1", metavar="I/N", help="the I-th of N parts of the seeds (default 1/1)")
    return parser


def main() -> int:
    options = arguments().parse_args()
    reason = missing()
    if reason:
        print(reason, file=sys.stderr)
        return 2
    kind = KINDS[options.rules]
    part, parts = (int(text) for text in options.share.split("/"))
    wrong = done = 0
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # connlimit knows what another processor has just begun
    for seed in options.seeds[part - 1 :: parts]:
        found = differences(seed, options.count, kind.rules, kind.settings, kind.traffic, kind.prepare)
        wrong, done = wrong + len(found), done + 1
        print(f"seed {seed}: {len(found)} differences", *found, sep="\n    ", flush=True)
    print(f"{options.rules}: {done} rulesets a family, {done * options.count} packets, {wrong} differences")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
