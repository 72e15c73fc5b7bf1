"""Connections' labels, and targets that an engine keeps or takes as it was told."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

import fastfw
from fastfw.ruleset import RulesetNotice
from traffic.packets import ACK, FIN, RST, SYN, address, tcp_packet, udp_packet

HERE, THERE = address("10.1.0.1"), address("10.2.0.1")
ONE, OTHER = udp_packet(HERE, THERE, 1, 53, b"a"), udp_packet(HERE, THERE, 2, 53, b"a")
LABELS = """*filter
-A FORWARD -p udp -m udp --sport 1 -m connlabel --label 70 --set
-A FORWARD -m connlabel --label 70 -j DROP
COMMIT
"""


def rules(text: str, family: int = 4) -> fastfw.Ruleset:
    return fastfw.Ruleset.parse(text, family)


def test_labels_stay_with_their_connection(tmp_path: Path) -> None:
    """A label is set on the connection of the packet alone, outlives other rules, and is saved with the table; a
    connection that began while no rule asked for labels has none, and gets none."""
    text = LABELS.replace("DROP", "ACCEPT")
    fw = fastfw.Engine(rules4=rules(text))
    for packet in (ONE, OTHER):
        assert fw.decide(packet, now=10**9).verdict == "ACCEPT"
    fw.save_state(tmp_path / "state")
    fw.replace(rules4=rules("*filter\nCOMMIT\n"))
    late = udp_packet(HERE, THERE, 3, 53, b"a")
    fw.decide(late, now=2 * 10**9)
    fw.replace(rules4=rules(LABELS.replace("--sport 1", "--sport 1:3")))
    other = fastfw.Engine(rules4=rules(LABELS.replace("--sport 1 ", "--sport 9 ")))
    other.load_state(tmp_path / "state")
    assert [other.decide(packet, now=3 * 10**9).verdict for packet in (ONE, OTHER)] == ["DROP", "ACCEPT"]
    assert [fw.decide(packet, now=3 * 10**9).verdict for packet in (ONE, late)] == ["DROP", "ACCEPT"]


@pytest.mark.parametrize(
    ("table", "rule", "family", "said"),
    [
        ("mangle", "PREROUTING -j HMARK --hmark-tuple src --hmark-mod 9 --hmark-rnd 1", 4, "marks stay as they are"),
        ("mangle", "PREROUTING -j DNPT --src-pfx fd00:1::/64 --dst-pfx fd00:2::/64", 6, "addresses are not rewritten"),
        ("mangle", "POSTROUTING -j SNPT --src-pfx fd00:1::/64 --dst-pfx fd00:2::/64", 6, "addresses are not rewritten"),
        ("mangle", "PREROUTING -p udp -j TPROXY --on-port 9", 4, "is taken to find no socket, and drops"),
        ("filter", "FORWARD -p tcp -j SYNPROXY", 4, "answers nobody here"),
    ],
)
def test_what_is_not_carried_out_is_kept_and_told_once(table: str, rule: str, family: int, said: str) -> None:
    """Such a target is kept and written, and a warning names it and the first rule that has it."""
    made = rules(f"*{table}\n-A {rule}\n-A {rule}\nCOMMIT\n", family)
    with pytest.warns(RulesetNotice, match=said) as told:
        fw = fastfw.Engine(**{f"rules{family}": made})
    assert [warning.message.line for warning in told] == [2]  # type: ignore[union-attr]
    kept = fw.ruleset(family)
    assert kept is not None
    assert kept.save() == made.save()


def test_a_transparent_proxy_takes_what_it_is_said_to() -> None:
    """A socket that takes a packet marks and accepts it; without one it is dropped."""
    made = rules(
        "*mangle\n-A PREROUTING -p udp -j TPROXY --on-port 9 --tproxy-mark 5/7\n-A PREROUTING -j DROP\nCOMMIT\n"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        takes, not_ = (fastfw.Engine(rules4=made, assume={"TPROXY": holds}) for holds in (True, False))
    found = takes.decide(ONE)
    assert (found.verdict, found.mark) == ("ACCEPT", 5)
    assert not_.decide(ONE).verdict == "DROP"


@pytest.mark.filterwarnings("ignore::fastfw.RulesetNotice")
def test_a_proxy_of_handshakes_keeps_what_opens_and_acknowledges() -> None:
    """SYN and ACK alone go no further; all else does, and everything where the target is told to be left out."""
    made = rules("*filter\n-A FORWARD -p tcp -j SYNPROXY\nCOMMIT\n")
    fw, out = fastfw.Engine(rules4=made), fastfw.Engine(rules4=made, assume={"SYNPROXY": False})
    for flags, verdict in ((SYN, "DROP"), (ACK, "DROP"), (SYN | ACK, "ACCEPT"), (RST, "ACCEPT"), (FIN | ACK, "ACCEPT")):
        packet = tcp_packet(HERE, THERE, 1000, 80, flags, 1, 1)
        assert fw.decide(packet).verdict == verdict
        assert out.decide(packet).verdict == "ACCEPT"
    assert fw.decide(tcp_packet(HERE, THERE, 1000, 80, RST, 1, 1)[:-1] + b"x").verdict == "DROP"
