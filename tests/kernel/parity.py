"""Generated packets through the running kernel and through the engine, at length.

``python -m tests.kernel.parity --seeds 0-19 --count 50000`` prints one line a seed and, for each difference, the
shortest list of packets found that still shows it; ``--matrix`` goes through every switch, timeout, protocol and rate
of anomalies. Exit status 0: no difference, 1: some, 2: the kernel cannot be asked.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from random import Random

from tests.kernel.compare import Comparison, Setup, compare, key_of, kind_of, reduce, report
from tests.kernel.oracle import Oracle, missing
from tests.traffic.announced import RULES, filling
from tests.traffic.generate import generate
from tests.traffic.rulesets import tables

EVERYTHING = "tcp,tcp,udp,icmp,sctp,gre,udplite,other"
WAITING = "--batches 20 --pause 0.19"
CEILING = 8_000
"""Connections that ``--full`` begins with. All namespaces share the ceiling: it lies above what others track."""

TIMEOUTS = {
    "tcp": {
        "tcp_timeout_syn_sent": (1, 2), "tcp_timeout_syn_recv": (2, 1), "tcp_timeout_established": (3, 2),
        "tcp_timeout_fin_wait": (1, 3), "tcp_timeout_close_wait": (2, 1), "tcp_timeout_last_ack": (3, 1),
        "tcp_timeout_time_wait": (1, 2), "tcp_timeout_close": (2, 1), "tcp_timeout_unacknowledged": (1, 2),
        "tcp_timeout_max_retrans": (3, 1),
    },
    "udp,udplite,icmp,other": {
        "udp_timeout": (1, 2), "udp_timeout_stream": (2, 3), "icmp_timeout": (1, 2), "icmpv6_timeout": (2, 1),
        "generic_timeout": (1, 3),
    },
    "sctp,gre": {
        "sctp_timeout_closed": (1, 2), "sctp_timeout_cookie_wait": (2, 1), "sctp_timeout_cookie_echoed": (3, 1),
        "sctp_timeout_established": (1, 3), "sctp_timeout_shutdown_sent": (1, 2), "sctp_timeout_shutdown_recd": (2, 1),
        "sctp_timeout_shutdown_ack_sent": (1, 2), "sctp_timeout_heartbeat_sent": (2, 1),
        "gre_timeout": (1, 2), "gre_timeout_stream": (2, 1),
    },
}  # fmt: skip
"""Every timeout of the protocols named, seconds: two sets of short ones."""


def waiting(protocols: str, number: int) -> str:
    """The options under which every timeout of some protocols is short and runs out in real time."""
    shortened = (f"--set nf_conntrack_{name}={each[number]}" for name, each in TIMEOUTS[protocols].items())
    return " ".join([*shortened, f"--protocols {protocols}", WAITING])


MATRIX = tuple(
    line.split()
    for line in (
        "",
        "--anomalies 0",
        "--anomalies 0.05",
        "--anomalies 0.6",
        f"--protocols {EVERYTHING}",
        f"--protocols {EVERYTHING} --anomalies 0.6",
        f"--protocols {EVERYTHING} --fragments 0.05",
        f"--protocols {EVERYTHING} --fragments 0.7 --anomalies 0.1",
        "--protocols sctp",
        "--protocols sctp --anomalies 0.6",
        "--protocols gre,udplite,other",
        "--protocols icmp,udp --families 6",
        "--set nf_conntrack_tcp_loose=0",
        "--set nf_conntrack_tcp_be_liberal=1",
        "--set nf_conntrack_tcp_ignore_invalid_rst=1",
        "--set nf_conntrack_tcp_loose=0 --set nf_conntrack_tcp_be_liberal=1 --anomalies 0.7",
        "--set nf_conntrack_tcp_max_retrans=0",
        "--set nf_conntrack_tcp_max_retrans=1 --set nf_conntrack_tcp_timeout_max_retrans=2",
        f"--set nf_conntrack_checksum=0 --protocols {EVERYTHING}",
        f"--set nf_conntrack_acct=1 --protocols {EVERYTHING}",
        "--set nf_conntrack_acct=1 --fragments 0.1",
        f"--set nf_conntrack_timestamp=1 --protocols {EVERYTHING}",
        "--set ipfrag_low_thresh=1 --set ipfrag_high_thresh=40000 --set nf_conntrack_frag6_low_thresh=1"
        " --set nf_conntrack_frag6_high_thresh=30000 --fragments 0.5",
        "--set ipfrag_max_dist=3 --fragments 0.5 --protocols udp,icmp",
        *(waiting(protocols, number) for protocols in TIMEOUTS for number in (0, 1)),
        f"--protocols {EVERYTHING} --batches 40 --churn",
        f"--protocols {EVERYTHING} --batches 40 --churn --fragments 0.1 --anomalies 0.5",
        f"--protocols {EVERYTHING} --churn {WAITING}",
        f"--protocols {EVERYTHING} --tables",
        "--protocols announced",
        "--protocols announced --set nf_conntrack_expect_max=3",
        "--protocols announced,tcp --set nf_conntrack_expect_max=1 --anomalies 0.5",
        f"--protocols announced,{EVERYTHING} --set nf_conntrack_expect_max=2 --later nf_conntrack_expect_max=8",
        f"--protocols {EVERYTHING} --full",
        f"--protocols announced,{EVERYTHING} --full --anomalies 0.6 --fragments 0.05",
        f"--protocols {EVERYTHING} --full --later nf_conntrack_max=0",
    )
)
"""What ``--matrix`` goes through with the count given. Each line has seeds of its own, the n-th (from 0) those given
plus n thousand."""

SWITCHES = {
    "nf_conntrack_tcp_loose": (0, 1), "nf_conntrack_tcp_be_liberal": (0, 1), "nf_conntrack_tcp_max_retrans": (0, 1, 3),
    "nf_conntrack_tcp_ignore_invalid_rst": (0, 1), "nf_conntrack_checksum": (0, 1), "nf_conntrack_acct": (0, 1),
}  # fmt: skip
SWITCHED = dict.fromkeys(SWITCHES, 1) | {
    "nf_conntrack_tcp_be_liberal": 0,
    "nf_conntrack_tcp_max_retrans": 3,
    "nf_conntrack_tcp_ignore_invalid_rst": 0,
    "nf_conntrack_acct": 0,
}
"""What the switches begin with where they change while packets flow."""


def churn(seed: int, batches: int) -> tuple[tuple[int, str, int], ...]:
    """One or two settings for every batch: a switch turned, a timeout set to some seconds."""
    random = Random(seed)
    timeouts = [name for each in TIMEOUTS.values() for name in each]
    found = []
    for batch in range(1, batches):
        for _ in range(random.choice((1, 2))):
            if random.random() < 0.5:
                name = random.choice(list(SWITCHES))
                found.append((batch, name, random.choice(SWITCHES[name])))
            else:
                found.append((batch, f"nf_conntrack_{random.choice(timeouts)}", random.choice((1, 2, 3, 10, 60, 300))))
    return tuple(found)


def setup_of(options: argparse.Namespace, seed: int) -> Setup:
    """What both sides are given for one seed."""
    settings = dict(options.settings)
    changes: tuple[tuple[int, str, int], ...] = ()
    if options.churn:
        changes = churn(seed, options.batches)
        defaults = {f"nf_conntrack_{name}": 30 for each in TIMEOUTS.values() for name in each}
        settings = {**SWITCHED, **defaults, **settings}
    if options.full:
        settings["nf_conntrack_max"] = CEILING
    batches = options.batches
    if options.later:
        batches = max(2, batches)
        changes += tuple((batches // 2, name, value) for name, value in options.later)
    announced = RULES if "announced" in options.protocols else None
    rules4, rules6 = (tables(seed, family) if options.tables else announced for family in (4, 6))
    return Setup(settings, rules4, rules6, (), batches, options.pause, changes)


def seeds(text: str) -> list[int]:
    """``3`` or ``0-19`` or ``1,5,7-9`` as a list."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def setting(text: str) -> tuple[str, int]:
    name, _, value = text.partition("=")
    return name, int(value)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.kernel.parity", description=__doc__)
    parser.add_argument("--seeds", type=seeds, default=seeds("0-3"), metavar="N[-M]", help="default 0-3")
    parser.add_argument("--count", type=int, default=80_000, help="packets a seed (default 80000)")
    parser.add_argument("--anomalies", type=float, default=0.25, help="the share of packets that break a rule")
    parser.add_argument("--protocols", default="tcp,tcp,udp,icmp", help="comma-separated; twice is twice as frequent")
    parser.add_argument("--families", default="4,6", help="comma-separated")
    parser.add_argument("--fragments", type=float, default=0.0, help="the share of packets that come in pieces")
    parser.add_argument("--set", type=setting, action="append", default=[], metavar="NAME=VALUE", dest="settings")
    parser.add_argument("--batches", type=int, default=1, help="send each seed's packets in this many batches")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between batches")
    parser.add_argument("--churn", action="store_true", help="change switches and timeouts between batches")
    parser.add_argument(
        "--later", type=setting, action="append", default=[], metavar="NAME=VALUE", help="set when half is sent"
    )
    parser.add_argument(
        "--full", action="store_true", help="begin with as many established connections as nf_conntrack_max allows"
    )
    parser.add_argument("--tables", action="store_true", help="random rules that exempt, zone and mark")
    parser.add_argument("--show", type=int, default=3, help="differences to reduce and print a seed (default 3)")
    parser.add_argument("--matrix", action="store_true", help="once for every switch, protocol and rate of anomalies")
    parser.add_argument("--lines", type=seeds, metavar="N[-M]", help="only these lines of the matrix, from 0")
    parser.add_argument("--report", type=Path, help="write each new class of difference to a file in this directory")
    return parser


