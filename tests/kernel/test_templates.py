"""What CT rules ask for connections holds in the engine as in the running kernel: zones, timeouts, events."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import pytest
from tests.kernel.compare import Setup, ask, compare, placed
from tests.kernel.oracle import Oracle, missing, pack
from tests.traffic.generate import generate

import fastfw
from fastfw.listing import event_line, expectation_event_line
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


def agree(oracle: Oracle, setup: Setup, packets: list[bytes]) -> None:
    """The engine's answers and table are the kernel's."""
    found = compare(setup, oracle, packets)
    assert not found.differences, "\n".join(map(str, found.differences[:5]))


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
        own = {f"rules{family}": text}
        agree(oracle, Setup(**own, timeouts={"special": policy}), packets)  # type: ignore[arg-type]


def test_a_zone_of_the_mark() -> None:
    """Packets are tracked in the zone that is their mark; in each zone connections are their own."""
    marks = "*raw\n-A PREROUTING -p udp -j CT --zone mark\n-A PREROUTING -j CT --zone 7\nCOMMIT\n"
    mangled = rules("-p tcp -j MARK --set-mark 0x10005", "-p tcp -j CT --zone mark", "-p icmp -j CT --zone 65535")
    for text in (marks, mangled.replace("*raw\n-A PREROUTING -p tcp -j MARK --set-mark 0x10005\n", "*raw\n")):
        with Oracle(rules4=text) as oracle:
            agree(oracle, Setup(rules4=text), generate(5, 2_000, families=[4]))


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
        "-j CT --ctevents mark",
        "-j CT --ctevents helper",
        "-j CT --expevents new",
        "-j CT --zone 3",
    ],
)
def test_the_same_events_are_told(text: str) -> None:
    """What conntrack -E tells of generated traffic, the engine's events tell, line for line in each connection."""
    packets = generate(9, 1_500, 0.2, ["tcp", "udp", "icmp", "sctp"], [4])
    assert_told_alike(rules(text) if text else "*raw\nCOMMIT\n", packets)


def assert_told_alike(loaded: str, packets: list[bytes]) -> None:
    """The kernel and the engine, with the same rules, tell the same of the packets."""
    with Oracle({"nf_conntrack_events": 1}) as oracle:
        oracle.load(loaded, None)  # while nobody listens and the setting is 2 the kernel would not keep the mask
        oracle.listen()
        asked = ask(Setup(), oracle, packets)
        oracle.flush()
        told = oracle.events()
    kernel = ends_last([without_time(line) for line in told if "src=" in line])
    ours = both = told_by_engine(loaded, packets, asked.answers["time_ns"])

    def wrong(times: npt.NDArray[np.int64]) -> int | None:
        return None if told_by_engine(loaded, packets, times) == kernel else len(packets)

    moved = np.flatnonzero(asked.answers["late_ns"] > asked.answers["time_ns"]).tolist()
    if ours != kernel and moved and placed(asked, moved, wrong):
        both = kernel
    assert both == kernel


MARKS = """*mangle
-A FORWARD -p tcp --tcp-flags SYN SYN -j CONNMARK --set-mark 5
-A FORWARD -p tcp --tcp-flags FIN FIN -j CONNMARK --set-mark 6
-A FORWARD -p tcp -m length --length 0:100 -j CONNMARK --set-mark 0
-A FORWARD -p udp -j CONNMARK --set-mark 1
-A FORWARD -p udp -j CONNMARK --set-mark 2
-A FORWARD -p icmp -m connlabel --label 3
-A FORWARD -p icmp --icmp-type 0 -m connlabel --label 3 --set
-A FORWARD -p icmp --icmp-type 8 -m connlabel --label 9 --set
-A FORWARD -p sctp -j MARK --set-mark 7
-A FORWARD -p sctp -j CONNMARK --save-mark
COMMIT
*filter
-A FORWARD -p tcp --dport 80 --tcp-flags FIN FIN -j DROP
-A FORWARD -p tcp --sport 443 --tcp-flags SYN,ACK SYN,ACK -j DROP
-A FORWARD -p udp --sport 53 -j DROP
COMMIT
"""


@pytest.mark.parametrize("text", ["", "-j CT --ctevents mark", "-j CT --ctevents reply,protoinfo"])
def test_marks_and_labels_are_told(text: str) -> None:
    """Each change of a mark or label is told of, with whatever else the packet changes; what a packet changed that the
    rules drop is told with the next that passes."""
    packets = generate(10, 1_500, 0.2, ["tcp", "udp", "icmp", "sctp"], [4])
    assert_told_alike((rules(text) if text else "*raw\nCOMMIT\n") + MARKS, packets)


EXPECTING = "-p tcp --dport 21 -j CT --helper ftp", "-p udp --dport 69 -j CT --helper tftp"


def test_the_helper_is_told() -> None:
    """What is told of a connection that carries a helper names it, until it ends."""
    assert_told_alike(rules(*EXPECTING), generate(13, 1_500, 0.1, ["announced"], [4]))


@pytest.mark.parametrize("events", ["", " --expevents new", " --ctevents new"])
def test_expectations_are_told(events: str) -> None:
    """What conntrack -E expect tells of announcements, ours tell, line for line: made, met, replaced, gone with their
    master."""
    packets = generate(12, 1_500, 0.1, ["announced"], [4])
    loaded = rules(*(line + events for line in EXPECTING))
    with Oracle({"nf_conntrack_events": 1}) as oracle:
        oracle.load(loaded, None)
        oracle.listen("expect")
        answers = oracle.ask(packets)
        oracle.flush()
        told = [without_wait(line) for line in oracle.events() if "class=" in line]
    engine = fastfw.Engine(rules4=fastfw.Ruleset.parse(loaded))
    engine.watch_expectations()
    engine.process(*pack(packets), answers["time_ns"], iif="eth0", oif="eth1")
    engine.flush()
    heard, lost = engine.expectation_events()
    assert lost == 0
    ours = [without_wait(expectation_event_line(event)) for event in heard]
    assert len(told) > 20 or events == " --ctevents new"
    assert ends_last(ours) == ends_last(told)


def without_wait(line: str) -> str:
    """An expectation's event without the seconds it is still waited for."""
    return re.sub(r"\] \d+ ", "] ", line.partition(" [USERSPACE]")[0].rstrip())


def told_by_engine(loaded: str, packets: list[bytes], times: npt.NDArray[np.int64]) -> list[str]:
    """The engine's events of the packets at these times: in order, but for the ends, which come last."""
    engine = fastfw.Engine(rules4=fastfw.Ruleset.parse(loaded))
    engine.watch()
    engine.process(*pack(packets), times, iif="eth0", oif="eth1")
    engine.flush()
    events, lost = engine.events()
    assert lost == 0
    return ends_last([without_time(event_line(event)) for event in events])


def ends_last(lines: list[str]) -> list[str]:
    """Events in order, those of connections' ends sorted behind them."""
    return [line for line in lines if "DESTROY" not in line] + sorted(line for line in lines if "DESTROY" in line)
