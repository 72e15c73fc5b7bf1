"""What CT rules ask for connections holds in the engine as in the running kernel: zones, timeouts, events."""

from __future__ import annotations

import re

import numpy as np
import pytest
from tests.kernel.compare import ours_in_words, packet_differs, table_differences
from tests.kernel.oracle import Oracle, missing, pack, words
from tests.traffic.generate import generate

import fastfw
from fastfw.listing import event_line
from fastfw.timeouts import NUMBERS, SLOTS, TimeoutPolicy

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

NFCT = {
    "tcp": ("syn_sent", "syn_recv", "established", "fin_wait", "close_wait", "last_ack", "time_wait", "close",
            "syn_sent2", "retrans", "unacknowledged"),
    "udp": ("unreplied", "replied"),
    "udplite": ("unreplied", "replied"),
    "icmp": ("timeout",),
    "icmpv6": ("timeout",),
    "sctp": ("closed", "cookie_wait", "cookie_echoed", "established", "shutdown_sent", "shutdown_recd",
             "shutdown_ack_sent", "heartbeat_sent"),
    "gre": ("unreplied", "replied"),
    "generic": ("timeout",),
}  # fmt: skip
"""The timeouts of each protocol in the order of their netlink attributes, from 1."""
assert {name: set(each) for name, each in NFCT.items()} == {name: set(each) for name, each in SLOTS.items()}


def rules(*lines: str) -> str:
    return "\n".join(["*raw", *(f"-A PREROUTING {line}" for line in lines), "COMMIT", ""])


def agree(oracle: Oracle, engine: fastfw.Engine, packets: list[bytes]) -> None:
    """The engine's answers and table are the kernel's."""
    answers = oracle.ask(packets)
    table = oracle.table()
    out = engine.process(*pack(packets), answers["time_ns"], iif="eth0", oif="eth1")
    for index, (kernel, ours) in enumerate(zip(answers, out, strict=True)):
        assert not packet_differs(kernel, ours), f"{index}: kernel {words(kernel)}, ours {ours_in_words(ours)}"
    assert table_differences(table, [str(connection) for connection in engine.connections()], 5) == []


@pytest.mark.parametrize(
    ("family", "protocol"),
    [(family, name) for family in (4, 6) for name in NFCT if (name, family) not in (("icmp", 6), ("icmpv6", 4))],
)
def test_a_policy_says_how_long_connections_last(protocol: str, family: int) -> None:
    """Connections that begin by a rule with a timeout policy last as it says, and as the settings say where it is
    silent; others do not."""
    number = NUMBERS.get(protocol, 253)
    seconds = {name: 1000 + 100 * place for place, name in enumerate(NFCT[protocol]) if place % 3 != 1}
    policy = TimeoutPolicy(protocol, seconds, family)
    text = rules(f"-p {number} -j CT --timeout special")
    packets = generate(77, 3_000, 0.2, ["other" if protocol == "generic" else protocol.removesuffix("v6"), "tcp"])
    with Oracle() as oracle:
        attributes = {NFCT[protocol].index(name) + 1: value for name, value in seconds.items()}
        oracle.timeout_policy("special", family, NUMBERS.get(protocol, 255), attributes)
        oracle.load(*((text, None) if family == 4 else (None, text)))
        parsed = fastfw.Ruleset.parse(text, family)
        own = {f"rules{family}": parsed}
        agree(oracle, fastfw.Engine(**own, timeouts={"special": policy}), packets)  # type: ignore[arg-type]


def test_a_zone_of_the_mark() -> None:
    """Packets are tracked in the zone that is their mark; in each zone connections are their own."""
    marks = "*raw\n-A PREROUTING -p udp -j CT --zone mark\n-A PREROUTING -j CT --zone 7\nCOMMIT\n"
    mangled = rules("-p tcp -j MARK --set-mark 0x10005", "-p tcp -j CT --zone mark", "-p icmp -j CT --zone 65535")
    for text in (marks, mangled.replace("*raw\n-A PREROUTING -p tcp -j MARK --set-mark 0x10005\n", "*raw\n")):
        with Oracle(rules4=text) as oracle:
            engine = fastfw.Engine(rules4=fastfw.Ruleset.parse(text))
            agree(oracle, engine, generate(5, 2_000, families=[4]))


def without_time(line: str) -> str:
    """An event without the seconds its connection has left, which two readings of a clock need not agree on."""
    return re.sub(r"(\] \w+ +\d+) \d+ ", r"\1 ", line.partition(" [USERSPACE]")[0].rstrip())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-j CT --ctevents new",
        "-j CT --ctevents destroy",
        "-j CT --ctevents reply,assured",
        "-p tcp -j CT --ctevents protoinfo",
        "-p sctp -j CT --ctevents protoinfo",
        "-j CT --expevents new",
        "-j CT --zone 3",
    ],
)
def test_the_same_events_are_told(text: str) -> None:
    """What conntrack -E tells of generated traffic, the engine's events tell, line for line in each connection. On a
    busy machine a listener misses some, and UDP that goes on for two seconds becomes a stream at a moment that is not
    known to the millisecond: what differs must differ three times in a row."""
    packets = generate(9, 1_500, 0.2, ["tcp", "udp", "icmp", "sctp"], [4])
    loaded = rules(text) if text else "*raw\nCOMMIT\n"
    for _ in range(3):
        ours, kernels = both_tell(loaded, packets)
        if ours == kernels:
            break
    assert ours == kernels


def both_tell(loaded: str, packets: list[bytes]) -> tuple[list[str], list[str]]:
    """The engine's events and the kernel's for the same packets at the same times: in order, but for the ends, which
    come last."""
    with Oracle({"nf_conntrack_events": 1}) as oracle:
        oracle.load(loaded, None)  # while nobody listens and the setting is 2 the kernel would not keep the mask
        oracle.listen()
        answers = oracle.ask(packets)
        oracle.flush()
        told = oracle.events()
    engine = fastfw.Engine(rules4=fastfw.Ruleset.parse(loaded))
    engine.watch()
    engine.process(*pack(packets), np.asarray(answers["time_ns"]), iif="eth0", oif="eth1")
    engine.flush()
    events, lost = engine.events()
    assert lost == 0
    live = [without_time(event_line(event)) for event in events]
    kernel = [without_time(line) for line in told if "src=" in line]
    return ends_last(live), ends_last(kernel)


def ends_last(lines: list[str]) -> list[str]:
    """Events in order, those of connections' ends sorted behind them."""
    return [line for line in lines if "DESTROY" not in line] + sorted(line for line in lines if "DESTROY" in line)
