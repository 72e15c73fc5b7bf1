"""fastfw diff: which packets change verdict between two rulesets, and by which rules."""

from __future__ import annotations

import csv
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
from fastfw.drivers.pcapwrite import write_pcap

CLIENT, SERVER = p.address("10.1.0.1"), p.address("10.2.0.1")
OLD = "*filter\n-A FORWARD -p tcp -m tcp --dport 23 -j DROP\n-A FORWARD -p tcp -j ACCEPT\nCOMMIT\n"
NEW = "*filter\n-A FORWARD -p udp -j DROP\n-A FORWARD -p tcp -m tcp --dport 80 -j REJECT\nCOMMIT\n"


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """OLD, NEW and a capture: telnet, web twice, web's answer, a name server's, ssh."""
    packets = [
        p.tcp_packet(CLIENT, SERVER, 1000, 23, p.SYN),
        p.tcp_packet(CLIENT, SERVER, 1001, 80, p.SYN),
        p.tcp_packet(CLIENT, SERVER, 1002, 80, p.SYN),
        p.tcp_packet(CLIENT, SERVER, 1002, 80, p.SYN),
        p.udp_packet(CLIENT, SERVER, 1003, 53),
        p.tcp_packet(CLIENT, SERVER, 1004, 22, p.SYN),
    ]
    write_pcap(tmp_path / "x.pcap", packets, range(10**18, 10**18 + 6000, 1000))
    (tmp_path / "old").write_text(OLD)
    (tmp_path / "new").write_text(NEW)
    return [str(tmp_path / name) for name in ("old", "new", "x.pcap")]


def differ(capsys: pytest.CaptureFixture[str], *argv: object) -> dict[str, Any]:
    status = main(["diff", *map(str, argv), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert status == (1 if told["packets"] else 0)
    return told


def test_groups(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Changed packets are grouped by the rules that decided before and now, with counts and an example."""
    told = differ(capsys, *files)
    assert (told["records"], told["packets"], told["connections"]) == (6, 5, 4)
    groups = [
        (g["old"]["verdict"], g["old"]["rule"], g["new"]["verdict"], g["new"]["rule"], g["packets"], g["connections"],
         g["example"])
        for g in told["groups"]
    ]  # fmt: skip
    assert groups == [
        ("ACCEPT", "filter:FORWARD:rule:2", "REJECT", "filter:FORWARD:rule:2", 3, 2, 1),
        ("DROP", "filter:FORWARD:rule:1", "ACCEPT", "filter:FORWARD:policy:3", 1, 1, 0),
        ("ACCEPT", "filter:FORWARD:policy:3", "DROP", "filter:FORWARD:rule:1", 1, 1, 4),
    ]
    assert told["groups"][0]["top"][0] == {"connection": "tcp 10.1.0.1:1002 > 10.2.0.1:80", "packets": 2}
    assert told["groups"][0]["new"]["text"] == "-A FORWARD -p tcp -m tcp --dport 80 -j REJECT --reject-with " + (
        "icmp-port-unreachable"
    )


def test_nothing_changes(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The same rules, or rules that decide alike, are no change: status 0, and it says so."""
    assert main(["diff", files[0], files[0], files[2]]) == 0
    assert "no verdict changes: 6 packets" in capsys.readouterr().out


def test_text(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """For people: a table of the groups, the rules' texts, the connections, and how to go on."""
    assert main(["diff", *files]) == 1
    out = capsys.readouterr().out
    assert "ACCEPT -> REJECT" in out
    assert "5 of 6 packets, 4 connections" in out
    assert "-A FORWARD -p udp -j DROP" in out
    assert "fastfw explain CAPTURE --packet 1" in out


def test_packets_csv(files: list[str], tmp_path: Path) -> None:
    """--packets lists every changed packet."""
    out = tmp_path / "out.csv"
    assert main(["diff", *files, "--packets", str(out)]) == 1
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["packet"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert rows[0] == {
        "packet": "0",
        "old_verdict": "DROP",
        "new_verdict": "ACCEPT",
        "old_rule": "filter:FORWARD:rule:1",
        "new_rule": "filter:FORWARD:policy:3",
    }


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("seed", range(5))
def test_random_rulesets(family: int, seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of random rulesets and traffic, the packets that change are those that two engines decide differently, each
    counted in the group of its two rules."""
    texts = [random_ruleset(seed * 2 + i + 900, family) for i in range(2)]
    packets = generate(seed, 800, families=(family,))
    times = np.arange(len(packets)) * 1_000_000 + 10**18
    write_pcap(tmp_path / "x.pcap", packets, times.tolist())
    for i, text in enumerate(texts):
        (tmp_path / f"{i}").write_text(text)
    told = differ(capsys, tmp_path / "0", tmp_path / "1", tmp_path / "x.pcap", "--family", family)
    engines = [fastfw.Engine(**{f"rules{family}": fastfw.Ruleset.parse(t, family)}) for t in texts]  # type: ignore[arg-type]
    old, new = (fw.process(*pack(packets), times) for fw in engines)
    changed = np.flatnonzero(old["verdict"] != new["verdict"])
    assert told["packets"] == len(changed)
    pairs = {
        (int(old["rule"][i]), int(new["rule"][i]), int(old["verdict"][i]), int(new["verdict"][i])) for i in changed
    }
    assert len(told["groups"]) == len(pairs)
    assert sum(g["packets"] for g in told["groups"]) == len(changed)
    for group in told["groups"]:
        i = group["example"]
        assert group["old"]["rule"] == (engines[0].rule_name(family, int(old["rule"][i])) or "-")
        assert group["new"]["rule"] == (engines[1].rule_name(family, int(new["rule"][i])) or "-")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--rules", "x"], "--rules"),
        (["--rules6", "x"], "--rules6"),
        (["--packets", "-", "--json"], "--json"),
        (["--set", "nothing=1"], "nothing"),
        (["--helper", "nobody"], "nobody"),
        (["--hook", "INPUT", "--local", "10.0.0.1"], "exclude"),
    ],
)
def test_bad_arguments(files: list[str], argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What does not apply is refused in one line with status 2."""
    assert main(["diff", *files, *argv]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error


def test_an_input_is_not_overwritten(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """--packets into one of the inputs is refused."""
    assert main(["diff", *files, "--packets", files[1]]) == 2
    assert Path(files[1]).read_text() == NEW
