"""What LOG, NFLOG and TRACE rules tell of, as lines of the daemon's log."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("msgspec")

from fastfw import Engine, Ruleset
from fastfw.gateway import packets
from fastfw.gateway.config import LogSection
from fastfw.gateway.log import Log
from fastfw.gateway.packets import PacketLog
from gateway.namespaced import live_test, script
from traffic.packets import SYN, address, tcp_packet

RULES = """*filter
:INPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 22 -j LOG --log-prefix "ssh: " --log-level notice
-A INPUT -p tcp -m tcp --dport 80 -j NFLOG --nflog-prefix web --nflog-group 3
-A INPUT -p tcp -m tcp --dport 22 -j DROP
COMMIT
"""
ENDS = address("10.0.0.1"), address("10.0.0.2")
AT = 1_700_000_000_000_000_000


class Bench:
    """An engine with RULES in force, and what its packets make of the log."""

    def __init__(self, level: str = "info", **given: Any) -> None:
        self.engine = Engine(rules4=Ruleset.parse(RULES))
        self.log = Log("json", level, file=io.StringIO())
        self.packets = PacketLog(self.engine, LogSection(**given), self.log)

    def send(self, port: int, sport: int = 1) -> None:
        """A SYN to a port of this host."""
        packet = tcp_packet(*ENDS, sport, port, SYN)
        self.engine.decide(packet, hook="INPUT", iif="eth0", now=AT)

    def lines(self) -> list[dict[str, Any]]:
        """What was written."""
        self.packets.look()
        self.log.close()
        assert isinstance(self.log.file, io.StringIO)
        return [json.loads(line) for line in self.log.file.getvalue().splitlines()]


def test_lines() -> None:
    """A line has the record's fields, those that say nothing left out, and the kernel's own line as its text."""
    bench = Bench()
    bench.send(22)
    bench.send(80)
    first, second = bench.lines()
    text = first.pop("text")
    assert text.startswith("ssh: IN=eth0 OUT= SRC=10.0.0.1 DST=10.0.0.2 LEN=")
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "notice", "event": "packet", "time_ns": AT, "kind": "LOG", "family": 4, "rule": "filter:INPUT:rule:1",
        "prefix": "ssh: ", "in_interface": "eth0", "length": 40, "state": "NEW", "source": "10.0.0.1",
        "destination": "10.0.0.2",
    }  # fmt: skip
    assert (second["kind"], second["prefix"], second["group"], second["threshold"]) == ("NFLOG", "web", 3, 0)
    assert bench.packets.counts == {"written": 2, "suppressed": 0, "below_level": 0, "lost": 0}


def test_rate_of_a_rule() -> None:
    """A rule that tells too much is held to its rate, the next line says what was suppressed; another rule's packets
    are told all the same."""
    bench = Bench(packet_rate=1e-9, packet_burst=2)
    for sport in range(10):
        bench.send(22, sport)
    bench.send(80)
    bench.packets.look()
    bench.packets.configure(LogSection(packet_rate=0))
    bench.send(22)
    found = bench.lines()
    assert [line.get("prefix") for line in found] == ["ssh: ", "ssh: ", "web", "ssh: "]
    assert [line.get("suppressed") for line in found] == [None, None, None, 8]
    assert bench.packets.counts == {"written": 4, "suppressed": 8, "below_level": 0, "lost": 0}


def test_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packets that there was no room for are counted, and a line says how many."""
    monkeypatch.setattr(packets, "ROOM", 4)
    bench = Bench()
    for sport in range(10):
        bench.send(22, sport)
    found = bench.lines()
    assert [line["event"] for line in found] == ["packet"] * 4 + ["packets_not_logged"]
    assert found[-1]["lost"] == 6
    assert bench.packets.counts["lost"] == 6


def test_level() -> None:
    """A rule whose level is not written takes nobody's allowance."""
    bench = Bench("warning")
    bench.send(22)
    bench.send(80)
    assert [line["kind"] for line in bench.lines()] == ["NFLOG"]
    assert bench.packets.counts["below_level"] == 1


def test_off() -> None:
    """Switched off, rules tell nothing and the engine keeps nothing; switched on again they tell of what comes then."""
    bench = Bench(packets=False)
    bench.send(22, 1)
    bench.packets.look()
    bench.packets.configure(LogSection(packets=True))
    bench.send(22, 2)
    bench.packets.look()
    bench.packets.configure(LogSection(packets=False))
    bench.send(22, 3)
    (line,) = bench.lines()
    assert "SPT=2 " in line["text"]


@live_test
def test_live(tmp_path: Path) -> None:
    """Packets that really come are lines, in both families; so are those of a rule that came in force while running;
    the rest is counted."""
    rules = (
        '*filter\n:INPUT DROP\n-A INPUT -p {icmp} -j LOG --log-prefix "ping {family} "\n-A INPUT -p {icmp} -j ACCEPT\n'
        "COMMIT\n"
    )
    (tmp_path / "rules6").write_text(rules.format(icmp="ipv6-icmp", family=6))
    (tmp_path / "f.toml").write_text(
        "rules = { ipv4 = 'rules', ipv6 = 'rules6' }\nlog = { packet_rate = 1e-9, packet_burst = 5 }\n"
    )
    said = script(
        tmp_path,
        "start -c f.toml\nping -c1 -W10 127.0.0.1 >/dev/null; ping -c1 -W10 ::1 >/dev/null\n"
        'fastfw iptables -I INPUT -p icmp --icmp-type echo-reply -j NFLOG --nflog-group 7 --nflog-prefix "answer 4"\n'
        "ping -i 0.01 -c20 -W10 127.0.0.1 >/dev/null; logged answer; stop\n"
        "grep -e event=packet log",
        rules.format(icmp="icmp", family=4),
    )
    lines = [line for line in said.splitlines() if "event=packet" in line]
    form = r'time=\S+ level={} event=packet time_ns=\d+ kind={} family={} rule=filter:INPUT:rule:1 prefix="{}" '
    assert sum(bool(re.match(form.format("warning", "LOG", 6, "ping 6 "), line)) for line in lines) == 2
    first = [line for line in lines if re.match(form.format("warning", "LOG", 4, "ping 4 "), line)]
    assert len(first) == 2
    assert "in_interface=lo length=84 state=NEW source=127.0.0.1 destination=127.0.0.1 text=" in first[0]
    assert '"ping 4 IN=lo OUT= SRC=127.0.0.1 DST=127.0.0.1 LEN=84 TOS=0x00 PREC=0x00 TTL=64 ' in first[0]
    assert "TYPE=8 CODE=0 " in first[0]
    assert "TYPE=0 CODE=0 " in first[1]
    answers = [line for line in lines if re.match(form.format("warning", "NFLOG", 4, "answer 4"), line)]
    assert len(answers) == 5
