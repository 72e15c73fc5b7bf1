"""How fast rules are: new connections through ClassBench's sets, established ones beside large rulesets, loading.

The sets lie in the directory FASTFW_CLASSBENCH names (acl1_1k, fw1_1k, ipc1_1k as published by H. Song); larger ones
are grown from them by moving each rule's prefixes and ports, which keeps their structure. CPU time of one thread,
medians.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dpdk
import numpy as np
import pytest
from bulk import START, SYN, Batch, Connections, establish, forget, tcp
from report import Measure, Reporter

from fastfw import Engine, Ruleset
from fastfw.core.terms import Verdict
from fastfw.ruleset.compile import compile_ruleset

SETS = Path(os.environ.get("FASTFW_CLASSBENCH", "classbench"))
PACKETS = 200_000
ROUNDS = 7

LINE = re.compile(
    r"@([\d.]+)/(\d+)\s+([\d.]+)/(\d+)\s+(\d+) : (\d+)\s+(\d+) : (\d+)\s+0x([0-9a-f]+)/0x([0-9a-f]+)", re.IGNORECASE
)

Filter = tuple[int, int, int, int, int, int, int, int, int, int]
"""Source, its prefix length, destination, its prefix length, ports from and to of both, protocol, its mask."""


def number(address: str) -> int:
    """An address as a number."""
    a, b, c, d = map(int, address.split("."))
    return a << 24 | b << 16 | c << 8 | d


def dotted(value: int) -> str:
    """A number as an address."""
    return ".".join(str(value >> shift & 255) for shift in (24, 16, 8, 0))


def read(path: Path) -> list[Filter]:
    """The filters of a ClassBench file."""
    found: list[Filter] = []
    for line in path.read_text().splitlines():
        match = LINE.match(line)
        if match:
            source, slen, target, dlen, s0, s1, d0, d1, protocol, mask = match.groups()
            found.append(
                (number(source), int(slen), number(target), int(dlen), int(s0), int(s1), int(d0), int(d1),
                 int(protocol, 16), int(mask, 16))
            )  # fmt: skip
    return found


def grown(filters: list[Filter], count: int, seed: int) -> list[Filter]:
    """`count` filters like the given ones: prefixes keep their length and their nesting, ports their width."""
    random = np.random.default_rng(seed)
    out = list(filters)
    turn = 0
    while len(out) < count:
        turn += 1
        shift = int(random.integers(1, 1 << 32))
        for source, slen, target, dlen, s0, s1, d0, d1, protocol, mask in filters:
            one = (source ^ shift) & prefix(slen)
            two = (target ^ shift * 2654435761) & prefix(dlen)
            if d0 == d1 and d0 > 1023:
                d0 = d1 = 1024 + (d0 + turn * 977) % 64000
            out.append((one, slen, two, dlen, s0, s1, d0, d1, protocol, mask))
    return list(dict.fromkeys(out))[:count]


def prefix(length: int) -> int:
    """A prefix length as a mask."""
    return 0xFFFFFFFF << 32 - length & 0xFFFFFFFF


def lines(filters: list[Filter]) -> Iterator[str]:
    """The filters as rules of chain FORWARD; those that name no protocol but ports stand for TCP."""
    for source, slen, target, dlen, s0, s1, d0, d1, protocol, mask in filters:
        words = ["-A FORWARD"]
        if slen:
            words.append(f"-s {dotted(source & prefix(slen))}/{slen}")
        if dlen:
            words.append(f"-d {dotted(target & prefix(dlen))}/{dlen}")
        ports = (s0, s1) != (0, 65535) or (d0, d1) != (0, 65535)
        name = {6: "tcp", 17: "udp", 1: "icmp"}.get(protocol if mask else -1)
        if ports and name not in ("tcp", "udp"):
            name = "tcp"
        if name:
            words.append(f"-p {name}")
        elif mask:
            words.append(f"-p {protocol}")
        if ports:
            words.append(f"-m {name}")
            if (s0, s1) != (0, 65535):
                words.append(f"--sport {s0}:{s1}")
            if (d0, d1) != (0, 65535):
                words.append(f"--dport {d0}:{d1}")
        yield " ".join([*words, "-j ACCEPT"])


def ruleset(filters: list[Filter]) -> Ruleset:
    """The filters in front of a policy that drops."""
    return Ruleset.parse("\n".join(["*filter", ":FORWARD DROP [0:0]", *lines(filters), "COMMIT", ""]))


def fields(filters: list[Filter]) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """The filters as rte_acl.c reads them: what `lines` makes TCP is that here too."""
    out = np.array(filters, np.uint32)
    ports = (out[:, 4] != 0) | (out[:, 5] != 65535) | (out[:, 6] != 0) | (out[:, 7] != 65535)
    tcp_only = ports & ((out[:, 9] == 0) | ~np.isin(out[:, 8], (6, 17)))
    out[tcp_only, 8:] = 6, 0xFF
    return out


def tuples(rows: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """Addresses, ports and protocol of IPv4 packets without options, as rte_acl.c reads them."""
    ends = [np.ascontiguousarray(rows[:, at : at + 4]).view(">u4")[:, 0] for at in (12, 16)]
    ports = [np.ascontiguousarray(rows[:, at : at + 2]).view(">u2")[:, 0] for at in (20, 22)]
    return np.stack([*ends, *ports, rows[:, 9]], axis=1).astype(np.uint32)


def packets(filters: list[Filter], count: int, seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """TCP SYNs that fall into random filters, each at a random place of its ranges; none from or to where nothing is
    forwarded, as such packets meet no rule."""
    random = np.random.default_rng(seed)
    many = 8 * count
    chosen = np.array(filters, np.int64)[random.integers(0, len(filters), many)]

    def address(value: np.ndarray[Any, Any], length: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        rest = (np.int64(1) << (32 - length)) - 1
        return (value & ~rest | random.integers(0, 1 << 32, many) & rest).astype(np.uint32)

    def port(low: np.ndarray[Any, Any], high: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return (low + random.integers(0, 1 << 16, many) % (high - low + 1)).astype(np.uint32)

    source, target = address(chosen[:, 0], chosen[:, 1]), address(chosen[:, 2], chosen[:, 3])
    ports = [port(chosen[:, at], chosen[:, at + 1]) for at in (4, 6)]
    networks = np.stack([source, target]) >> 24
    kept = np.flatnonzero(((networks > 0) & (networks != 127) & (networks < 224)).all(axis=0))[:count]
    assert len(kept) == count
    return tcp(
        source[kept], target[kept], ports[0][kept], ports[1][kept],
        np.full(count, 1000, np.uint32), np.zeros(count, np.uint32), SYN,
    )  # fmt: skip


@pytest.mark.parametrize("count", [100, 1_000, 10_000])
@pytest.mark.parametrize("name", ["acl1", "fw1", "ipc1"])
def test_new_connections(
    name: str, count: int, cpu_time: Measure, benchmark: Any, reporter: Reporter, read_lines: Callable[[], float]
) -> None:
    """First packets of connections, each into another filter, in a table that has held as many before; and what of that
    is the rules' part."""
    path = SETS / f"{name}_1k"
    if not path.exists():
        pytest.skip(f"no ClassBench set {path}: FASTFW_CLASSBENCH names their directory")
    filters = grown(read(path), count, seed=1)[:count]
    rows = Batch(packets(filters, PACKETS, seed=2))
    yardstick = read_lines()
    bare = Engine(settings={"nf_conntrack_max": 4 * PACKETS})
    took = []
    for _ in range(ROUNDS):
        forget(bare, rows)
        began = time.thread_time()
        rows.judge(bare)
        took.append(time.thread_time() - began)
    engine = Engine(rules4=ruleset(filters), settings={"nf_conntrack_max": 4 * PACKETS})
    seconds = cpu_time(lambda: rows.judge(engine), before=lambda: forget(engine, rows), rounds=ROUNDS)
    reporter.rate(
        benchmark, f"{name}, {count:,} rules, new connections", PACKETS / seconds, yardstick,
        goal={1_000: 8e6, 10_000: 4e6}.get(count), plot="rules", series=name, x=count,
    )  # fmt: skip
    reporter.rate(
        benchmark,
        f"{name}, {count:,} rules, the rules' part",
        PACKETS / (seconds - float(np.median(took[1:]))),
        yardstick,
    )


