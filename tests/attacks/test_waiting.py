"""What waits for something else to come: fragments for their datagram, expectations for their connection."""

from __future__ import annotations

import numpy as np
import pytest
from tests.attacks import crowd
from tests.attacks.crowd import SECOND
from tests.traffic import packets as p

import fastfw

A, B = p.address("10.1.0.1"), p.address("10.2.0.1")
A6, B6 = p.address("fd00:1::1"), p.address("fd00:2::1")
THRESHOLD = 4 << 20
"""ipfrag_high_thresh and nf_conntrack_frag6_high_thresh as they are by default."""


def lone(family: int, count: int, rng: np.random.Generator) -> crowd.Crowd:
    """First fragments of datagrams that never become whole."""
    if family == 4:
        form = p.fragments(p.ipv4(A, B, p.UDP, bytes(1400)), 1000)[0]
        flood = crowd.Crowd(form, count).put(4, 2, rng.integers(0, 65536, count))
        return flood.ends(rng.integers(0x0B000000, 0x7F000000, count), crowd.address("10.2.0.1"))
    flood = crowd.Crowd(p.fragments(p.ipv6(A6, B6, p.UDP, bytes(1400)), 1000)[0], count)
    return flood.put(44, 4, rng.integers(0, 1 << 32, count)).put(20, 4, rng.integers(0, 1 << 32, count))


@pytest.mark.parametrize("family", [4, 6])
def test_fragments_that_never_become_whole(family: int, seed: int) -> None:
    """Two hundred thousand of them hold no more than the threshold, however they come; what is whole passes as ever;
    when their time is over all is free again and datagrams are joined again."""
    rng = np.random.default_rng(seed)
    engine = fastfw.Engine()
    whole = p.udp_packet(A, B, 7, 8, bytes(1400))
    assert engine.decide(whole, now=SECOND).verdict == "ACCEPT"
    sizes = []
    for _ in range(10):
        lone(family, 20_000, rng).into(engine, SECOND)
        queues, charged = engine.fragments[family == 6]
        assert charged <= THRESHOLD + 4096
        assert 1000 < queues < 10_000
        sizes.append(crowd.resident())
        assert engine.decide(whole, now=SECOND).state == "NEW"
    print(f"{queues} datagrams wait and are charged {charged} bytes; memory grew by {sizes[-1] - sizes[0]} bytes")
    assert sizes[-1] - sizes[0] < THRESHOLD
    late = 62 * SECOND
    pieces = p.fragments(p.udp_packet(A, B, 7, 9, bytes(1400)), 1000)
    assert [engine.decide(piece, now=late).verdict for piece in pieces] == ["HOLD", "ACCEPT"]
    assert engine.fragments == ((0, 0), (0, 0))


@pytest.mark.parametrize("order", ["forwards", "backwards", "shuffled"])
def test_datagrams_in_the_smallest_pieces(order: str, seed: int) -> None:
    """A datagram in eight-byte pieces costs as much a piece when it has 8 000 of them as when it has 500."""
    rng = np.random.default_rng(seed)

    def pieces(count: int) -> list[bytes]:
        packet = p.ipv4(A, B, p.UDP, p.udp(A, B, 7, 8, bytes(8 * count - 8)))
        found = p.fragments(packet, 8)
        if order == "backwards":
            found.reverse()
        elif order == "shuffled":
            rng.shuffle(found)
        return found

    spent = {}
    for count in (500, 8000):
        # more may wait than by default, so that it is the joining that is measured
        engine = fastfw.Engine(settings={"ipfrag_high_thresh": 1 << 30, "ipfrag_max_dist": 0})
        batch = pieces(count)
        data, length = b"".join(batch), np.fromiter(map(len, batch), np.uint32)
        offset = np.cumsum(length, dtype=np.uint64) - length
        times = np.full(len(batch), SECOND)
        assert engine.process(data, offset, length, times)["verdict"].tolist().count(1) == 1
        repeat = 16_000 // count

        def run(*arguments: object, engine: fastfw.Engine = engine, repeat: int = repeat) -> None:
            for _ in range(repeat):
                engine.process(*arguments)  # type: ignore[arg-type]

        spent[count] = crowd.cost(lambda arguments=(data, offset, length, times), run=run: run(*arguments), 7)
    print(f"a piece among 8 000 is {spent[8000] / spent[500]:.2f} times as dear as one among 500")
    assert spent[8000] / spent[500] < 4


def control(engine: fastfw.Engine, clients: crowd.Numbers, now: int) -> None:
    """FTP control connections of many clients, one each."""
    server = crowd.address("10.2.0.1")
    crowd.tcp(clients, server, 4000, 21, p.SYN, 99).into(engine, now)
    crowd.tcp(server, clients, 21, 4000, p.SYN | p.ACK, 499, 100).into(engine, now)
    crowd.tcp(clients, server, 4000, 21, p.ACK, 100, 500).into(engine, now)
    hello = p.tcp_packet(A, B, 4000, 21, p.ACK | p.PSH, 100, 500, payload=b"x\r\n")
    crowd.Crowd(hello, len(clients)).ends(clients, server).into(engine, now)


def port(client: int) -> bytes:
    """The client's second line, which announces its port 1025."""
    own = client.to_bytes(4, "big")
    return p.tcp_packet(own, B, 4000, 21, p.ACK | p.PSH, 103, 500, payload=b"PORT %d,%d,%d,%d,4,1\r\n" % tuple(own))


def test_expectations_by_the_thousand() -> None:
    """However many connections announce others, there are no more than nf_conntrack_expect_max of them, memory stays,
    and a packet that begins a connection is at most four times as dear."""
    engine = fastfw.Engine(
        settings={"nf_conntrack_checksum": 0, "nf_conntrack_expect_max": 2000, "nf_conntrack_max": 100_000},
        helpers=["ftp"],
    )
    server = crowd.address("10.2.0.1")
    clients = crowd.address("10.1.0.0") + np.arange(5000)
    rng = np.random.default_rng(1)

    def newcomers() -> None:
        crowd.udp(rng.integers(0x0B000000, 0x7F000000, 20_000), server, 7, 8).into(engine, SECOND)
        engine.flush()

    alone = crowd.cost(newcomers)
    control(engine, clients, SECOND)
    before = crowd.resident()
    for number, client in enumerate(clients.tolist()):
        verdict = engine.decide(port(client), now=SECOND).verdict
        assert verdict == ("ACCEPT" if number < 2000 else "DROP")
    waiting = list(engine.expectations())
    assert len(waiting) == 2000
    # those that were announced are met
    related = crowd.tcp(server, clients[:2000], 20, 1025, p.SYN, 1)
    assert (related.into(engine, SECOND)["state"] == 3).all()
    assert list(engine.expectations()) == []
    control(engine, clients + (1 << 16), SECOND)
    for client in (clients[:2000] + (1 << 16)).tolist():
        engine.decide(port(client), now=SECOND)
    assert len(list(engine.expectations())) == 2000

    def among_them() -> None:
        crowd.udp(rng.integers(0x0B000000, 0x7F000000, 20_000), server, 7, 8).into(engine, SECOND)

    slower = crowd.cost(among_them, 3) / alone
    print(f"a connection begins at {slower:.2f} times the cost while 2 000 are expected")
    assert slower < 4
    assert crowd.resident() - before < 64 << 20
