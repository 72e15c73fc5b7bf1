"""The same packets through the running kernel and through the engine, and every place where they differ.

``python -m tests.kernel.compare --seeds 0-19 --count 50000`` prints one line a seed and, for each difference, the
shortest list of packets found that still shows it. Exit status 0: none, 1: some, 2: the kernel cannot be asked.
"""

from __future__ import annotations

import argparse
import ipaddress
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tests.kernel.oracle import IN_DEVICE, OUT_DEVICE, STATES, Oracle, missing, pack, words
from tests.traffic.describe import Key, can_be_sent_on, describe, flow_key, is_fragment, pair_key
from tests.traffic.generate import generate

import fastfw
from fastfw.core.terms import Reason, Verdict

TOLERANCE = 2
"""Seconds by which a timeout may differ: the two tables are not read at the same instant."""

REDUCIBLE = 2000
"""Packets up to which a list is reduced that shows a difference only as a whole."""

ANSWERED = ("state", "direction", "assured", "seen_reply", "expected")
Packets = Sequence[bytes]
Records = npt.NDArray[np.void]


@dataclass(frozen=True)
class Setup:
    """What both sides are given: settings, rulesets as iptables-save text, helpers as (name, protocol, port)."""

    settings: dict[str, int] = field(default_factory=dict)
    rules4: str | None = None
    rules6: str | None = None
    helpers: tuple[tuple[str, str, int], ...] = ()
    batches: int = 1
    pause: float = 0.0
    """The packets are sent in this many batches with so many seconds between: real time for timeouts to run out."""

    def oracle(self) -> Oracle:
        return Oracle(dict(self.settings), self.rules4, self.rules6, self.helpers)

    def engine(self) -> fastfw.Engine:
        rules4 = fastfw.Ruleset.parse(self.rules4, family=4) if self.rules4 else None
        rules6 = fastfw.Ruleset.parse(self.rules6, family=6) if self.rules6 else None
        helpers = [":".join(map(str, helper)) for helper in self.helpers]
        return fastfw.Engine(rules4=rules4, rules6=rules6, settings=self.settings, helpers=helpers)


@dataclass(frozen=True)
class Difference:
    """One place where the two sides disagree: a packet by its index, or a line of the final table (index -1)."""

    index: int
    kernel: str
    ours: str


@dataclass
class Comparison:
    """Everything one run said: both sides' records and the differences between them, packets first."""

    packets: Packets
    kernel: Records
    ours: Records
    differences: list[Difference]

    def transcript(self, indices: Sequence[int]) -> str:
        """The packets at ``indices``, one a line, with what each side said where they differ."""
        lines = []
        for index in indices:
            said, answered = ours_in_words(self.ours[index]), words(self.kernel[index])
            same = not packet_differs(self.kernel[index], self.ours[index])
            verdict = f"both: {answered}" if same else f"KERNEL: {answered}   OURS: {said}"
            lines.append(f"  {index:>6}  {describe(self.packets[index])}\n          {verdict}")
        return "\n".join(lines)


def packet_differs(kernel: np.void, ours: np.void) -> bool:
    """Whether the two sides disagree about a packet; of one that never came out only that much is known."""
    accepted = ours["verdict"] == Verdict.VERDICT_ACCEPT
    if not kernel["answered"] or not accepted:
        return bool(kernel["answered"] != accepted)
    return any(int(kernel[name]) != int(ours[name]) for name in ANSWERED)


def differing(kernel: Records, ours: Records) -> npt.NDArray[np.intp]:
    """Indices of the packets about which the two sides disagree."""
    accepted = ours["verdict"] == Verdict.VERDICT_ACCEPT
    wrong = kernel["answered"] != accepted
    both = kernel["answered"] & accepted
    for name in ANSWERED:
        wrong |= both & (kernel[name].astype(np.uint8) != ours[name])
    return np.flatnonzero(wrong)


def ours_in_words(record: np.void) -> str:
    """One of the engine's records in the oracle's words, with the reason."""
    verdict = Verdict(record["verdict"]).name.removeprefix("VERDICT_")
    parts = [] if verdict == "ACCEPT" else [verdict]
    parts.append(STATES[record["state"]])
    parts += ["REPLY"] * int(record["direction"])
    parts += [name.upper() for name in ("seen_reply", "assured", "expected") if record[name]]
    if record["reason"]:
        parts.append(f"({Reason(record['reason']).name})")
    return " ".join(parts)


