"""The engine and the running kernel agree about SCTP, GRE, UDP-Lite, protocols known by number alone, and fragments."""

from __future__ import annotations

import itertools
import os
import time

import numpy as np
import pytest
from tests.kernel.compare import Setup, compare, reduce, report
from tests.kernel.oracle import STATES, Oracle, missing, pack
from tests.traffic import packets as p
from tests.traffic.describe import can_be_sent_on, describe
from tests.traffic.generate import generate
from tests.traffic.sctp import (
    ABORT,
    COOKIE_ACK,
    COOKIE_ECHO,
    DATA,
    ERROR,
    HEARTBEAT,
    HEARTBEAT_ACK,
    INIT,
    INIT_ACK,
    SACK,
    SHUTDOWN,
    SHUTDOWN_ACK,
    SHUTDOWN_COMPLETE,
    body_of,
)  # fmt: skip

import fastfw
from fastfw.core.terms import State, Verdict

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

STANDARD = "6.18."
TRAFFIC = {
    "sctp": ("sctp",),
    "gre": ("gre",),
    "udplite": ("udplite",),
    "other": ("other",),
    "all": ("sctp", "gre", "udplite", "other", "tcp", "udp", "icmp"),
}


def agree(
    setup: Setup, seed: int, protocols: tuple[str, ...], anomalies: float, count: int, fragments: float = 0.0
) -> None:
    """Fail with the shortest traffic that shows the first difference; on another kernel than the standard report it."""
    with setup.oracle() as oracle:
        print(
            f"kernel {oracle.kernel}, {protocols}, seed {seed}, {count} packets,"
            f" anomalies {anomalies}, fragments {fragments}"
        )
        packets = generate(seed, count, anomalies, protocols, fragments=fragments)
        found = compare(setup, oracle, packets)
        if not found.differences:
            return
        small = reduce(setup, oracle, found, found.differences[0])
        said = f"seed {seed}: {len(found.differences)} differences, first {found.differences[0]}\n{report(small)}"
    if os.uname().release.startswith(STANDARD):
        pytest.fail(said)
    pytest.xfail(f"this is not Linux {STANDARD}x: {said}")


@pytest.mark.parametrize("anomalies", [0.05, 0.5])
@pytest.mark.parametrize("name", TRAFFIC)
def test_same_answers(name: str, anomalies: float) -> None:
    """State, direction, flags and table are the kernel's own, for mostly sound and for mostly broken traffic."""
    agree(Setup(), 4000 + list(TRAFFIC).index(name), TRAFFIC[name], anomalies, 8_000)


def test_same_answers_without_checksums() -> None:
    """With nf_conntrack_checksum off the same packets are let in as the kernel lets in."""
    agree(Setup(settings={"nf_conntrack_checksum": 0}), 4100, TRAFFIC["all"], 0.4, 10_000)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5000, 5020))
def test_same_answers_over_a_million_packets(seed: int) -> None:
    """A million packets of these protocols over twenty seeds differ nowhere."""
    agree(Setup(), seed, ("sctp", "sctp", "gre", "udplite", "other", "icmp"), 0.1 + seed % 5 * 0.1, 50_000)


@pytest.mark.parametrize("fragments", [0.2, 0.8])
def test_same_answers_about_datagrams_in_pieces(fragments: float) -> None:
    """Fragments in and out of order, doubled, overlapping, missing and malformed join as the kernel joins them."""
    agree(Setup(), 4200 + int(10 * fragments), TRAFFIC["all"], 0.2, 10_000, fragments)


@pytest.mark.parametrize(
    "settings",
    [
        {"ipfrag_low_thresh": 1, "ipfrag_high_thresh": 40_000},
        {"nf_conntrack_frag6_low_thresh": 1, "nf_conntrack_frag6_high_thresh": 30_000},
        {"ipfrag_max_dist": 3},
        {"ipfrag_max_dist": 0},
    ],
    ids=["room in IPv4", "room in IPv6", "distance", "no distance"],
)
def test_same_answers_under_the_limits_of_reassembly(settings: dict[str, int]) -> None:
    """What a full store of fragments and ids that come round do to datagrams is what they do in the kernel."""
    agree(Setup(settings=settings), 4300, ("udp", "icmp"), 0.1, 10_000, 0.8)


@pytest.mark.parametrize("family", [4, 6])
def test_fragments_wait_as_long_as_the_kernels(family: int) -> None:
    """With a second to wait, a datagram is joined before it has passed and forgotten some time after."""
    name, ends = (
        ("ipfrag_time", ("10.1.0.1", "10.2.0.1"))
        if family == 4
        else ("nf_conntrack_frag6_timeout", ("fd00:1::1", "fd00:2::1"))
    )
    one, two = p.address(ends[0]), p.address(ends[1])
    setup = Setup(settings={name: 1})
    engine = setup.engine()
    with setup.oracle() as oracle:
        for wait, joined in ((0.5, True), (1.6, False)):
            first, last = p.fragments(p.udp_packet(one, two, 5, 6, bytes(72)), 40, int(wait * 10))
            before = oracle.ask([first])
            time.sleep(wait)
            after = oracle.ask([last])
            data, offsets, lengths = pack([first, last])
            ours = engine.process(data, offsets, lengths, np.concatenate((before, after))["time_ns"])
            assert [bool(before["answered"][0]), bool(after["answered"][0])] == [False, joined]
            assert (ours["verdict"] == Verdict.VERDICT_ACCEPT).tolist() == [False, joined]


