"""fastfw replay with rules: which rule decided, what it counted, and rules that cannot be used."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.test_replay import CLIENT, EXCHANGE, SERVER, T, replay, tcp, udp
from drivers import capfiles as cf
from fastfw.cli import main
from fastfw.drivers.pcapwrite import write_pcap

EXAMPLES = Path(__file__).parents[2] / "examples"

RULES = """\
*filter
:INPUT DROP [0:0]
:FORWARD ACCEPT [7:700]
:OUTPUT ACCEPT [0:0]
:web,more - [0:0]
-A INPUT -p tcp -m state --state NEW,ESTABLISHED -j web,more
-A INPUT -p udp -j REJECT
-A web,more -p tcp -m tcp --dport 80 -j ACCEPT
COMMIT
"""


@pytest.fixture
def exchange(tmp_path: Path) -> Path:
    path = tmp_path / "exchange.pcap"
    write_pcap(path, EXCHANGE, range(T, T + 5))
    return path


def rules(tmp_path: Path, text: str, name: str = "x.rules") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_example_is_the_kernels_answer(tmp_path: Path) -> None:
    """The shipped capture through the shipped rules counts what the real iptables counted of it."""
    out = tmp_path / "counters"
    options = ["--rules", EXAMPLES / "gateway.rules", "--local", "172.16.6.61", "--helper", "ftp"]
    assert replay(EXAMPLES / "gateway.pcap", *options, "--counters", out) == 0

    def lines(text: str) -> list[str]:
        return [line for line in text.splitlines() if not line.startswith("#")]

    assert lines(out.read_text()) == lines((EXAMPLES / "gateway.counters").read_text())


def test_rule_that_decided(exchange: Path, tmp_path: Path) -> None:
    """The CSV names the deciding rule or policy as TRACE does; a chain name with a comma is quoted."""
    out = tmp_path / "out.csv"
    assert replay(exchange, "--rules", rules(tmp_path, RULES), "--local", SERVER, "--packets", out) == 0
    with out.open(newline="") as file:
        found = [(row["verdict"], row["rule"]) for row in csv.DictReader(file)]
    assert found == [
        ("ACCEPT", "filter:web,more:rule:1"),
        ("ACCEPT", "filter:OUTPUT:policy:1"),
        ("ACCEPT", "filter:web,more:rule:1"),
        ("REJECT", "filter:INPUT:rule:2"),
        ("DROP", "filter:INPUT:policy:3"),
    ]


FRAMES = (
    "*filter\n-A FORWARD -m mac --mac-source 02:00:00:00:00:02 -j DROP\n"
    "-A INPUT -m mac --mac-source 02:00:00:00:00:02 -j DROP\n-A FORWARD -m pkttype --pkt-type broadcast\nCOMMIT\n"
)


def test_matches_of_frames_are_named(exchange: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """That a capture holds no frames is told once for each match that asks for them."""
    path = rules(tmp_path, FRAMES)
    assert replay(exchange, "--rules", path, "--json") == 0
    assert capsys.readouterr().err.splitlines() == [
        f"fastfw: {path}:{line}:1: match `{name}' is answered as for packets that came in no frame: {exchange} has "
        "records without"
        for line, name in ((2, "mac"), (4, "pkttype"))
    ]


@pytest.fixture
def framed(tmp_path: Path) -> Path:
    """Two datagrams of an Ethernet, from 02:00:00:00:00:02 and :03, the second to everybody."""
    datagram = udp(CLIENT, 1, SERVER, 2)
    frame = cf.ethernet(datagram)
    other = b"\xff" * 6 + frame[6:11] + b"\3" + frame[12:]
    path = tmp_path / "framed.pcap"
    path.write_bytes(cf.pcap([cf.record(frame, T), cf.record(other, T + 1000)], linktype=1))
    return path


def test_frames_are_judged(framed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The source of a frame and its packet type decide, and nothing is warned of."""
    counters, out = tmp_path / "counters", tmp_path / "out.csv"
    assert replay(framed, "--rules", rules(tmp_path, FRAMES), "--packets", out, "--counters", counters) == 0
    assert capsys.readouterr().err == ""
    assert [line.split(",")[1] for line in out.read_text().splitlines()[1:]] == ["DROP", "ACCEPT"]
    assert [line.split("]")[0] for line in counters.read_text().splitlines() if line[0] == "["] == [
        "[0:0",
        "[1:28",
        "[1:28",
    ]


