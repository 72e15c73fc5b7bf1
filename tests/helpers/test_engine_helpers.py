"""The engine with its helpers against the kernel: announced connections are RELATED, all others are not."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from tests.kernel.compare import Setup, compare
from tests.kernel.oracle import STATES, Oracle
from tests.traffic import packets as p

from fastfw.helpers import find

from . import pptp_talk, sip_talk, small_talk
from .ftp_lines import conversation, scattered
from .kernel import Ends, Expectation, Say, ask_helper, attach, ends, missing, packets

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

CONVERSATIONS = 400
WORDS = {6: "tcp", 17: "udp"}
TALKS: dict[str, tuple[str, int, Callable[[random.Random, Ends], list[Say]]]] = {
    "ftp": ("ftp", p.TCP, conversation),
    "ftp-scattered": ("ftp", p.TCP, scattered),
    "tftp": ("tftp", p.UDP, small_talk.tftp),
    "irc": ("irc", p.TCP, small_talk.irc),
    "amanda": ("amanda", p.UDP, small_talk.amanda),
    "sip-udp": ("sip", p.UDP, sip_talk.sip),
    "sip-tcp": ("sip", p.TCP, sip_talk.sip),
    "pptp": ("pptp", p.TCP, pptp_talk.pptp),
    "sane": ("sane", p.TCP, small_talk.sane),
}


def attempts(chance: random.Random, one: Expectation) -> list[bytes]:
    """Connections tried to what is expected: the one meant, the same again, one from elsewhere, one beside it."""
    wire = []
    for change in chance.sample(["none", "none", "again", "source", "port", "other way"], 3):
        source = one.source or p.address("10.3.0.1")
        if change == "source":
            source = source[:1] + b"\x09" + source[2:]
        target, port = one.destination, one.port + (change == "port")
        if change == "other way":
            source, target = target, source
        source_port = one.source_port or (31000 if change == "again" else chance.randrange(20000, 60000))
        if port > 65535:
            continue
        if one.protocol == p.GRE:
            back_key = one.source_port or 0
            wire.append(p.ip(source, target, p.GRE, p.gre(port, b"data", version=1, protocol=0x880B)))
            wire.append(p.ip(target, source, p.GRE, p.gre(back_key, b"data", version=1, protocol=0x880B)))
            continue
        if one.protocol == p.UDP:
            wire.append(p.udp_packet(source, target, source_port, port, b"data"))
            wire.append(p.udp_packet(target, source, port, source_port, b"data"))
            continue
        wire.append(p.tcp_packet(source, target, source_port, port, p.SYN, 77))
        wire.append(p.tcp_packet(target, source, port, source_port, p.SYN | p.ACK, 99, 78))
        wire.append(p.tcp_packet(source, target, source_port, port, p.ACK, 78, 100))
    return wire


CASES = [
    pytest.param(kind, family, id=f"{kind}-{family}") for kind in TALKS for family in find(TALKS[kind][0]).families
]


@pytest.mark.parametrize(("kind", "family"), CASES)
def test_same_states_as_the_kernel(kind: str, family: int, seed: int) -> None:
    """Verdict, state, direction and flags of the controlling and the announced connections, and the final table."""
    name, protocol, talk = TALKS[kind]
    helper = find(name)
    port = next(number for proto, number in helper.ports if proto == protocol)
    chance = random.Random(f"{seed} {kind} {family}")
    wire: list[bytes] = []
    for number in range(1, CONVERSATIONS + 1):
        who = ends(number, family, port, protocol)
        said = talk(chance, who)
        wire += packets(said, who)
        for one in ask_helper(helper, who, said).expected:
            wire += attempts(chance, one)
    setup = Setup({"nf_conntrack_tcp_be_liberal": 1}, helpers=((name, WORDS[protocol], port),))
    with Oracle(dict(setup.settings)) as oracle:
        attach(oracle, name, protocol, port, family)
        done = compare(setup, oracle, wire)
        if done.differences:  # a packet that came out late looks dropped: only what differs twice is a difference
            done = compare(setup, oracle, wire)
    related = int((done.kernel["state"] == STATES.index("RELATED")).sum())
    shown = done.transcript([one.index for one in done.differences if one.index >= 0][:5])
    assert not done.differences, f"seed {seed}: {len(done.differences)} differ: {done.differences[:3]}\n{shown}"
    assert related > 50