def test_a_datagram_lost_behind_netfilter_was_judged_before() -> None:
    """A joined IPv6 datagram that the kernel cannot take apart again never comes out; its rules count its state.

    A first fragment too short to wait, which passes alone, is no part of it.
    """
    one, two = p.address("fd00:1::1"), p.address("fd00:2::1")
    # a destination options header of 184 bytes, in a datagram of 32
    options, rest = bytes([p.HOP_BY_HOP, 22, *range(14)]), bytes(16)
    pieces = [
        p.ip(one, two, p.FRAGMENT, bytes([p.DESTINATION, 0, 0, 1, 0, 0, 0, 9]) + options),
        p.ip(one, two, p.FRAGMENT, bytes([p.TCP, 0, 0, 16, 0, 0, 0, 9]) + rest),
    ]
    short = p.ip(one, two, p.FRAGMENT, bytes([p.TCP, 0, 0, 1, 0, 0, 0, 9]) + bytes(8))
    rules = "*mangle\n-A POSTROUTING -m conntrack --ctstate INVALID\nCOMMIT\n"
    with Oracle(rules6=rules) as oracle:
        answers = oracle.ask(pieces)
        counted = fastfw.Ruleset.parse(oracle.counters(6), 6).tables["mangle"].chains["POSTROUTING"].rules[0].packets
    out = fastfw.Engine().process(*pack(pieces), answers["time_ns"])
    assert not answers["answered"].any()
    assert not can_be_sent_on(pieces)
    assert counted == 1
    assert STATES[out["state"][1]] == "INVALID"
    setup = Setup()
    with setup.oracle() as oracle:
        found = compare(setup, oracle, [pieces[0], short, pieces[1]])
    assert not found.differences, report(found)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(6000, 6020))
def test_same_answers_over_a_million_packets_in_pieces(seed: int) -> None:
    """A million packets and fragments over twenty seeds differ nowhere."""
    agree(Setup(), seed, TRAFFIC["all"], 0.2, 50_000, 0.1 + seed % 4 * 0.3)


def begun_with(kinds: tuple[int, ...], port: int) -> list[bytes]:
    """A first packet of these chunks, then what may answer it under its own tag and others, and another packet."""
    here, there = p.address("10.1.0.1"), p.address("10.2.0.1")

    def packet(back: bool, tag: int, *chunks: int) -> bytes:
        ends, ports = ((there, here), (5000, port)) if back else ((here, there), (port, 5000))
        body = b"".join(p.chunk(kind, 0, body_of(kind, 7)) for kind in chunks)
        return p.ip(*ends, p.SCTP, p.sctp(*ports, tag, body))

    return [packet(False, 2, *kinds), packet(True, 2, DATA), packet(True, 7, DATA), packet(True, 5, HEARTBEAT_ACK),
            packet(False, 2, DATA)]  # fmt: skip


def test_any_chunks_out_of_the_blue() -> None:
    """Whatever one, two or three chunks an association begins with, it becomes what the kernel makes of it."""
    kinds = (DATA, INIT, INIT_ACK, SACK, HEARTBEAT, HEARTBEAT_ACK, ABORT, SHUTDOWN, SHUTDOWN_ACK, ERROR, COOKIE_ECHO,
             COOKIE_ACK, SHUTDOWN_COMPLETE)  # fmt: skip
    first = [chunks for size in (1, 2, 3) for chunks in itertools.product(kinds, repeat=size)]
    packets = [packet for place, chunks in enumerate(first) for packet in begun_with(chunks, 1024 + place)]
    with Oracle() as oracle:
        answers = oracle.ask(packets)
    out = fastfw.Engine().process(*pack(packets), answers["time_ns"])
    names = [
        (STATES[a], State(b).name.removeprefix("STATE_")) for a, b in zip(answers["state"], out["state"], strict=True)
    ]
    wrong = {first[place // 5]: pair for place, pair in enumerate(names) if pair[0] != pair[1]}
    assert not wrong, wrong


def test_every_kind_of_hop_by_hop_option() -> None:
    """Options of every kind and several lengths, at a multiple of four and beside it, are passed or dropped alike."""
    near, far = p.address("fd00:1::1"), p.address("fd00:2::1")
    packets = [
        p.ipv6(
            near, far, p.UDP, p.udp(near, far, 1024 + kind, 53 + size),
            extensions=[(0, p.extension(before + bytes([kind, size]) + bytes(size)))],
        )
        for before in (b"", b"\1\0")
        for size in (0, 1, 2, 4, 8, 10, 12)
        for kind in range(2, 256)
    ]  # fmt: skip
    with Oracle() as oracle:
        answers = oracle.ask(packets)
    out = fastfw.Engine().process(*pack(packets), answers["time_ns"], iif="eth0", oif="eth1")
    wrong = [
        describe(packets[at])
        for at in np.flatnonzero(answers["answered"] != (out["verdict"] == Verdict.VERDICT_ACCEPT))
    ]
    assert not wrong, f"{len(wrong)} differ, such as {wrong[0]}"