@pytest.mark.parametrize("count", [1_000, 10_000])
@pytest.mark.parametrize("name", ["acl1", "fw1", "ipc1"])
def test_rte_acl(
    name: str, count: int, tmp_path: Path, benchmark: Any, reporter: Reporter, read_lines: Callable[[], float]
) -> None:
    """DPDK's rte_acl on the same filters and packets: classified 64 a call, nothing else. It lets through as many."""
    program = dpdk.program("rte_acl", tmp_path)
    path = SETS / f"{name}_1k"
    if not path.exists():
        pytest.skip(f"no ClassBench set {path}: FASTFW_CLASSBENCH names their directory")
    filters = grown(read(path), count, seed=1)[:count]
    rows = packets(filters, PACKETS, seed=2)
    out = Batch(rows).judge(Engine(rules4=ruleset(filters), settings={"nf_conntrack_max": 4 * PACKETS}))
    asked = b"".join(np.uint32(len(part)).tobytes() + part.tobytes() for part in (fields(filters), tuples(rows)))
    results: list[list[str]] = []

    def once() -> None:
        run = subprocess.run([str(program)], input=asked, capture_output=True, check=True, timeout=120)
        results.append(run.stdout.decode().split())

    benchmark.pedantic(once, rounds=3)
    assert {int(met) for met, _, _ in results} == {int((out["verdict"] == Verdict.VERDICT_ACCEPT).sum())}
    for way, column in (("scalar", 1), ("SIMD", 2)):
        rate = sorted(float(result[column]) for result in results)[1]
        reporter.rate(benchmark, f"rte_acl, {name}, {count:,} rules, {way}", rate, read_lines())