def run(options: argparse.Namespace, kinds: Counter[str]) -> tuple[int, int]:
    """Compare every seed under one set of options; returns the packets sent and the differences found."""
    protocols, families = options.protocols.split(","), [int(family) for family in options.families.split(",")]
    total = wrong = 0
    for seed in options.seeds:
        setup = setup_of(options, seed)
        with setup.oracle() as oracle:
            packets = generate(seed, options.count, options.anomalies, protocols, families, options.fragments)
            if options.full:
                packets = filling(CEILING) + packets
            found = compare(setup, oracle, packets)
            total, wrong = total + len(packets), wrong + len(found.differences)
            print(f"seed {seed}: {len(packets)} packets, {len(found.differences)} differences", flush=True)
            show(setup, oracle, seed, found, options, kinds)
    return total, wrong


def show(
    setup: Setup, oracle: Oracle, seed: int, found: Comparison, options: argparse.Namespace, kinds: Counter[str]
) -> None:
    """Reduce the first difference of each of a few connections, and print those of a class not seen before."""
    shown: set[object] = set()
    for difference in found.differences:
        key = key_of(found, difference)
        if len(shown) >= options.show or key in shown:
            continue
        shown.add(key)
        if setup.batches > 1:  # what time has brought about does not come again at once
            print(f"  {difference}\n{found.transcript(found.of_key(key))}", flush=True)
            continue
        small = reduce(setup, oracle, found, difference)
        if not small.differences:
            print(f"  not seen again alone: {difference}")
            continue
        kind = kind_of(small)
        kinds[kind] += 1
        if kinds[kind] == 1:
            text = f"{kind}\nseed {seed}, packet {difference.index}\n{report(small)}\n"
            print(text, flush=True)
            if options.report:
                options.report.mkdir(parents=True, exist_ok=True)
                (options.report / f"{len(kinds):03d}.md").write_text(text)


def main() -> int:
    parser = arguments()
    options = parser.parse_args()
    reason = missing()
    if reason:
        print(reason, file=sys.stderr)
        return 2
    kinds: Counter[str] = Counter()
    total = wrong = seeds_run = 0
    print(f"kernel {Oracle().kernel}", flush=True)
    for number, line in enumerate(MATRIX if options.matrix else [[]]):
        if options.matrix and options.lines is not None and number not in options.lines:
            continue
        print(f"{number}: {' '.join(line) or 'defaults'}", flush=True)
        chosen = parser.parse_args(sys.argv[1:] + line)
        chosen.seeds = [seed + 1000 * number for seed in chosen.seeds]
        sent, differences = run(chosen, kinds)
        total, wrong, seeds_run = total + sent, wrong + differences, seeds_run + len(chosen.seeds)
    print(f"{total} packets over {seeds_run} seeds, {wrong} differences, {len(kinds)} classes reduced")
    for kind, count in kinds.most_common():
        print(f"  {count} x {kind}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
