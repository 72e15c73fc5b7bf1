"""The same packets through the running kernel and through the engine, and every place where they differ."""

from __future__ import annotations

import ipaddress
import re
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np
import numpy.typing as npt
from tests.kernel.oracle import IN_DEVICE, OUT_DEVICE, STATES, TICK, Oracle, pack, words
from tests.traffic.describe import Key, can_be_sent_on, describe, flow_key, is_fragment, pair_key

import fastfw
from fastfw.core.terms import Reason, Verdict

CHOICES = 400
"""Ways of placing the packets of one connection at which the kernel's clock moved that are tried; what none of them
explains is a difference."""

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
    changes: tuple[tuple[int, str, int], ...] = ()
    """Settings changed while packets flow: (before which batch, name, value)."""
    timeouts: dict[str, fastfw.TimeoutPolicy] = field(default_factory=dict)
    """The engine's timeout policies; the oracle is given its own."""

    def oracle(self) -> Oracle:
        return Oracle(
            {kernel_name(name): value for name, value in self.settings.items()}, self.rules4, self.rules6, self.helpers
        )

    def engine(self) -> fastfw.Engine:
        rules4 = fastfw.Ruleset.parse(self.rules4, family=4) if self.rules4 else None
        rules6 = fastfw.Ruleset.parse(self.rules6, family=6) if self.rules6 else None
        helpers = [":".join(map(str, helper)) for helper in self.helpers]
        return fastfw.Engine(
            rules4=rules4, rules6=rules6, settings=self.settings, helpers=helpers, timeouts=self.timeouts
        )


def kernel_name(name: str) -> str:
    """A setting's place where it is not conntrack's but IPv4's."""
    return f"ipv4/{name}" if name.startswith("ip") else name


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

    def of_key(self, key: Key) -> list[int]:
        """The packets of one connection."""
        return [index for index, packet in enumerate(self.packets) if flow_key(packet) == key]

    def transcript(self, indices: Sequence[int]) -> str:
        """The packets at ``indices``, one a line, with what each side said where they differ."""
        lines = []
        for index in indices:
            said, answered = ours_in_words(self.ours[index]), words(self.kernel[index])
            same = not packet_differs(self.kernel[index], self.ours[index])
            verdict = f"both: {answered}" if same else f"KERNEL: {answered}   OURS: {said}"
            moment = (int(self.kernel["time_ns"][index]) - int(self.kernel["time_ns"][0])) / 1e9
            lines.append(f"  {index:>6} {moment:7.3f}  {describe(self.packets[index])}\n          {verdict}")
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


def table_differences(kernel: Sequence[str], since: Sequence[str], until: Sequence[str]) -> list[Difference]:
    """Entries of the kernel's table, read between two moments, that are not what ours was between them.

    An entry may have ended between the two, and its seconds may be those of either or between.
    """
    theirs, first, last = entries(kernel), entries(since), entries(until)
    found = []
    for text in sorted(theirs.keys() | first.keys()):
        left, most, least = (sorted(each.get(text, []), reverse=True) for each in (theirs, first, last))
        right = len(least) <= len(left) <= len(most) and all(
            low <= seconds <= high for seconds, high, low in zip_longest(left, most[: len(left)], least, fillvalue=0)
        )
        if not right:
            found.append(Difference(-1, f"{text} {left}" if left else "-", f"{text} {most}" if most else "-"))
    return found


def joined_with(packets: Packets, ours: Records, index: int) -> list[bytes]:
    """The fragments that were held for the datagram which the IPv6 fragment `index` completes, and it; of what is no
    fragment itself alone."""

    def datagram(packet: bytes) -> bytes:
        return packet[8:40] + packet[44:48] if is_fragment(packet) and packet[0] >> 4 == 6 else b""

    named = datagram(packets[index])
    held = np.flatnonzero(ours["verdict"][:index] == Verdict.VERDICT_HOLD) if named else []
    return [*(packets[each] for each in held if datagram(packets[each]) == named), packets[index]]


@dataclass(frozen=True)
class Asked:
    """What the kernel said of a list of packets: a record each, in as many parts as batches were sent, and the table
    afterwards, read between two moments of the answers' clock (ns)."""

    packets: Packets
    answers: Records
    parts: list[npt.NDArray[np.intp]]
    table: list[str]
    since: int
    until: int


def ask(setup: Setup, oracle: Oracle, packets: Packets) -> Asked:
    """Send the packets through the kernel, from an empty table."""
    if any(map(is_fragment, packets)) and not oracle.fresh:
        oracle.restart()  # or pieces left over from an earlier run would join these
    else:
        oracle.flush()
    for name, value in setup.settings.items():
        if setup.changes:
            oracle.set(kernel_name(name), value)
    data, offsets, lengths = pack(packets)
    parts = np.array_split(np.arange(len(packets)), setup.batches)
    answers: list[Records] = []
    for number, part in enumerate(parts):
        if number:
            time.sleep(setup.pause)
        for when, name, value in setup.changes:
            if when == number:
                oracle.set(kernel_name(name), value)
        answers.append(oracle.ask(data, offsets[part], lengths[part]))
    since = oracle.moment()
    table = oracle.table()
    return Asked(packets, np.concatenate(answers), parts, table, since, oracle.moment())