def entries(lines: Sequence[str]) -> dict[str, list[int]]:
    """Table lines without timeout, age and ``use``, each with the timeouts under which it stands."""
    found: dict[str, list[int]] = {}
    for line in lines:
        parts = line.split()
        timeout = int(parts.pop(4))
        text = re.sub(r"( delta-time=\d+)? use=\d+$", "", " ".join(parts))
        found.setdefault(text, []).append(timeout)
    return {text: sorted(timeouts) for text, timeouts in found.items()}


def table_differences(kernel: Sequence[str], ours: Sequence[str]) -> list[Difference]:
    """Entries that stand in one table only, or with another timeout."""
    theirs, mine = entries(kernel), entries(ours)
    found = []
    for text in sorted(theirs.keys() | mine.keys()):
        left, right = theirs.get(text, []), mine.get(text, [])
        close = len(left) == len(right) and all(abs(a - b) <= TOLERANCE for a, b in zip(left, right, strict=True))
        # An entry about to expire may be gone on one side already.
        dying = not (left and right) and all(value <= TOLERANCE for value in left + right)
        if not close and not dying:
            found.append(Difference(-1, f"{text} {left}" if left else "-", f"{text} {right}" if right else "-"))
    return found


def joined_with(packets: Packets, ours: Records, index: int) -> list[bytes]:
    """The fragments that were held for the datagram which the IPv6 fragment `index` completes, and it; of what is no
    fragment itself alone."""

    def datagram(packet: bytes) -> bytes:
        return packet[8:40] + packet[44:48] if is_fragment(packet) and packet[0] >> 4 == 6 else b""

    named = datagram(packets[index])
    held = np.flatnonzero(ours["verdict"][:index] == Verdict.VERDICT_HOLD) if named else []
    return [*(packets[each] for each in held if datagram(packets[each]) == named), packets[index]]


def compare(setup: Setup, oracle: Oracle, packets: Packets) -> Comparison:
    """Send the packets through both sides, from an empty table; the engine is given the kernel's clock."""
    if any(map(is_fragment, packets)):
        oracle.restart()  # or pieces left over from an earlier run would join these
    else:
        oracle.flush()
    data, offsets, lengths = pack(packets)
    parts: list[Records] = []
    for batch in np.array_split(np.arange(len(packets)), setup.batches):
        if parts:
            time.sleep(setup.pause)
        parts.append(oracle.ask(data, offsets[batch], lengths[batch]))
    kernel = np.concatenate(parts)
    lines, now = oracle.table(), time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    engine = setup.engine()
    ours = engine.process(data, offsets, lengths, kernel["time_ns"], hook="FORWARD", iif=IN_DEVICE, oif=OUT_DEVICE)
    engine.expire(now)
    differences = [
        Difference(int(index), words(kernel[index]), ours_in_words(ours[index]))
        for index in differing(kernel, ours)
        if kernel["answered"][index] or can_be_sent_on(joined_with(packets, ours, int(index)))
    ]
    differences += table_differences(lines, [str(connection) for connection in engine.connections()])
    return Comparison(packets, kernel, ours, differences)


