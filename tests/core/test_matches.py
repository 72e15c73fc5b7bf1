"""Matches that remember, that ask the clock, or that ask of the connection, each on a few packets."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from tests.traffic import packets as p

import fastfw
from fastfw.core.amounts import Kept

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
A, B = p.address("10.1.0.1"), p.address("10.2.0.1")
THURSDAY = 0
"""1970 began on one."""


def engine(*rules: str, settings: dict[str, int] | None = None, **more: object) -> fastfw.Engine:
    """Rules of FORWARD, behind whose table everything is dropped."""
    text = "*filter\n:FORWARD DROP [0:0]\n" + "".join(f"-A FORWARD {rule}\n" for rule in rules) + "COMMIT\n"
    return fastfw.Engine(fastfw.Ruleset.parse(text), settings=settings, **more)  # type: ignore[arg-type]


def source(number: int) -> bytes:
    return p.udp_packet(bytes([10, 1, number >> 8, number & 255]), B, 1000, 53)


def accepted(fw: fastfw.Engine, packet: bytes, now: int = SECOND) -> bool:
    return fw.decide(packet, now=now).verdict == "ACCEPT"


def test_random() -> None:
    """Of 20 000 packets a quarter is met, give or take six standard deviations, and not in a row."""
    fw = engine("-m statistic --mode random --probability 0.25 -j ACCEPT")
    met = [accepted(fw, source(number)) for number in range(20_000)]
    assert abs(sum(met) - 5000) < 6 * np.sqrt(20_000 * 0.25 * 0.75)
    assert 0.15 < np.mean([one for before, one in pairwise(met) if before]) < 0.35


def test_recent_forgets_who_was_there_longest_ago() -> None:
    """A list holds 100 sources; the next takes the place of the one that was heard of longest ago."""
    fw = engine(
        "-p udp --dport 53 -m recent --name seen --set", "-p udp --dport 54 -m recent --name seen --rcheck -j ACCEPT"
    )
    for number in range(150):
        fw.decide(source(number), now=SECOND)

    def known(number: int) -> bool:
        return accepted(fw, p.udp_packet(bytes([10, 1, 0, number]), B, 1000, 54))

    assert [number for number in range(150) if known(number)] == list(range(50, 150))


def test_recent_counts_what_is_new_enough() -> None:
    """Of what a list has noted of a source, only what is so many seconds old at most counts towards the hits."""
    fw = engine(
        "-p udp --dport 53 -m recent --name seen --set",
        "-p udp --dport 54 -m recent --name seen --rcheck --seconds 10 --hitcount 2 -j ACCEPT",
    )
    asks = p.udp_packet(source(1)[12:16], B, 1000, 54)
    fw.decide(source(1), now=SECOND)
    fw.decide(source(1), now=6 * SECOND)
    assert accepted(fw, asks, 8 * SECOND)
    assert not accepted(fw, asks, 14 * SECOND)
    assert not accepted(fw, asks, 60 * SECOND)


def test_recent_reaps() -> None:
    """With --reap a look at the list takes out who was heard of longest ago, if that was before the seconds asked."""
    fw = engine(
        "-p udp --dport 53 -m recent --name seen --set",
        "-p udp --dport 54 -m recent --name seen --update --seconds 10 --reap -j ACCEPT",
        "-p udp --dport 55 -m recent --name seen --rcheck -j ACCEPT",
    )
    fw.decide(source(1), now=SECOND)
    fw.decide(source(2), now=30 * SECOND)
    there = p.udp_packet(source(1)[12:16], B, 1000, 55)
    assert accepted(fw, there, 31 * SECOND)
    assert accepted(fw, p.udp_packet(source(2)[12:16], B, 1000, 54), 31 * SECOND)
    assert not accepted(fw, there, 32 * SECOND)


@pytest.mark.parametrize(
    ("match", "hour", "meets"),
    [
        ("--timestart 08:00 --timestop 17:00", 9, True),
        ("--timestart 08:00 --timestop 17:00", 18, False),
        ("--timestart 22:00 --timestop 06:00", 23, True),
        ("--timestart 22:00 --timestop 06:00", 5, True),
        ("--timestart 22:00 --timestop 06:00", 12, False),
        # past midnight it is Friday, unless the span belongs to the day that it began on
        ("--timestart 22:00 --timestop 06:00 --weekdays Thu", 29, False),
        ("--timestart 22:00 --timestop 06:00 --weekdays Thu --contiguous", 29, True),
        ("--timestart 22:00 --timestop 06:00 --weekdays Thu --contiguous", 5, False),
        ("--weekdays Thu", 9, True),
        ("--weekdays Fri", 9, False),
        ("--monthdays 1", 9, True),
        ("--monthdays 2,3", 9, False),
        ("--monthdays 2,3", 57, True),
        ("--datestart 1970-01-01T10:00:00", 9, False),
        ("--datestop 1970-01-01T08:00:00", 9, False),
        ("--datestart 1970-01-01T08:00:00 --datestop 1970-01-01T10:00:00", 9, True),
    ],
)
def test_time(match: str, hour: int, meets: bool) -> None:
    """Hours within a day and across midnight, days of the week and the month, first and last moment."""
    assert accepted(engine(f"-m time {match} -j ACCEPT"), source(1), THURSDAY + hour * HOUR) is meets


@pytest.mark.parametrize(
    ("mode", "other", "alike"),
    [
        ("srcip", p.udp_packet(B, B, 1000, 53), p.udp_packet(A, A, 9, 9)),
        ("dstip", p.udp_packet(A, A, 1000, 53), p.udp_packet(B, B, 9, 9)),
        ("srcport", p.udp_packet(A, B, 1001, 53), p.udp_packet(B, A, 1000, 54)),
        ("dstport", p.udp_packet(A, B, 1000, 54), p.udp_packet(B, A, 1001, 53)),
        ("srcip,dstport", p.udp_packet(A, B, 1000, 54), p.udp_packet(A, A, 1001, 53)),
    ],
)
def test_hashlimit_groups(mode: str, other: bytes, alike: bytes) -> None:
    """One packet a minute of each group: the second of the same is over the limit, one of another group is not."""
    fw = engine(
        f"-m hashlimit --hashlimit-upto 1/min --hashlimit-burst 1 --hashlimit-mode {mode} --hashlimit-name h -j ACCEPT"
    )
    assert [accepted(fw, each) for each in (p.udp_packet(A, B, 1000, 53), alike, other, other)] == [
        True,
        False,
        True,
        False,
    ]


def test_hashlimit_of_what_has_no_ports() -> None:
    """Where ports make the group, a protocol without any is one group, ESP's and AH's first bytes are taken for them,
    and what is too short to have them is dropped."""
    fw = engine(
        "-m hashlimit --hashlimit-upto 1/min --hashlimit-burst 1 --hashlimit-mode srcport --hashlimit-name h -j ACCEPT"
    )
    plain = p.ipv4(A, B, 89, bytes(20))
    assert [accepted(fw, each) for each in (plain, plain)] == [True, False]
    for protocol, at in ((50, 0), (51, 4)):
        packets = [p.ipv4(A, B, protocol, bytes(at) + bytes([protocol, number]) + bytes(20)) for number in (1, 2, 1)]
        assert [accepted(fw, each) for each in packets] == [True, True, False]
    assert not accepted(fw, p.ipv4(A, B, 50, b"\1\2\3"))


def test_helper_of_the_connection_that_announced() -> None:
    """-m helper meets packets of a connection that a helper announced, by its name; no other's, and not the one that
    carries the helper."""
    fw = fastfw.Engine(
        fastfw.Ruleset.parse(
            "*raw\n-A PREROUTING -p udp --dport 69 -j CT --helper tftp\nCOMMIT\n*filter\n:FORWARD DROP [0:0]\n"
            "-A FORWARD -m helper --helper tftp -j ACCEPT\n-A FORWARD -m helper --helper ftp -j ACCEPT\n"
            "-A FORWARD -p udp --dport 69 -j ACCEPT\nCOMMIT\n"
        ),
        helpers=["ftp"],
    )
    asked = fw.decide(p.udp_packet(A, B, 2000, 69, b"\0\1f\0octet\0"), now=SECOND)
    assert (asked.verdict, asked.rule) == ("ACCEPT", "filter:FORWARD:rule:3")
    data = fw.decide(p.udp_packet(B, A, 3000, 2000, b"\0\3\0\1x"), now=SECOND)
    assert (data.verdict, data.state, data.rule) == ("ACCEPT", "RELATED", "filter:FORWARD:rule:1")
    assert not accepted(fw, p.udp_packet(B, A, 3000, 2001, b"x"))


def test_connmark_is_restored() -> None:
    """What a connection's mark was set to, its later packets carry once it is restored, also by the remembered path."""
    fw = fastfw.Engine(
        fastfw.Ruleset.parse(
            "*mangle\n-A PREROUTING -m conntrack --ctstate NEW -j CONNMARK --set-mark 7\n"
            "-A PREROUTING -j CONNMARK --restore-mark\nCOMMIT\n*filter\n:FORWARD DROP [0:0]\n"
            "-A FORWARD -m mark --mark 7 -j ACCEPT\nCOMMIT\n"
        )
    )
    for packet in (
        p.udp_packet(A, B, 1, 2),
        p.udp_packet(B, A, 2, 1),
        p.udp_packet(A, B, 1, 2),
        p.udp_packet(B, A, 2, 1),
    ):
        decided = fw.decide(packet, now=SECOND)
        assert (decided.verdict, decided.mark) == ("ACCEPT", 7)
    assert [each.mark for each in fw.connections()] == [7]


