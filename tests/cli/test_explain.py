"""fastfw explain: the walk it tells of is the one the engine took, and every value is the packet's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.kernel.oracle import pack
from tests.traffic import packets as p
from tests.traffic.generate import generate
from tests.traffic.rulesets import ruleset as random_ruleset

import fastfw
from fastfw.cli import main
from fastfw.cli.names import STATES, VERDICTS
from fastfw.cli.walk import Step, Walk
from fastfw.core.explain import watched
from fastfw.core.terms import Hook
from fastfw.drivers.pcapwrite import write_pcap

EXAMPLES = Path(__file__).parents[2] / "examples"
EXAMPLE = [str(EXAMPLES / "gateway.pcap"), "--rules", str(EXAMPLES / "gateway.rules"), "--local", "172.16.6.61"]


def explained(capsys: pytest.CaptureFixture[str], *argv: object) -> dict[str, Any]:
    assert main(["explain", *map(str, argv), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def deciding(steps: list[Step], verdict: str) -> str:
    """The rule that decided: the last one met, or where all tables accept the one that table filter ended with."""
    if verdict != "ACCEPT":
        return steps[-1].name
    ends = [s for s in steps if s.held and s.then == "ACCEPT"]
    return next((s.name for s in ends if s.table == "filter"), "")


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("seed", range(8))
def test_the_walk_is_the_engines(family: int, seed: int) -> None:
    """Over random rulesets and traffic, each packet's told walk ends at the rule by which an engine that nobody watches
    decides, with the same verdict; and both engines count the same of every rule."""
    rules = fastfw.Ruleset.parse(random_ruleset(seed + 700, family), family)
    packets = generate(seed, 300, families=(family,), fragments=0.02)
    times = np.arange(len(packets)) * 10_000_000 + 10**18
    plain, seen = (fastfw.Engine(**{f"rules{family}": rules}) for _ in range(2))  # type: ignore[arg-type]
    out = plain.process(*pack(packets), times, iif="eth0", oif="eth1")
    program = seen._rules(family)
    for i, packet in enumerate(packets):
        found = watched(seen, packet, len(packet), int(Hook.HOOK_FORWARD), "eth0", "eth1", int(times[i]))
        d = found.decision
        assert (d.verdict, d.state) == names(out[i]), (seed, i)
        assert d.rule == (plain.rule_name(family, int(out[i]["rule"])) or None), (seed, i)
        steps = list(Walk(rules, program, found, int(Hook.HOOK_FORWARD), ("eth0", "eth1"), seen.declared).steps())
        if d.rule is not None:
            assert deciding(steps, d.verdict) == d.rule, (seed, i)
        for step in steps:
            assert step.held == all(check.held for check in step.checks) or "cannot be read" in step.then
            if not step.held:
                assert [c.held for c in step.checks].count(False) == 1
    assert seen.counters_text(family) == plain.counters_text(family)


def names(row: np.void) -> tuple[str, str]:
    return VERDICTS[int(row["verdict"])], STATES[int(row["state"])]


def test_an_established_packet_is_walked_too() -> None:
    """A packet whose path the engine remembers is walked all the same when it is watched, and forgets nothing."""
    text = "*filter\n" + "-A FORWARD -p tcp -j ACCEPT\n" * 20 + "-A FORWARD -p udp -j ACCEPT\nCOMMIT\n"
    fw = fastfw.Engine(rules4=fastfw.Ruleset.parse(text))
    packets = generate(1, 200, 0.0, ("udp",), (4,))
    for packet in packets:
        fw.decide(packet, now=10**18)
    found = watched(fw, packets[0], len(packets[0]), 0, "", "", 10**18)
    assert len(found.visits) == 21
    assert found.decision.rule == "filter:FORWARD:rule:21"
    assert fw.decide(packets[0], now=10**18).rule == "filter:FORWARD:rule:21"


def test_every_packet_of_the_example(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What explain says of packets of the shipped capture is what replay says of them."""
    out = tmp_path / "packets.csv"
    assert main(["replay", *EXAMPLE, "--helper", "ftp", "--packets", str(out)]) == 0
    rows = [line.split(",") for line in out.read_text().splitlines()[1:]]
    capsys.readouterr()
    for number in range(0, len(rows), max(1, len(rows) // 20)):
        told = explained(capsys, *EXAMPLE, "--helper", "ftp", "--packet", number)
        tracking = told["tracking"]
        assert told["decision"]["verdict"] == rows[number][1]
        assert tracking["state"] == rows[number][2]
        assert tracking["direction"] == rows[number][3]
        assert (told["decision"]["rule"] or "-") == rows[number][7]
        link = told["packet"]["link"]
        assert (link["reason"] if link else tracking["reason"] or "-") == rows[number][8]


RULES = """\
*mangle
-A PREROUTING -i eth0 -j MARK --set-mark 7
COMMIT
*filter
:FORWARD DROP [0:0]
:web - [0:0]
-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT
-A FORWARD -p udp -m udp --dport 53 -j ACCEPT
-A FORWARD -s 10.0.0.0/8 -p tcp -m comment --comment "to the web" -j web
-A web -p tcp -m tcp --dport 443 --tcp-flags SYN,ACK SYN -m mark --mark 7 -j ACCEPT
-A web -m limit --limit 1/min --limit-burst 1 -j LOG
-A web -m ttl --ttl-gt 9
COMMIT
"""


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    client, server = p.address("10.1.0.1"), p.address("10.2.0.1")
    path = tmp_path / "x.pcap"
    packets = [p.tcp_packet(client, server, 1000, 443, p.SYN), p.tcp_packet(client, server, 1001, 80, p.SYN),
               p.tcp_packet(server, client, 443, 1000, p.SYN | p.ACK)]  # fmt: skip
    write_pcap(path, packets, range(10**18, 10**18 + 3 * 10**9, 10**9))
    return path


def options(capture: Path, text: str = RULES) -> list[str]:
    rules = capture.with_suffix(".rules")
    rules.write_text(text)
    return [str(capture), "--rules", str(rules), "--in-interface", "eth0"]


def test_conditions_and_values(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each condition tells whether it held and what it met; what stands behind a failed one was not asked."""
    told = explained(capsys, *options(capture), "--packet", 0)
    steps = {f"{s['chain']} {s['number']}": s for s in told["walk"] if s["table"] == "filter"}
    assert list(steps) == ["FORWARD 1", "FORWARD 2", "FORWARD 3", "web 1"]
    assert steps["FORWARD 1"]["checks"] == [
        {"text": "-m conntrack --ctstate ESTABLISHED", "held": False, "values": "state NEW"}
    ]
    assert steps["FORWARD 2"]["checks"] == [
        {"text": "-p udp", "held": False, "values": "protocol tcp"},
        {"text": "-m udp --dport 53", "held": None, "values": ""},
    ]
    assert [c["values"] for c in steps["FORWARD 3"]["checks"]] == ["source 10.1.0.1", "protocol tcp", ""]
    assert steps["FORWARD 3"]["then"] == "jump to web"
    assert steps["web 1"]["depth"] == 1
    assert [c["values"] for c in steps["web 1"]["checks"]] == [
        "protocol tcp",
        "destination port 443, flags SYN",
        "mark 0x7",
    ]
    assert steps["web 1"]["line"] == 10
    assert told["decision"] == {"verdict": "ACCEPT", "rule": "filter:web:rule:1", "mark": 7}


def test_connection_before_and_after(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The connection's line is told as it was before the packet and as it is after it; a dropped one makes none."""
    first = explained(capsys, *options(capture), "--packet", 0)["tracking"]
    assert first["before"] is None
    assert "SYN_SENT src=10.1.0.1 dst=10.2.0.1" in first["after"]
    answer = explained(capsys, *options(capture), "--packet", 2)["tracking"]
    assert "tcp      6 118 SYN_SENT" in answer["before"]
    assert "SYN_RECV" in answer["after"]
    assert (answer["state"], answer["direction"]) == ("ESTABLISHED", "REPLY")
    dropped = explained(capsys, *options(capture), "--packet", 1)
    assert dropped["tracking"]["after"] is None
    assert dropped["decision"]["rule"] == "filter:FORWARD:policy:4"
    assert [s["then"] for s in dropped["walk"]][-4:] == ["LOG, next rule", "counted, next rule", "return", "DROP"]


def test_reason_in_a_sentence(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What connection tracking had to say is a sentence with its numbers."""
    told = explained(capsys, *options(capture), "--packet", 2, "--set", "nf_conntrack_tcp_loose=0")
    assert told["tracking"]["reason"] is None
    rules = "*filter\n-A FORWARD -p tcp -m tcp --tcp-flags ACK NONE -j DROP\nCOMMIT\n"
    told = explained(capsys, *options(capture, rules), "--packet", 2, "--set", "nf_conntrack_tcp_loose=0")
    assert told["tracking"]["state"] == "INVALID"
    assert "SYN ACK" in told["tracking"]["explanation"]


def test_text(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For people: the packet, tracking, the walk by chains, the verdict."""
    assert main(["explain", *options(capture), "--packet", "0"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"packet 0 of {capture}, 2001-09-09 01:46:40.000000000 UTC\n")
    assert "IPv4 tcp 10.1.0.1:1000 > 10.2.0.1:443, SYN, " in out
    assert "\ntable mangle, chain PREROUTING\n" in out
    assert "\n  table filter, chain web\n" in out
    assert out.endswith("\nverdict ACCEPT by filter:web:rule:1, mark 0x7\n")


def test_no_rules(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without rules there is no walk, and the packet is accepted."""
    told = explained(capsys, capture, "--packet", 0)
    assert (told["walk"], told["rules"], told["decision"]["verdict"]) == ([], False, "ACCEPT")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--packet", "3"], "has 3 records, counted from 0"),
        (["--packet", "-1"], "--packet"),
        (["--packet", "x"], "--packet"),
        ([], "--packet"),
        (["--packet", "0", "--counters", "x"], "--counters"),
        (["--packet", "0", "--hook", "INPUT", "--local", "10.0.0.1"], "exclude"),
    ],
)
def test_bad_arguments(capture: Path, argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What does not apply is refused in one line with status 2."""
    assert main(["explain", str(capture), *argv]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error