def shrink(packets: list[bytes], fails: Callable[[Packets], bool]) -> list[bytes]:
    """The shortest list of packets found, by leaving out ever smaller runs of them, for which ``fails`` still holds."""
    size = max(1, len(packets) // 2)
    while True:
        start, shrunk = 0, False
        while start < len(packets):
            fewer = packets[:start] + packets[start + size :]
            if fewer and fails(fewer):
                packets, shrunk = fewer, True
            else:
                start += size
        if size == 1 and not shrunk:
            return packets
        size = max(1, size // 2)


def line_key(line: str) -> Key:
    """The connection of a table line, as ``flow_key`` names that of a packet."""
    protocol = int(line.split()[3])
    fields: dict[str, str] = {}
    for name, value in re.findall(r"(\w+)=(\S+)", line):
        fields.setdefault(name, value)
    source, destination = (str(ipaddress.ip_address(fields[name])) for name in ("src", "dst"))
    if "sport" in fields:
        return protocol, frozenset(((source, int(fields["sport"])), (destination, int(fields["dport"]))))
    if "id" in fields:
        return protocol, frozenset((source, destination)), int(fields["id"]).to_bytes(2, "big")
    return protocol, frozenset((source, destination))


def key_of(comparison: Comparison, difference: Difference) -> Key:
    """The connection a difference is about."""
    if difference.index >= 0:
        return flow_key(comparison.packets[difference.index])
    return line_key(difference.kernel if difference.kernel != "-" else difference.ours)


def reduce(setup: Setup, oracle: Oracle, comparison: Comparison, difference: Difference) -> Comparison:
    """The smallest comparison found that still shows a difference of the same kind, if it shows again at all.

    A connection depends on nothing but its own packets, so all others are left out first; only where that hides the
    difference is the whole list tried, up to a length at which leaving out one by one is still quick.
    """
    in_table = difference.index < 0

    def fails(packets: Packets) -> bool:
        found = compare(setup, oracle, packets).differences
        return any((each.index < 0) == in_table for each in found)

    packets = list(comparison.packets if in_table else comparison.packets[: difference.index + 1])
    key = key_of(comparison, difference)
    related = [packet for packet in packets if flow_key(packet) == key]
    if fails(related):
        return compare(setup, oracle, shrink(related, fails))
    pairs = {pair_key(packet) for packet in related}
    neighbours = [packet for packet in packets if pair_key(packet) in pairs]
    packets = neighbours if fails(neighbours) else packets[-REDUCIBLE:]
    return compare(setup, oracle, shrink(packets, fails) if fails(packets) else related)


def report(comparison: Comparison) -> str:
    """A comparison with differences, for people: transcript, table, and the packets in hexadecimal."""
    lines = [comparison.transcript(range(len(comparison.packets)))]
    for difference in comparison.differences:
        if difference.index < 0:
            lines.append(f"  table KERNEL: {difference.kernel}\n        OURS:   {difference.ours}")
    lines += [f"  {index}: {packet.hex()}" for index, packet in enumerate(comparison.packets)]
    return "\n".join(lines)


def kind_of(comparison: Comparison) -> str:
    """A name for the class of difference: what each side said of the first packet that differs."""
    first = comparison.differences[0]
    if first.index >= 0:
        packet = describe(comparison.packets[first.index])
        flags = re.search(r"\[\w+\]|type \d+", packet)
        return f"{packet.split()[0]} {flags[0] if flags else ''} kernel {first.kernel}; ours {first.ours}"
    brief = [re.sub(r"(src|dst|sport|dport|id)=\S+ ?", "", text) for text in (first.kernel, first.ours)]
    return f"table: kernel {brief[0]}; ours {brief[1]}"


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
    parser = argparse.ArgumentParser(prog="python -m tests.kernel.compare", description=__doc__)
    parser.add_argument("--seeds", type=seeds, default=seeds("0-19"), metavar="N[-M]", help="default 0-19")
    parser.add_argument("--count", type=int, default=50_000, help="packets a seed (default 50000)")
    parser.add_argument("--anomalies", type=float, default=0.25, help="the share of packets that break a rule")
    parser.add_argument("--protocols", default="tcp,tcp,udp,icmp", help="comma-separated; twice is twice as frequent")
    parser.add_argument("--families", default="4,6", help="comma-separated")
    parser.add_argument("--fragments", type=float, default=0.0, help="the share of packets that come in pieces")
    parser.add_argument("--set", type=setting, action="append", default=[], metavar="NAME=VALUE", dest="settings")
    parser.add_argument("--batches", type=int, default=1, help="send each seed's packets in this many batches")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between batches")
    parser.add_argument("--show", type=int, default=3, help="differences to reduce and print a seed (default 3)")
    parser.add_argument("--matrix", action="store_true", help="once for every switch, protocol and rate of anomalies")
    parser.add_argument("--report", type=Path, help="write each new class of difference to a file in this directory")
    return parser


EVERYTHING = "tcp,tcp,udp,icmp,sctp,gre,other"
WAITING = "--batches 4 --pause 0.83"
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
        "--protocols sctp",
        "--protocols gre,other",
        "--protocols icmp,udp --families 6",
        "--set nf_conntrack_tcp_loose=0",
        "--set nf_conntrack_tcp_be_liberal=1",
        "--set nf_conntrack_tcp_ignore_invalid_rst=1",
        "--set nf_conntrack_tcp_loose=0 --set nf_conntrack_tcp_be_liberal=1 --anomalies 0.7",
        "--set nf_conntrack_tcp_max_retrans=0",
        "--set nf_conntrack_tcp_timeout_unacknowledged=3 --set nf_conntrack_tcp_timeout_max_retrans=2",
        f"--set nf_conntrack_checksum=0 --protocols {EVERYTHING}",
        f"--set nf_conntrack_acct=1 --protocols {EVERYTHING}",
        "--set nf_conntrack_acct=1 --fragments 0.1",
        "--set nf_conntrack_timestamp=1",
        "--set nf_conntrack_tcp_timeout_syn_sent=1 --set nf_conntrack_tcp_timeout_syn_recv=2"
        " --set nf_conntrack_tcp_timeout_established=3 --set nf_conntrack_tcp_timeout_fin_wait=1"
        f" --protocols tcp {WAITING}",
        "--set nf_conntrack_tcp_timeout_close_wait=2 --set nf_conntrack_tcp_timeout_last_ack=3"
        " --set nf_conntrack_tcp_timeout_time_wait=1 --set nf_conntrack_tcp_timeout_close=2"
        " --set nf_conntrack_tcp_timeout_unacknowledged=1 --set nf_conntrack_tcp_timeout_max_retrans=3"
        f" --protocols tcp {WAITING}",
        "--set nf_conntrack_udp_timeout=1 --set nf_conntrack_udp_timeout_stream=2 --set nf_conntrack_icmp_timeout=1"
        " --set nf_conntrack_icmpv6_timeout=2 --set nf_conntrack_generic_timeout=1"
        f" --protocols udp,icmp,other {WAITING}",
        "--set nf_conntrack_sctp_timeout_closed=1 --set nf_conntrack_sctp_timeout_cookie_wait=2"
        " --set nf_conntrack_sctp_timeout_cookie_echoed=3 --set nf_conntrack_sctp_timeout_established=1"
        " --set nf_conntrack_sctp_timeout_shutdown_sent=1 --set nf_conntrack_sctp_timeout_shutdown_recd=2"
        " --set nf_conntrack_sctp_timeout_shutdown_ack_sent=1 --set nf_conntrack_sctp_timeout_heartbeat_sent=2"
        f" --set nf_conntrack_gre_timeout=1 --set nf_conntrack_gre_timeout_stream=2 --protocols sctp,gre {WAITING}",
    )
)
"""What ``--matrix`` goes through with the count given: every switch, timeout, protocol and rate of anomalies. Each line
has seeds of its own, the n-th (from 0) those given plus n thousand."""


def run(options: argparse.Namespace, kinds: Counter[str]) -> tuple[int, int]:
    """Compare every seed under one set of options; returns the packets sent and the differences found."""
    setup = Setup(settings=dict(options.settings), batches=options.batches, pause=options.pause)
    protocols, families = options.protocols.split(","), [int(family) for family in options.families.split(",")]
    total = wrong = 0
    with setup.oracle() as oracle:
        print(
            f"kernel {oracle.kernel}; settings {setup.settings or 'default'}; anomalies {options.anomalies}; "
            f"fragments {options.fragments}; {options.protocols} over IPv{options.families}"
        )
        for seed in options.seeds:
            packets = generate(seed, options.count, options.anomalies, protocols, families, options.fragments)
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
    total = wrong = 0
    for number, line in enumerate(MATRIX if options.matrix else [[]]):
        chosen = parser.parse_args(sys.argv[1:] + line)
        chosen.seeds = [seed + 1000 * number for seed in chosen.seeds]
        sent, differences = run(chosen, kinds)
        total, wrong = total + sent, wrong + differences
    print(f"{total} packets, {wrong} differences, {len(kinds)} classes reduced")
    for kind, count in kinds.most_common():
        print(f"  {count} x {kind}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