def test_connlimit_of_every_protocol() -> None:
    """Two connections a source and no more, of protocols with ports, of echoes, and of those that have neither; what is
    too short to name one is dropped."""
    makes = {
        "tcp": lambda n: p.tcp_packet(A, B, 1000 + n, 80, p.SYN, 1),
        "udp": lambda n: p.udp_packet(A, B, 1000 + n, 53),
        "icmp": lambda n: p.echo(A, B, n, 1),
        "others": lambda n: p.ipv4(A, bytes([10, 2, 0, n]), 89, bytes(20)),
    }
    for name, make in makes.items():
        fw = engine("-m connlimit --connlimit-upto 2 --connlimit-mask 32 -j ACCEPT")
        assert [accepted(fw, make(n)) for n in range(1, 5)] == [True, True, False, False], name
    raw = "*raw\n-A PREROUTING -j CT --notrack\n"
    fw = fastfw.Engine(
        fastfw.Ruleset.parse(
            raw + "COMMIT\n*filter\n:FORWARD DROP [0:0]\n-A FORWARD -m connlimit --connlimit-upto 2 -j ACCEPT\nCOMMIT\n"
        )
    )
    assert not accepted(fw, p.ipv4(A, B, 6, b"\0\1\0"))
    assert accepted(fw, makes["icmp"](1))
    assert accepted(fw, makes["others"](1))


