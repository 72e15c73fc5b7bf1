"""`fastfw conntrack` beside conntrack(8), both looking at the same traffic."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

pytest.importorskip("msgspec")

from gateway.namespaced import live, script

pytestmark = [*live, pytest.mark.skipif(shutil.which("conntrack") is None, reason="conntrack(8) is the judge")]

TRAFFIC = r"""
for t in iptables-legacy ip6tables-legacy; do $t -A INPUT -m conntrack --ctstate NEW -j ACCEPT; done
"$PYTHON" - <<'PY'
import socket
for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    server = socket.create_server((host, 7000), family=family)
    talk = socket.create_connection((host, 7000), timeout=20)
    talk.sendall(b"x"); server.accept()[0].recv(1)
    sink, udp = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_DGRAM)
    sink.bind((host, 7003)); sink.settimeout(20)
    udp.sendto(b"x", (host, 7003)); sink.recv(1)
PY
ping -c1 -W20 127.0.0.1 >/dev/null
"""
RULES = "*filter\n:INPUT ACCEPT\n-A INPUT -j ACCEPT\nCOMMIT\n"

LISTINGS = [
    "-L",
    "-L -o extended",
    "-L -f ipv6",
    "-L -p tcp",
    "-L -p tcp --state TIME_WAIT",
    "-L -p udp --dport 7003 -s 127.0.0.0/8",
    "-L -o save",
    "-L -o xml -p udp",
    "-L -u ASSURED",
    "-L -p icmp",
    "-L expect",
]


def alike(text: str) -> list[str]:
    """A listing without what two tables differ in: the order, identifiers, the seconds left, how often an entry is
    held, and the program's name."""
    text = re.sub(r"conntrack v\S+ \(\S+\)", "conntrack", text)
    text = re.sub(r"<id>\d{5,}</id>|<id>\d+</id>(?=<(unreplied|assured)|</meta></flow>)", "<id/>", text)
    text = re.sub(r"use>\d|use=\d", "use", text)
    text = re.sub(r"(-t |<timeout>|^\w+ +\d+ (?=\d)|^ipv\d +\d+ \w+ +\d+ (?=\d))\d+", r"\1N", text, flags=re.MULTILINE)
    return sorted(text.splitlines())


def test_listings_are_conntracks(tmp_path: Path) -> None:
    """Every listing is conntrack(8)'s, byte for byte, but for identifiers, seconds and order; so are statuses and
    counts."""
    text = "start --rules rules\n" + TRAFFIC
    for number, arguments in enumerate(LISTINGS):
        text += f"conntrack {arguments} >real{number} 2>&1; echo $? >>real{number}\n"
        text += f"fastfw conntrack {arguments} >ours{number} 2>&1; echo $? >>ours{number}\n"
    script(tmp_path, text + "stop", RULES)
    for number, arguments in enumerate(LISTINGS):
        ours, real = ((tmp_path / f"{name}{number}").read_text() for name in ("ours", "real"))
        assert alike(ours) == alike(real), arguments
    assert os.stat(tmp_path / "ours0").st_size > 400