def judge(setup: Setup, asked: Asked, times: npt.NDArray[np.int64]) -> Comparison:
    """Give the engine the same packets at these times, and hold its answers and its table to the kernel's."""
    packets, kernel = asked.packets, asked.answers
    data, offsets, lengths = pack(packets)
    engine = setup.engine()
    answers: list[Records] = []
    for number, part in enumerate(asked.parts):
        for when, name, value in setup.changes:
            if when == number:
                engine.settings[name] = value
        answers.append(
            engine.process(
                data, offsets[part], lengths[part], times[part], hook="FORWARD", iif=IN_DEVICE, oif=OUT_DEVICE
            )
        )
    ours = np.concatenate(answers)
    differences = [
        Difference(int(index), words(kernel[index]), ours_in_words(ours[index]))
        for index in differing(kernel, ours)
        if kernel["answered"][index] or can_be_sent_on(joined_with(packets, ours, int(index)))
    ]
    tables = []
    for moment in (asked.since, asked.until):
        engine.expire(moment)
        tables.append([str(connection) for connection in engine.connections()])
    differences += table_differences(asked.table, *tables)
    return Comparison(packets, kernel, ours, differences)


def placed(asked: Asked, unsure: Sequence[int], wrong: Callable[[npt.NDArray[np.int64]], int | None]) -> bool:
    """Whether the packets at `unsure`, ascending, can be placed in time so that nothing is wrong.

    Of a packet during which the kernel's clock moved it is not known at which tick it was judged. `wrong` says of times
    at which packet something is wrong first, None where nothing is. One packet is moved at a time, then all choices
    are gone through, those left out that change nothing before what is wrong.
    """
    first, last = asked.answers["time_ns"], asked.answers["late_ns"]
    ranges = [range(int(first[index]), int(last[index]) + TICK, TICK) for index in unsure]

    def at(choice: Sequence[int]) -> int | None:
        times = first.copy()
        times[list(unsure)] = [each[place] for each, place in zip(ranges, choice, strict=True)]
        return wrong(times)

    def choices() -> Iterator[list[int]]:
        for place, each in enumerate(ranges):
            for chosen in range(1, len(each)):
                yield [chosen if other == place else 0 for other in range(len(ranges))]

    tried = 0
    for choice in choices():
        tried += 1
        if at(choice) is None:
            return True
        if tried == CHOICES // 2:
            break
    choice = [0] * len(ranges)
    for _ in range(CHOICES - tried):
        where = at(choice)
        if where is None:
            return True
        place = bisect_right(unsure, where) - 1
        while place >= 0 and choice[place] + 1 == len(ranges[place]):
            place -= 1
        if place < 0:
            return False
        choice[place:] = [choice[place] + 1] + [0] * (len(ranges) - place - 1)
    return False


def explained(setup: Setup, asked: Asked, key: Key) -> bool:
    """Whether the kernel's answers about one connection are right at some of the ticks at which it may have judged the
    connection's packets, or all between its ends where those alone do not explain them."""
    packets = asked.packets

    def wrong(times: npt.NDArray[np.int64]) -> int | None:
        found = judge(setup, asked, times)
        mine = [each.index for each in found.differences if key_of(found, each) == key]
        return min((index if index >= 0 else len(packets) for index in mine), default=None)

    moved = np.flatnonzero(asked.answers["late_ns"] > asked.answers["time_ns"]).tolist()
    own = [index for index in moved if flow_key(packets[index]) == key]
    if own and placed(asked, own, wrong):
        return True
    pairs = {pair_key(packet) for packet in packets if flow_key(packet) == key}
    between = [index for index in moved if pair_key(packets[index]) in pairs]
    return len(between) > len(own) and placed(asked, between, wrong)


def compare(setup: Setup, oracle: Oracle, packets: Packets) -> Comparison:
    """Send the packets through both sides, from an empty table; the engine is given the kernel's clock.

    A difference that goes away at another moment at which the kernel may have judged a packet is none.
    """
    asked = ask(setup, oracle, packets)
    found = judge(setup, asked, asked.answers["time_ns"])
    keys = {key_of(found, difference) for difference in found.differences}
    if 0 < len(keys) <= 40:  # more of them are no matter of the clock
        by_clock = {key for key in keys if explained(setup, asked, key)}
        found.differences = [each for each in found.differences if key_of(found, each) not in by_clock]
    return found


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