@pytest.mark.parametrize("count", [10, 10_000])
def test_established_beside_many_rules(
    count: int, cpu_time: Measure, benchmark: Any, reporter: Reporter, read_lines: Callable[[], float]
) -> None:
    """Established connections whose rule stands last: their cost does not follow the number of rules."""
    text = [f"-A FORWARD -s 172.16.{i >> 8}.{i & 255}/32 -p tcp -m tcp --dport {i} -j ACCEPT" for i in range(count)]
    rules = Ruleset.parse(
        "\n".join(["*filter", ":FORWARD DROP [0:0]", *text, "-A FORWARD -p tcp -j ACCEPT", "COMMIT", ""])
    )
    connections = Connections(1000)
    engine = Engine(rules4=rules)
    establish(engine, connections)
    batch = Batch(connections.mixed(PACKETS, seed=1), now=START + 1_000_000)
    yardstick = read_lines()
    seconds = cpu_time(lambda: batch.judge(engine), rounds=ROUNDS)
    reporter.rate(benchmark, f"established, 1,000 connections, {count:,} rules", PACKETS / seconds, yardstick)


def test_loading(benchmark: Any, reporter: Reporter) -> None:
    """Ten thousand rules from text to an engine that judges by them."""
    text = "\n".join(
        ["*filter"]
        + [f"-A FORWARD -s 10.{i >> 8}.{i & 255}.0/24 -p tcp -m tcp --dport {i} -j ACCEPT" for i in range(10_000)]
        + ["COMMIT", ""]
    )
    parts: dict[str, list[float]] = {"reading": [], "compiling": [], "in all": []}

    def once() -> None:
        began = time.thread_time()
        rules = Ruleset.parse(text)
        read = time.thread_time()
        compile_ruleset(rules)
        compiled = time.thread_time()
        Engine(rules4=rules)
        done = time.thread_time()
        parts["reading"].append(read - began)
        parts["compiling"].append(compiled - read)
        parts["in all"].append(read - began + done - compiled)

    benchmark.pedantic(once, rounds=5, warmup_rounds=1)
    for part, times in parts.items():
        goal = 500.0 if part == "in all" else None
        reporter.value(benchmark, f"10,000 rules, {part}", 1000 * float(np.median(times[1:])), "ms", goal=goal)