def test_frames_are_explained_and_compared(framed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """explain shows the address that was compared; diff finds what frames decide."""
    asking, empty = rules(tmp_path, FRAMES), rules(tmp_path, "*filter\nCOMMIT\n", "empty.rules")
    assert main(["explain", str(framed), "--packet", "1", "--rules", str(asking), "--json"]) == 0
    steps = [step for step in json.loads(capsys.readouterr().out)["walk"] if step["kind"] == "rule"]
    assert [(step["held"], step["checks"][0]["values"]) for step in steps] == [
        (False, "source 02:00:00:00:00:03"), (True, "packet type broadcast"),
    ]  # fmt: skip
    assert main(["explain", str(framed), "--packet", "0", "--rules", str(asking), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["decision"]["rule"] == "filter:FORWARD:rule:1"
    assert main(["diff", str(empty), str(asking), str(framed), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["packets"], told["groups"][0]["example"]) == (1, 0)


def test_counters_are_the_captures(exchange: Path, tmp_path: Path) -> None:
    """--counters prints the filter table with each rule's packets and bytes; what the file counted before is no part of
    them, as after iptables-restore."""
    out = tmp_path / "counters"
    assert replay(exchange, "--rules", rules(tmp_path, RULES), "--local", SERVER, "--counters", out) == 0
    assert [line.split(" -m")[0] for line in out.read_text().splitlines() if line[0] in "[:"] == [
        ":INPUT DROP [1:40]",
        ":FORWARD ACCEPT [0:0]",
        ":OUTPUT ACCEPT [1:40]",
        ":web,more - [0:0]",
        "[2:80] -A INPUT -p tcp",
        "[1:36] -A INPUT -p udp -j REJECT --reject-with icmp-port-unreachable",
        "[2:80] -A web,more -p tcp",
    ]


@pytest.mark.parametrize("text", [None, "*raw\nCOMMIT\n"])
def test_counters_without_a_filter_table(exchange: Path, tmp_path: Path, text: str | None) -> None:
    """Without a filter table there is the kernel's own: everything meets a policy, which counts."""
    out = tmp_path / "counters"
    options = ["--rules", rules(tmp_path, text)] if text else []
    assert replay(exchange, *options, "--counters", out) == 0
    assert [line for line in out.read_text().splitlines() if not line.startswith("#")] == [
        "*filter",
        ":INPUT ACCEPT [0:0]",
        ":FORWARD ACCEPT [5:196]",
        ":OUTPUT ACCEPT [0:0]",
        "COMMIT",
    ]


def test_each_family_has_its_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--rules judge IPv4, --rules6 IPv6, and the counters of both are written, IPv4 first."""
    path, out = tmp_path / "both.pcap", tmp_path / "counters"
    write_pcap(path, [EXCHANGE[0], cf.IPV6, cf.IPV6], range(T, T + 3))
    four = rules(tmp_path, "*filter\n-A FORWARD -p tcp -j DROP\nCOMMIT\n", "4")
    six = rules(tmp_path, "*filter\n-A FORWARD -s fd00::1 -j DROP\nCOMMIT\n", "6")
    assert replay(path, "--rules", four, "--rules6", six, "--counters", out, "--json") == 0
    found = json.loads(capsys.readouterr().out)["rules"]
    assert [(r["family"], r["rule"], r["verdict"], r["packets"], r["text"]) for r in found] == [
        (4, "filter:FORWARD:rule:1", "DROP", 1, "-A FORWARD -p tcp -j DROP"),
        (6, "filter:FORWARD:rule:1", "DROP", 2, "-A FORWARD -s fd00::1/128 -j DROP"),
    ]
    assert [line for line in out.read_text().splitlines() if line.startswith("[")] == [
        "[1:40] -A FORWARD -p tcp -j DROP",
        "[2:96] -A FORWARD -s fd00::1/128 -j DROP",
    ]
    apart = tmp_path / "counters6"
    assert replay(path, "--rules", four, "--rules6", six, "--counters", out, "--counters6", apart, "--json") == 0
    written = [[line for line in file.read_text().splitlines() if line[0] == "["] for file in (out, apart)]
    assert written == [["[1:40] -A FORWARD -p tcp -j DROP"], ["[2:96] -A FORWARD -s fd00::1/128 -j DROP"]]
    capsys.readouterr()
    assert replay(path, "--rules", four, "--counters6", apart) == 2
    assert "--rules6" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("hook", "options", "packets"),
    [
        ("FORWARD", ["--in-interface", "eth0", "--out-interface", "eth1"], 5),
        ("FORWARD", ["--in-interface", "eth1", "--out-interface", "eth0"], 0),
        ("INPUT", ["--in-interface", "eth0"], 5),
        ("OUTPUT", ["--out-interface", "eth1"], 5),
        ("OUTPUT", ["--in-interface", "eth0"], 0),
    ],
)
def test_hook_and_interfaces(
    exchange: Path, tmp_path: Path, hook: str, options: list[str], packets: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """--hook chooses the chain, and rules see the interfaces that exist there."""
    text = "*filter\n-A INPUT -i eth0 -j DROP\n-A FORWARD -i eth0 -o eth1 -j DROP\n-A OUTPUT -o eth1 -j DROP\nCOMMIT\n"
    assert replay(exchange, "--rules", rules(tmp_path, text), "--hook", hook, *options, "--json") == 0
    verdicts = json.loads(capsys.readouterr().out)["verdicts"]
    assert verdicts.get("DROP", {"packets": 0})["packets"] == packets


def test_what_is_dropped_leaves_no_connection(tmp_path: Path) -> None:
    """A dropped NEW packet is NEW again the next time, and the table afterwards is empty."""
    path, out, table = tmp_path / "a.pcap", tmp_path / "out.csv", tmp_path / "table"
    write_pcap(path, [EXCHANGE[0]] * 3, range(T, T + 3))
    drop = rules(tmp_path, "*filter\n:FORWARD DROP\nCOMMIT\n")
    assert replay(path, "--rules", drop, "--packets", out, "--conntrack", table) == 0
    assert [line.split(",")[2] for line in out.read_text().splitlines()[1:]] == ["NEW"] * 3
    assert table.read_text() == ""


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("*filter\n-A INPUT -p tcp --dprot 80 -j ACCEPT\nCOMMIT\n", "2:17"),
        ("*filter\n-A NOWHERE -j ACCEPT\nCOMMIT\n", "2:"),
        ("*filter\n-A INPUT -j ACCEPT\n", "3:1"),
        ("hello\n", "1:1"),
        ("*filter\n-A INPUT -j \udcff\nCOMMIT\n", "2:"),
    ],
)
def test_faults_in_rules(
    exchange: Path, tmp_path: Path, text: str, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A ruleset that cannot be loaded is FILE:LINE:COLUMN: reason, one line, status 2."""
    path = tmp_path / "bad.rules"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert replay(exchange, "--rules", path) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"fastfw: {path}:{place}")
    assert err.count("\n") == 1


def test_reopened_port_and_unknown_flows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The tables for people show the verdicts by rule with the rule's text."""
    path = tmp_path / "a.pcap"
    write_pcap(path, [tcp(CLIENT, 1, SERVER, 22, 2), udp(CLIENT, 1, SERVER, 53)], [T, T])
    assert replay(path, "--rules", rules(tmp_path, "*filter\n-A FORWARD -p udp -j DROP\nCOMMIT\n")) == 0
    out = capsys.readouterr().out
    assert "-A FORWARD -p udp -j DROP" in out
    assert "-P FORWARD ACCEPT" in out


def test_terminal_codes_in_rules_are_shown_not_obeyed(exchange: Path, tmp_path: Path) -> None:
    """Control characters of a ruleset reach neither the table nor an error line, and any output encoding will do."""
    comment = "\x1b[31mr\u00f6t"
    good = rules(tmp_path, f'*filter\n-A FORWARD -m comment --comment "{comment}" -j DROP\nCOMMIT\n')
    bad = rules(tmp_path, f'*filter\n-A FORWARD -j "{comment}"\nCOMMIT\n', "bad")
    for path, status in ((good, 0), (bad, 2)):
        done = subprocess.run(
            [sys.executable, "-m", "fastfw", "replay", str(exchange), "--rules", str(path)],
            capture_output=True,
            timeout=60,
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
        )
        assert done.returncode == status, done.stderr
        output = done.stdout + done.stderr
        assert b"\x1b" not in output
        assert b"\\x1b[31mr\\xf6t" in output
        assert done.stderr.count(b"\n") == (1 if status else 0)


def test_what_is_not_done_is_told_once(exchange: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rules of table nat are kept, and one line of standard error names the first of them."""
    text = RULES + "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -o eth1 -j MASQUERADE\n-A POSTROUTING\nCOMMIT\n"
    path = rules(tmp_path, text)
    assert replay(exchange, "--rules", path) == 0
    told = capsys.readouterr().err
    assert told == f"fastfw: {path}:12:1: table nat is kept but not evaluated: addresses are not rewritten here\n"