RAW = "*raw\n-A PREROUTING -i eth0 -j CT --zone 3\n-A PREROUTING -m connlimit --connlimit-above 1 -j DROP\nCOMMIT\n"


def test_connlimit_before_connections_are_known() -> None:
    """In raw the connection that a packet would begin is counted, by its addresses where it has no ports, in the zone
    that it was given there."""
    fw = fastfw.Engine(fastfw.Ruleset.parse(RAW))
    asked = [p.ipv4(A, bytes([10, 2, 0, number]), 89, bytes(20)) for number in (1, 2)]
    for name in ("eth0", "eth1"):
        assert [fw.decide(each, iif=name, now=SECOND).verdict for each in asked] == ["ACCEPT", "DROP"]
    assert fw.decide(p.ip(A, B, p.GRE, p.gre(1, b"x", version=1, protocol=0x0800)), now=SECOND).verdict == "DROP"


def test_connlimit_forgets_the_dead_a_share_at_a_time() -> None:
    """When many connections of a source have died, those that live are counted right nevertheless, and none waits for
    all of the dead to be cleared away."""
    fw = fastfw.Engine(
        fastfw.Ruleset.parse("*mangle\n-A FORWARD -m connlimit --connlimit-above 2 -j MARK --set-mark 1\nCOMMIT\n")
    )

    def mark(packet: bytes, seconds: int) -> int:
        return fw.decide(packet, now=seconds * SECOND).mark

    lives = p.udp_packet(A, B, 999, 53), p.udp_packet(B, A, 53, 999)
    assert sum(mark(p.udp_packet(A, B, port, 53), 1) for port in range(1, 101)) == 98
    for second in (1, 2, 5, 20):
        for packet in lives:
            mark(packet, second)
    assert [each.assured for each in fw.connections() if each.source_port == 999] == [True]
    assert mark(lives[0], 45) == 0
    assert [mark(p.udp_packet(A, B, port, 53), 45) for port in (2001, 2002, 2003)] == [0, 1, 1]


