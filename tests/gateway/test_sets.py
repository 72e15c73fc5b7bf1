"""Sets in the daemon: read with the rules, and anew with them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

pytest.importorskip("msgspec")

from fastfw.gateway.config import Config, RulesSection
from fastfw.gateway.daemon import Daemon, StartError
from fastfw.gateway.log import Log
from fastfw.gateway.rulebook import RulesError
from gateway.namespaced import live_test, script
from traffic.packets import address, udp_packet

RULES = """*filter
:INPUT ACCEPT [0:0]
-A INPUT -m set --match-set bad src -j DROP
-A INPUT -p udp --dport 9 -j SET --add-set bad src
COMMIT
"""
SETS = "create bad hash:ip\nadd bad 10.0.0.1\n"
HOST = address("10.0.0.9")


class Place:
    """A daemon that is not started, and its files."""

    def __init__(self, path: Path) -> None:
        self.rules, self.first, self.second = (path / name for name in ("rules", "first", "second"))
        self.rules.write_text(RULES)
        self.first.write_text(SETS)
        self.second.write_text("create other hash:net\n")
        given = RulesSection(ipv4=str(self.rules), sets=(str(self.first), str(self.second)))
        self.daemon = Daemon(Config(rules=given), log=Log(file=io.StringIO()))

    def passes(self, last: int, dport: int = 53) -> bool:
        """Whether a datagram of a host passes."""
        packet = udp_packet(address(f"10.0.0.{last}"), HOST, 1, dport, b"")
        return self.daemon.engine.decide(packet, hook="INPUT", iif="eth0").verdict == "ACCEPT"


def test_files(tmp_path: Path) -> None:
    """Sets come from all the files; what packets add stays at a reload as long as no file has changed."""
    place = Place(tmp_path)
    place.daemon.check()
    assert not place.passes(1)
    assert place.passes(2)
    place.passes(2, 9)
    assert not place.passes(2)
    place.daemon.reload()
    assert not place.passes(2)
    place.second.write_text("create other hash:net\nadd bad 10.0.0.3\n")
    place.daemon.reload()
    assert [place.passes(last) for last in (1, 2, 3)] == [False, True, False]


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (SETS, "create other hash:net\nadd other nonsense\n", "second:2:11: "),
        (SETS + "add bad 1.2.3.4 timeout 5\n", "", "first:3:"),
        (SETS, SETS, "second:1:8: "),
        ("", "", "rules:3:1: set `bad' does not exist"),
    ],
)
def test_faults(tmp_path: Path, first: str, second: str, said: str) -> None:
    """A fault is told with file, line and column, at a start and at a reload, where the old sets stay in force."""
    place = Place(tmp_path)
    place.daemon.check()
    place.passes(2, 9)
    place.first.write_text(first)
    place.second.write_text(second)
    with pytest.raises(RulesError) as caught:
        place.daemon.reload()
    assert str(caught.value).startswith(f"{tmp_path}/{said}")
    assert [place.passes(last) for last in (1, 2, 3)] == [False, False, True]
    with pytest.raises(StartError) as told:
        Daemon(place.daemon.config, log=Log(file=io.StringIO())).check()
    assert str(told.value) == str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    """A file that is not there is told by its name."""
    place = Place(tmp_path)
    place.first.unlink()
    with pytest.raises(StartError, match=f"^{tmp_path}/first: No such file or directory$"):
        place.daemon.check()


def test_restore_on_trial(tmp_path: Path) -> None:
    """Rules that are only tried may name the sets too."""
    place = Place(tmp_path)
    place.daemon.check()
    place.daemon.rulebook.restore(4, RULES, name="-", noflush=False, counters=False, test=True)
    with pytest.raises(RulesError, match="set `worse' does not exist"):
        place.daemon.rulebook.restore(
            4, RULES.replace("bad src", "worse src"), name="-", noflush=False, counters=False, test=True
        )


@live_test
def test_live(tmp_path: Path) -> None:
    """Hosts of a set are kept out; after SIGHUP those of the changed set; a broken one changes nothing; and a command
    may name them."""
    rules = "*filter\n:INPUT ACCEPT\n-A INPUT -m set --match-set bad src -j DROP\nCOMMIT\n"
    said = script(
        tmp_path,
        "ip addr add 127.0.0.2 dev lo\n"
        'from() { ping -c1 -W"$2" -I 127.0.0.$1 127.0.0.1 >/dev/null && echo $1 passes || echo $1 closed; }\n'
        "printf 'create bad hash:ip\\nadd bad 127.0.0.2\\n' >sets; start --rules rules --sets sets\n"
        "from 1 20; from 2 1; printf 'create bad hash:ip\\nadd bad 127.0.0.1\\n' >sets; kill -HUP $daemon\n"
        "logged event=reloaded >/dev/null; from 2 1; fastfw iptables -D INPUT 1; from 2 20\n"
        "echo nonsense >sets; fastfw reload; fastfw iptables -A INPUT -m set --match-set bad dst -j DROP; echo $?\n"
        "fastfw iptables -A INPUT -m set --match-set worse dst -j DROP; echo $?; from 1 1\n"
        "grep reload_failed log; stop",
        rules,
    )
    assert "1 passes\n2 closed\n2 closed\n2 passes\n" in said
    assert "/sets:1:1: " in said
    assert "\n0\n" in said
    assert "1 closed\n" in said
    assert "event=reload_failed" in said
