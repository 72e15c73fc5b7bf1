"""What LOG, NFLOG and TRACE rules tell of is there to be read, in the kernel's words, and costs nothing unread."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.kernel.oracle import pack
from tests.traffic import packets as p
from tests.traffic.generate import generate

import fastfw
from fastfw.logtext import packet_text

A, B = p.address("10.1.0.1"), p.address("10.2.0.1")
SYN, ACK = 2, 16
RULES = """\
*raw
-A PREROUTING -p icmp -j TRACE
COMMIT
*filter
:own - [0:0]
-A FORWARD -p tcp -j LOG --log-prefix "seen " --log-level info --log-tcp-sequence
-A FORWARD -p udp -j NFLOG --nflog-group 5 --nflog-prefix x --nflog-threshold 9 --nflog-size 30
-A FORWARD -j own
-A own -s 1.2.3.4
COMMIT
"""


def engine(**more: int) -> fastfw.Engine:
    made = fastfw.Engine(fastfw.Ruleset.parse(RULES))
    made.watch_logs(**more)
    return made


def test_a_logged_packet_is_told_of_with_its_rule() -> None:
    """LOG's record has rule, prefix, level and options, and its text is what the kernel would write."""
    fw = engine()
    fw.decide(p.tcp_packet(A, B, 40000, 80, SYN, 7), iif="eth0", oif="eth1", now=5)
    (record,), lost = fw.logs()
    assert lost == 0
    assert (record.time_ns, record.kind, record.rule, record.level) == (5, "LOG", "filter:FORWARD:rule:1", 6)
    assert record.options == ("tcp-sequence",)
    assert str(record) == (
        "seen IN=eth0 OUT=eth1 SRC=10.1.0.1 DST=10.2.0.1 LEN=40 TOS=0x00 PREC=0x00 TTL=63 ID=0 PROTO=TCP SPT=40000 "
        "DPT=80 SEQ=7 ACK=0 WINDOW=65535 RES=0x00 SYN URGP=0 "
    )
    told = json.loads(json.dumps(record.as_dict()))
    assert (told["source"], told["destination"], told["state"]) == ("10.1.0.1", "10.2.0.1", "NEW")
    assert fw.logs() == ([], 0)


def test_a_packet_for_user_space_names_its_group() -> None:
    """NFLOG's record has its group, threshold, prefix and the size it asks for."""
    fw = engine()
    fw.decide(p.udp_packet(A, B, 40000, 53, b"x"), now=5)
    (record,), _ = fw.logs()
    assert (record.kind, record.group, record.threshold, record.prefix, record.size) == ("NFLOG", 5, 9, "x", 30)


def test_a_traced_packet_tells_of_every_rule_it_meets() -> None:
    """From the TRACE rule on, rules, returns and policies that a packet meets are told of in order."""
    fw = engine()
    fw.decide(p.echo(A, B, 1, 1), now=5)
    assert [record.rule for record in fw.logs()[0]] == [
        "raw:PREROUTING:policy:2",
        "filter:FORWARD:rule:3",
        "filter:own:return:2",
        "filter:FORWARD:policy:4",
    ]


def test_the_oldest_are_forgotten_and_counted() -> None:
    """A ring of three keeps the last three packets and says how many it lost."""
    fw = engine(room=3)
    for seq in range(10):
        fw.decide(p.tcp_packet(A, B, 40000 + seq, 80, SYN), now=seq)
    records, lost = fw.logs()
    assert ([record.time_ns for record in records], lost) == ([7, 8, 9], 7)


def test_a_record_names_the_ruleset_it_was_made_by() -> None:
    """Records that are read after a new ruleset came into force still name the rules of the old one."""
    fw = engine()
    fw.decide(p.tcp_packet(A, B, 40000, 80, SYN), now=1)
    fw.replace(rules4=fastfw.Ruleset.parse("*filter\n-A FORWARD\n-A FORWARD -j LOG --log-prefix new\nCOMMIT\n"))
    fw.decide(p.tcp_packet(A, B, 40001, 80, SYN), now=2)
    assert [(record.rule, record.prefix) for record in fw.logs()[0]] == [
        ("filter:FORWARD:rule:1", "seen "),
        ("filter:FORWARD:rule:2", "new"),
    ]


def test_records_of_old_rulesets_are_no_more_than_there_is_room_for() -> None:
    """What waits across replacements is bounded like what waits behind one ruleset; with no room nothing is noted."""
    fw = engine(room=3)
    for number in range(4):
        fw.decide(p.tcp_packet(A, B, 40000 + number, 80, SYN), now=2 * number)
        fw.decide(p.tcp_packet(A, B, 41000 + number, 80, SYN), now=2 * number + 1)
        fw.replace(rules4=fastfw.Ruleset.parse(RULES))
    records, lost = fw.logs()
    assert ([record.time_ns for record in records], lost) == ([6, 7], 6)
    fw.watch_logs(room=0)
    fw.decide(p.tcp_packet(A, B, 50000, 80, SYN), now=9)
    assert fw.logs() == ([], 0)


def test_every_packet_is_told_of_and_counters_stay_the_same() -> None:
    """Packets of established connections are logged each; what rules count does not depend on who reads."""
    packets = generate(77, 3_000)
    times = np.arange(len(packets)) * 1_000_000
    quiet, read = fastfw.Engine(fastfw.Ruleset.parse(RULES)), engine(room=100_000)
    for fw in (quiet, read):
        fw.process(*pack(packets), times, iif="eth0", oif="eth1")
    counters = [fw.ruleset().save(counters=True) for fw in (quiet, read)]  # type: ignore[union-attr]
    assert counters[0] == counters[1]
    rules = read.ruleset()
    assert rules is not None
    told = [record.rule for record in read.logs()[0] if record.kind == "LOG"]
    assert len(told) == rules.tables["filter"].chains["FORWARD"].rules[0].packets > 100


def test_what_cannot_be_kept_is_refused() -> None:
    """Sizes of the ring are checked."""
    with pytest.raises(ValueError, match="room"):
        fastfw.Engine().watch_logs(room=-1)
    with pytest.raises(ValueError, match="snap"):
        fastfw.Engine().watch_logs(snap=1 << 20)


@pytest.mark.parametrize("seed", range(4))
def test_any_packet_has_a_text(seed: int) -> None:
    """Whatever a packet holds, cut anywhere behind its addresses, it can be put in words."""
    for packet in generate(seed, 500, anomalies=0.8):
        for size in (20, 40, 41, 48, 60, len(packet)):
            text = packet_text(packet[: max(size, 20)], len(packet), ("tcp-options", "ip-options", "tcp-sequence"))
            assert text.startswith("SRC=") or text == "TRUNCATED "