def test_changes(tmp_path: Path) -> None:
    """A connection is created once, found, changed, followed and deleted, with conntrack(8)'s statuses and words."""
    tuple_ = "-s 1.2.3.4 -d 5.6.7.8 -p tcp --sport 10 --dport 20"
    said = script(
        tmp_path,
        "start --rules rules; fastfw conntrack -E >events 2>/dev/null & follower=$!; sleep 2\n"
        f"fastfw conntrack -I {tuple_} --state ESTABLISHED -t 100 -u ASSURED,SEEN_REPLY -m 5; echo $?\n"
        f"fastfw conntrack -I {tuple_} --state ESTABLISHED -t 100; echo $?\n"
        f"fastfw conntrack -G {tuple_}; echo $?; fastfw conntrack -G {tuple_}1; echo $?\n"
        "fastfw conntrack -U -s 1.2.3.4 --mark 7 -t 50; echo $?; fastfw conntrack -L -m 7/0xf; fastfw conntrack -C\n"
        "fastfw conntrack -D -p tcp; echo $?; fastfw conntrack -D -p tcp; echo $?; fastfw conntrack -F; echo $?\n"
        "sleep 1; kill -INT $follower; cat events; stop",
        RULES,
    )
    same = "src=1.2.3.4 dst=5.6.7.8 sport=10 dport=20 src=5.6.7.8 dst=1.2.3.4 sport=20 dport=10 [ASSURED]"
    assert "1 flow entries have been created.\n0\n" in said
    assert "Operation failed: Such conntrack exists, try -U to update\n1\n" in said
    assert re.search(rf"^tcp      6 (99|100|9\d) ESTABLISHED {re.escape(same)} mark=5 use=1$", said, re.MULTILINE)
    assert "Operation failed: such conntrack doesn't exist\n1\n" in said
    assert "1 flow entries have been updated.\n0\n" in said
    assert re.search(rf"^tcp      6 (50|4\d) ESTABLISHED {re.escape(same)} mark=7 use=1$", said, re.MULTILINE)
    assert "1 flow entries have been deleted.\n0\n" in said
    assert "0 flow entries have been deleted.\n1\n" in said
    assert "connection tracking table has been emptied.\n0\n" in said
    assert re.search(rf"^\[DESTROY\] tcp      6 (50|4\d) ESTABLISHED {re.escape(same)} mark=7$", said, re.MULTILINE)


def test_a_table_moves_as_text(tmp_path: Path) -> None:
    """What conntrack(8) saved of the kernel is entered once, and what is saved of the daemon conntrack(8) enters."""
    said = script(
        tmp_path,
        f"start --rules rules\n{TRAFFIC}"
        "conntrack -L -o save >real 2>/dev/null; fastfw conntrack -F; fastfw conntrack -R real; echo entered $?\n"
        "fastfw conntrack -R - <real; echo again $?; fastfw conntrack -L -o save >ours 2>/dev/null\n"
        "conntrack -F; conntrack -R ours; echo back $?; conntrack -L -o save >back 2>/dev/null\n"
        "fastfw conntrack -A -s 1.2.3.4 -d 5.6.7.8 -p sctp --sport 10 --dport 20 --state ESTABLISHED -t 100"
        " --orig-vtag 7 --reply-vtag 9; fastfw conntrack -A -s 1.2.3.4 -d 5.6.7.8 -p sctp --sport 10 --dport 20"
        " --state ESTABLISHED -t 100; echo added $?; fastfw conntrack -L -p sctp -o save 2>/dev/null\n"
        "echo nonsense >bad; fastfw conntrack -R bad; echo bad $?; fastfw conntrack -R absent; echo absent $?\nstop",
        RULES,
    )
    real, ours, back = ([alike(line) for line in (tmp_path / name).read_text().splitlines()]
                        for name in ("real", "ours", "back"))  # fmt: skip
    assert len(real) > 4
    assert sorted(real) == sorted(ours) == sorted(back)
    assert "entered 0\n" in said
    assert "again 0\n" in said
    assert "back 0\n" in said
    assert "added 0\n" in said
    assert re.search(r"--state ESTABLISHED --orig-vtag 7 --reply-vtag 9$", said, re.MULTILINE)
    assert "bad: line 1: -A expected at the line's start, not 'nonsense'\nbad 2\n" in said
    assert "absent: No such file or directory\nabsent 2\n" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("-Q", "unknown option -Q"),
        ("-L -D", "one command expected"),
        ("-L -p " + "1" * 5000, "-p: a protocol expected"),
        ("-L -s zz", "-s: an address or network expected"),
        ("-L --state FOO -p tcp", "--state FOO: one of"),
        ("-L --state ESTABLISHED", "-p tcp or -p sctp expected"),
        ("-G -s 1.2.3.4", "-G: -s, -d and -p expected"),
        ("-L -o labels", "some of extended"),
        ("-L -s 1.2.3.4 -f ipv6", "not all of one family"),
        ("-D expect", "expectations are made by helpers"),
        ("-R", "-R: a file expected"),
        ("-A -s 1.2.3.4 -d 1.2.3.5 -p udp", "-A: -t expected"),
        ("-L -z", "counters are not set to zero here"),
    ],
)
def test_refusals(arguments: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be done is refused before a daemon is asked: one line, status 2."""
    from fastfw import cli

    assert cli.main(["conntrack", *arguments.split()]) == 2
    assert said in capsys.readouterr().err
