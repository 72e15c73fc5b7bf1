"""`fastfw top`: what it makes of two looks at a daemon."""

from __future__ import annotations

import ipaddress

import pytest

pytest.importorskip("msgspec")

from fastfw import Engine, cli
from fastfw.cli.top import Look, dropped_by_rules, frame
from fastfw.core.snapshot import entries
from traffic.packets import SYN, TCP, UDP, address, ipv4, tcp, udp

ENDS = address("10.0.0.1"), address("10.0.0.2")


def seen(engine: Engine, at: float, received: int, **more: int) -> Look:
    """A look at an engine as a daemon of one queue would tell of it."""
    table, numbers, extras = entries(engine)
    queue = {"received": received, "accepted": received - 4, "dropped": 4, "serving": True, "failures": 0, **more}
    status = {
        "release": "1.2.3", "pid": 77, "uptime": 90061.0, "healthy": True, "fail_open": False,
        "connections": len(table), "connections_max": 1000, "expectations": 3, "queues": {"5": queue}, "reasons": {},
    }  # fmt: skip
    drops = {"IPv4 -A INPUT -j DROP": 4 if at == 1 else 44}
    return Look(at, status, drops, engine.now, [""], table, numbers, extras)


def packet(protocol: int, sport: int, size: int = 0) -> bytes:
    """A first packet of a connection."""
    if protocol == TCP:
        return ipv4(*ENDS, TCP, tcp(*ENDS, sport, 80, SYN))
    return ipv4(*ENDS, UDP, udp(*ENDS, sport, 53, bytes(size)))


def test_rates() -> None:
    """Rates are of the time between the looks, totals the daemon's; connections are counted by state, and those that
    carried most come first; one whose slot another had before is not held against that one's counts."""
    engine = Engine(settings={"nf_conntrack_acct": 1})
    for port in (1000, 1001, 1002):
        engine.decide(packet(UDP, port, 900), now=10**18)
    before = seen(engine, 1, 10)
    engine.delete(lambda connection: connection.source_port == 1002)
    engine.decide(packet(TCP, 2000), now=10**18)
    for _ in range(10):
        engine.decide(packet(UDP, 1001, 1000), now=10**18)
    engine.decide(packet(UDP, 1000, 0), now=10**18)
    text = frame(before, seen(engine, 3, 210, queue_dropped=8), 10)
    assert text.startswith("fastfw 1.2.3  pid 77  up 1 d 01:01:01  healthy  fails closed\n3 connections of 1,000, 3 ex")
    lines = [line.split() for line in text.splitlines()]
    assert ["5", "open", "100", "100", "0", "4", "210", "0"] in lines
    assert "20       44  IPv4 -A INPUT -j DROP" in text
    assert ["1", "tcp", "SYN_SENT"] in lines
    assert ["2", "udp"] in lines
    at = lines.index(["bytes/s", "packets/s", "protocol", "state", "from", "to"])
    assert [line[-2] for line in lines[at + 1 : at + 4]] == ["10.0.0.1:1001", "10.0.0.1:2000", "10.0.0.1:1000"]
    assert lines[at + 1][:3] == ["5,140", "5", "udp"]
    assert lines[at + 3][:3] == ["14", "0", "udp"]


def test_rows_are_bounded() -> None:
    """A table has no more rows than asked for, and what cannot be listed is said."""
    engine = Engine()
    for port in range(50):
        engine.decide(packet(UDP, 1000 + port), now=10**18)
    before = after = seen(engine, 1, 10)
    before.drops = after.drops = {f"rule {number}": number for number in range(100)}
    assert frame(before, after, 3).count("rule ") == 3
    assert "nf_conntrack_acct = 1" in frame(before, after, 3)
    after.table = None
    assert "50,000 or fewer" in frame(before, after, 3)


def test_rules_that_drop() -> None:
    """Of iptables-save's text the rules and policies that drop are read, and their packets."""
    text = (
        "*filter\n:INPUT DROP [7:9]\n:FORWARD ACCEPT [1:2]\n[3:4] -A INPUT -s 1.2.3.4/32 -j DROP\n"
        "[5:6] -A INPUT -j ACCEPT\n[8:9] -A INPUT -p tcp -j REJECT --reject-with tcp-reset\nCOMMIT\n"
    )
    assert dropped_by_rules(text, 4) == {
        "IPv4 -P INPUT DROP": 7,
        "IPv4 -A INPUT -s 1.2.3.4/32 -j DROP": 3,
        "IPv4 -A INPUT -p tcp -j REJECT --reject-with tcp-reset": 8,
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--delay 0", "--delay 0: 0.1 to 3600 seconds expected"),
        ("--delay nan", "--delay nan: 0.1 to 3600"),
        ("-n 0", "--count 0: at least 1 expected"),
        ("-l 0", "--lines 0: at least 1 expected"),
        ("--control /nowhere/at/all", "no daemon"),
    ],
)
def test_refusals(arguments: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be done is one line and status 2."""
    assert cli.main(["top", *arguments.split()]) == 2
    assert said in capsys.readouterr().err


def test_addresses() -> None:
    """IPv6 endpoints with a port stand in brackets, as elsewhere."""
    from fastfw.cli.top import endpoint

    assert endpoint(ipaddress.ip_address("fd00::1").packed, 80) == "[fd00::1]:80"
    assert endpoint(ipaddress.ip_address("fd00::1").packed, 0) == "fd00::1"
