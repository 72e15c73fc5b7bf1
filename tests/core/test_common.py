"""The short ways that common packets take (common.pxd's parser, engine.pyx's judge_common) are the long ones, made
shorter."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from tests.core.talk import SECOND
from tests.kernel.oracle import pack
from tests.traffic import packets as p
from tests.traffic.describe import is_fragment
from tests.traffic.generate import generate

import fastfw

RULES = """*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -m conntrack --ctstate INVALID -j DROP
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -m connmark --mark 0x0/0x1 -j ACCEPT
-A FORWARD -p udp -j ACCEPT
-A FORWARD -j ACCEPT
COMMIT
"""

# A template that asks for nothing new: every connection it begins is kept from the short way.
LONG_WAY = """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -j CT --ctevents new
COMMIT
"""


def judged(
    packets: list[bytes], times: np.ndarray[tuple[int], np.dtype[np.int64]], rules: str, **settings: int
) -> tuple[list[tuple[object, ...]], list[str], fastfw.Engine]:
    """What becomes of packets, the table at the end, and the engine."""
    rulesets = {f"rules{family}": fastfw.Ruleset.parse(rules, family) for family in (4, 6)} if rules else {}
    engine = fastfw.Engine(**rulesets, settings=settings)  # type: ignore[arg-type]
    data, offset, length = pack(packets)
    out = engine.process(data, offset, length, times)
    names = [engine.rule_name(packet[0] >> 4, rule) for packet, rule in zip(packets, out["rule"].tolist(), strict=True)]
    fields = [name for name in out.dtype.names or () if name != "rule"]
    return list(zip(names, *(out[name].tolist() for name in fields), strict=True)), table(engine), engine


def table(engine: fastfw.Engine) -> list[str]:
    """The connections as conntrack prints them."""
    return sorted(map(str, engine.connections()))


@pytest.mark.parametrize("accounting", [0, 1])
@pytest.mark.parametrize("anomalies", [0.02, 0.25])
@pytest.mark.parametrize("seed", range(5))
def test_short_way_decides_as_the_long_way(seed: int, anomalies: float, accounting: int) -> None:
    """Decisions, the table with its deadlines, and all counters are the same whichever way packets took."""
    print(f"FASTFW_SEED={seed}")
    packets = generate(900 + seed, 8_000, anomalies)
    times = np.arange(len(packets), dtype=np.int64) * 7_000_000 + 10**9
    short, long = (judged(packets, times, rules, nf_conntrack_acct=accounting) for rules in (RULES, LONG_WAY + RULES))
    for number, (one, two) in enumerate(zip(short[0], long[0], strict=True)):
        assert one == two, f"packet {number}: {packets[number].hex()}"
    assert short[1] == long[1]
    assert dict(short[2].counters) == dict(long[2].counters)
    for family in (4, 6):
        assert short[2].counters_text(family) == long[2].counters_text(family)


@pytest.mark.parametrize("seed", range(4))
def test_short_parser_reads_as_the_long_one(seed: int) -> None:
    """A datagram that came whole and the same joined from its pieces, which only the parser of all shapes reads, come
    to one decision with one reason, whatever a byte of it was changed to."""
    print(f"FASTFW_SEED={seed}")
    random = Random(seed)
    seen = set()
    for packet in generate(700 + seed, 3_000, 0.0):
        offset, protocol = p.transport(packet)
        plain = offset == (20 if packet[0] >> 4 == 4 else 40) and not is_fragment(packet)
        if not plain or protocol not in (p.TCP, p.UDP) or len(packet) < offset + 25:
            continue
        datagram = bytearray(packet)
        if random.random() < 0.7:
            datagram[offset + random.randrange(min(40, len(packet) - offset))] = random.randrange(256)
        whole = fastfw.Engine().decide(datagram, now=SECOND)
        joining = fastfw.Engine()
        pieces = p.fragments(bytes(datagram), max(24, (len(packet) - offset) // 2 & ~7), 7)
        joined = [joining.decide(piece, now=SECOND) for piece in pieces]
        assert [piece.verdict for piece in joined[:-1]] == ["HOLD"] * (len(pieces) - 1)
        decisions = [(d.verdict, d.state, d.reason, d.explanation) for d in (whole, joined[-1])]
        assert decisions[0] == decisions[1], bytes(datagram).hex()
        seen.add((packet[0] >> 4, protocol, whole.reason))
    assert {(family, protocol, None) for family in (4, 6) for protocol in (p.TCP, p.UDP)} <= seen
    assert {reason for _, _, reason in seen} >= {"tcp_checksum", "udp_checksum", "tcp_offset", "udp_length"}