def test_cluster_of_an_announced_connection() -> None:
    """The node of what a connection announced is that of the connection: by who began it, not by who answers it."""
    rules = "--cluster-total-nodes 2 --cluster-local-node 1 --cluster-hash-seed 0xdeadbeef -j MARK --set-mark 1"
    fw = fastfw.Engine(fastfw.Ruleset.parse(f"*mangle\n-A FORWARD -m cluster {rules}\nCOMMIT\n"), helpers=["tftp"])
    differ = 0
    for number in range(1, 33):
        one, other = bytes([10, 1, 0, number]), bytes([10, 2, 0, number])
        asked = fw.decide(p.udp_packet(one, other, 2000, 69, b"\0\1f\0octet\0"), now=SECOND)
        data = fw.decide(p.udp_packet(other, one, 3000, 2000, b"\0\3\0\1x"), now=SECOND)
        alone = fw.decide(p.udp_packet(other, one, 1, 2), now=SECOND)
        assert (data.state, data.mark) == ("RELATED", asked.mark)
        differ += alone.mark != asked.mark
    assert 4 < differ < 28


def test_a_remembered_way_sets_connmarks() -> None:
    """A way is remembered for a connection's mark and sets it anew; with another mark another way is taken."""
    fw = fastfw.Engine(
        fastfw.Ruleset.parse(
            "*mangle\n-A FORWARD -m connmark --mark 0 -m conntrack --ctdir ORIGINAL -j CONNMARK --set-mark 1\n"
            "-A FORWARD -m conntrack --ctdir REPLY -j CONNMARK --set-mark 0\n"
            "-A FORWARD -m connmark --mark 1 -j MARK --set-mark 5\nCOMMIT\n"
        )
    )
    there, back = p.udp_packet(A, B, 1, 2), p.udp_packet(B, A, 2, 1)
    packets = there, back, there, back, there, there, there, back
    for packet, connmark in zip(packets, (1, 0, 1, 0, 1, 1, 1, 0), strict=True):
        assert fw.decide(packet, now=SECOND).mark == (5 if connmark else 0)
        assert [each.mark for each in fw.connections()] == [connmark]
    rules = fw.ruleset(4)
    assert rules is not None
    assert [rule.packets for rule in rules.tables["mangle"].chains["FORWARD"].rules] == [3, 3, 5]


def test_what_is_kept_of_amounts_has_its_shape() -> None:
    """Rows of another width than the tables are made from are refused before they are read."""
    for rates, crowds in ((12, 3), (13, 2)):
        with pytest.raises(ValueError, match="rows of 13 words"):
            Kept(np.zeros((1, rates), np.uint64), np.zeros((1, crowds), np.uint64))
