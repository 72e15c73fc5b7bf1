"""Sets in an engine: what packets ask and change there, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.traffic import packets

import fastfw
from fastfw.core.engine import LINK
from fastfw.core.setstore import STORED, SetStore
from fastfw.sets import Element, IpSet, SetError, Sets
from fastfw.sets.types import TYPES

ONE, TWO, SERVER = (bytes([10, side, 0, last]) for side, last in ((1, 1), (1, 2), (2, 1)))
SECOND = 1_000_000_000


def rules(*lines: str, table: str = "filter") -> fastfw.Ruleset:
    """A table of rules in FORWARD."""
    return fastfw.Ruleset.parse("\n".join([f"*{table}", *(f"-A FORWARD {line}" for line in lines), "COMMIT", ""]))


def asked(engine: fastfw.Engine, packet: bytes, now: int = 0) -> str:
    """The verdict on a packet."""
    return engine.decide(packet, iif="eth0", oif="eth1", now=now).verdict


def udp(source: bytes, sport: int = 1000, dport: int = 53, target: bytes = SERVER) -> bytes:
    """A datagram."""
    return packets.udp_packet(source, target, sport, dport, b"x")


DOCUMENTED = {
    "hash:net,net": ("src,dst", "10.1.0.0/24,10.2.0.0/16", udp(ONE), udp(SERVER, target=ONE)),
    "hash:net,port,net": ("src,dst,dst", "10.1.0.0/24,udp:53,0.0.0.0/0", udp(ONE), udp(ONE, dport=54)),
    "hash:ip,mark": ("src,src", "10.1.0.1,0x0", udp(ONE), udp(TWO)),
}


@pytest.mark.parametrize("type_name", DOCUMENTED)
def test_types_that_few_kernels_have_are_asked_by_every_part(type_name: str) -> None:
    """A packet whose parts are an element's is in the set, another is not."""
    sides, element, inside, outside = DOCUMENTED[type_name]
    engine = fastfw.Engine(
        rules(f"-m set --match-set s {sides} -j DROP"), sets=f"create s {type_name}\nadd s {element}\n"
    )
    assert (asked(engine, inside), asked(engine, outside)) == ("DROP", "ACCEPT")


def test_marks_are_compared_under_the_sets_mask() -> None:
    """hash:ip,mark knows of a packet's mark what its markmask leaves."""
    text = "create s hash:ip,mark markmask 0xff00\nadd s 10.1.0.1,0x1200\n"
    table = "*mangle\n-A PREROUTING -p udp --dport 53 -j MARK --set-mark 0x12ab\nCOMMIT\n"
    table += rules("-m set --match-set s src,src -j DROP").save()
    engine = fastfw.Engine(fastfw.Ruleset.parse(table), sets=text)
    assert asked(engine, udp(ONE)) == "DROP"
    assert asked(engine, udp(ONE, dport=54)) == "ACCEPT"


def frame(source: str, target: str = "02:00:00:00:00:02") -> np.ndarray:
    """What a frame says of its packet."""
    link = np.zeros(1, LINK)
    link["source"], link["target"] = (list(bytes.fromhex(text.replace(":", ""))) for text in (source, target))
    link["known"] = 3
    return link


@pytest.mark.parametrize(
    ("type_name", "shape", "sides", "element"),
    [
        ("hash:mac", "", "src", "02:00:00:00:00:01"),
        ("hash:mac", "", "dst", "02:00:00:00:00:02"),
        ("hash:ip,mac", "", "src,src", "10.1.0.1,02:00:00:00:00:01"),
        ("hash:ip,mac", "", "dst,dst", "10.2.0.1,02:00:00:00:00:02"),
        ("bitmap:ip,mac", " range 10.1.0.0/24", "src,src", "10.1.0.1,02:00:00:00:00:01"),
    ],
)
def test_hardware_addresses_are_the_frames(type_name: str, shape: str, sides: str, element: str) -> None:
    """A packet that came in the element's frame is in the set, one of another or of no frame is not."""
    engine = fastfw.Engine(
        rules(f"-m set --match-set s {sides} -j DROP"), sets=f"create s {type_name}{shape}\nadd s {element}\n"
    )
    data = udp(ONE)
    told = []
    for link in (frame("02:00:00:00:00:01"), frame("02:00:00:00:00:09", "02:00:00:00:00:08"), None):
        told.append(int(engine.process(data, [0], [len(data)], [0], link=link)["verdict"][0]))
    assert told == [2, 1, 1]


def test_an_address_without_its_mac_learns_it_from_a_packet() -> None:
    """bitmap:ip,mac completes an element by the first packet that asks for it; its time begins then."""
    text = "create s bitmap:ip,mac range 10.1.0.0/24 timeout 0\nadd s 10.1.0.1 timeout 10\n"
    engine = fastfw.Engine(rules("-m set --match-set s src,src -j DROP"), sets=text)
    data = udp(ONE)

    def verdict(source: str, seconds: int) -> int:
        link = frame(source)
        return int(engine.process(data, [0], [len(data)], [seconds * SECOND], link=link)["verdict"][0])

    assert "add s 10.1.0.1 timeout 10\n" in engine.sets.save()
    assert verdict("02:00:00:00:00:01", 100) == 2
    assert verdict("02:00:00:00:00:09", 101) == 1
    assert "add s 10.1.0.1,02:00:00:00:00:01 timeout 9\n" in engine.sets.save()
    assert verdict("02:00:00:00:00:01", 109) == 2
    assert verdict("02:00:00:00:00:01", 111) == 1


def test_a_full_set_with_forceadd_gives_up_an_element() -> None:
    """It never has more than maxelem, and the new one is there."""
    engine = fastfw.Engine(rules("-j SET --add-set s src"), sets="create s hash:ip maxelem 3 forceadd\n")
    for last in range(1, 200):
        asked(engine, udp(bytes([10, 1, 0, last])))
        there = engine.sets["s"].elements
        assert len(there) == min(last, 3)
        assert Element(first=int.from_bytes(bytes([10, 1, 0, last]), "big")) in there


def test_a_set_without_room_stays_empty() -> None:
    """One that may hold nothing has nothing to give up."""
    engine = fastfw.Engine(rules("-j SET --add-set s src"), sets="create s hash:ip maxelem 0 forceadd\n")
    assert asked(engine, udp(ONE)) == "ACCEPT"
    assert len(engine.sets["s"].elements) == 0


def test_a_pair_is_added_as_its_frame_says() -> None:
    """bitmap:ip,mac keeps the address with the MAC address that the packet came with; one that is not there is not
    asked for its MAC."""
    engine = fastfw.Engine(
        rules("-m set --match-set s src,src -j DROP", "-j SET --add-set s src,src"),
        sets="create s bitmap:ip,mac range 10.1.0.0/24\n",
    )
    told = []
    for source, mac in ((ONE, 1), (ONE, 1), (ONE, 2), (TWO, 2), (TWO, 2)):
        data = udp(source)
        link = frame(f"02:00:00:00:00:0{mac}")
        told.append(int(engine.process(data, [0], [len(data)], [0], link=link)["verdict"][0]))
    assert told == [1, 2, 1, 1, 2]
    saved = engine.sets.save()
    assert "add s 10.1.0.1,02:00:00:00:00:01\n" in saved
    assert "add s 10.1.0.2,02:00:00:00:00:02\n" in saved


def test_a_list_names_a_set_for_some_time() -> None:
    """The time of a list's member begins with the first packet."""
    text = "create a hash:ip\nadd a 10.1.0.1\ncreate l list:set timeout 0\nadd l a timeout 10\n"
    engine = fastfw.Engine(rules("-m set --match-set l src -j DROP"), sets=text)
    assert [asked(engine, udp(ONE), seconds * SECOND) for seconds in (100, 109, 111)] == ["DROP", "DROP", "ACCEPT"]


def test_ports_of_protocols() -> None:
    """SCTP has ports too; a header too short for its ports, and IPv4's protocol 0, are in no set of ports."""
    text = "create s hash:ip,port\nadd s 10.1.0.1,sctp:7\n"
    engine = fastfw.Engine(rules("-m set --match-set s src,src -j DROP"), sets=text)
    chunks = packets.chunk(1, body=bytes(16))
    for size, verdict in ((None, "DROP"), (11, "ACCEPT")):
        packet = packets.ipv4(ONE, SERVER, 132, packets.sctp(7, 8, 0, chunks)[:size])
        assert asked(engine, packet) == verdict
    assert asked(engine, packets.ipv4(ONE, SERVER, 0, bytes(8))) == "ACCEPT"
    one, two = packets.address("fd00::1"), packets.address("fd00::2")
    head = (packets.FRAGMENT, packets.fragment_header(8, True, 1))
    whole, lone = packets.ipv6(one, two, 50, bytes(16)), packets.ipv6(one, two, 50, bytes(13), extensions=[head])
    six = rules("-m set --match-set s src,src -j DROP").save()
    text = "create s hash:ip,port family inet6\nadd s fd00::1,esp:0\n"
    engine = fastfw.Engine(rules6=fastfw.Ruleset.parse(six, family=6), sets=text)
    assert asked(engine, lone) == "ACCEPT"
    assert asked(engine, whole) == "DROP"


def test_a_store_checks_what_it_is_given() -> None:
    """A set's number and the size of what is kept of its elements are checked before memory is written."""
    store = SetStore(1, [])
    shape = (0, 4, 1, 9, 0, bytes(16), 0, 0, 0)
    for number, mask in ((1, bytes(16)), (-1, bytes(16)), (0, bytes(15))):
        with pytest.raises(ValueError, match="mask of 16 bytes"):
            store.shape(number, *shape[:5], mask, *shape[6:])
    for number, size in ((1, STORED.itemsize), (-1, STORED.itemsize), (0, STORED.itemsize - 1)):
        with pytest.raises(ValueError, match="records of STORED"):
            store.fill(number, np.zeros((1, size), np.uint8))
    for number in (1, -1):
        with pytest.raises(IndexError, match="no set"):
            store.content(number)


REFUSED = {
    "-m set --match-set other src": "set `other' does not exist",
    "-m set --match-set six src": "set `six' is of IPv6",
    "-j SET --add-set other src": "set `other' does not exist",
}


@pytest.mark.parametrize("rule", REFUSED)
def test_rules_of_sets_that_are_not_there_are_refused(rule: str) -> None:
    """With line and column, as iptables refuses them."""
    with pytest.raises(fastfw.RulesetError, match=REFUSED[rule]) as found:
        fastfw.Engine(rules(rule), sets="create six hash:ip family inet6\n")
    assert (found.value.line, found.value.column) == (2, 1)


def test_lists_of_lists_and_of_nothing_are_refused() -> None:
    """However they were made: a circle would be walked for ever."""
    for name in ("l", "nothing"):
        sets = Sets()
        sets.by_name["l"] = one = IpSet("l", TYPES["list:set"])
        one.elements.update(Sets.parse("create a hash:ip\ncreate l list:set\nadd l a\n")["l"].elements)
        one.elements = {Element(set_name=name): kept for kept in one.elements.values()}
        with pytest.raises(SetError, match=name):
            fastfw.Engine(sets=sets)


def test_an_engine_keeps_a_copy() -> None:
    """What packets change is the engine's; both families' rulesets see it."""
    sets = Sets.parse("create s hash:ip counters\n")
    engine = fastfw.Engine(rules("-j SET --add-set s src"), sets=sets)
    asked(engine, udp(ONE))
    asked(engine, udp(ONE))
    engine.replace(rules("-m set --match-set s src -j DROP"))
    assert asked(engine, udp(ONE)) == "DROP"
    assert "add s 10.1.0.1 packets 2 bytes 58" in engine.sets.save()
    assert not sets["s"].elements


def test_sets_are_replaced() -> None:
    """New sets are asked from then on by the rules in force, whose counters go on; where they cannot be, all stays."""
    engine = fastfw.Engine(rules("-m set --match-set s src -j DROP"), sets="create s hash:ip\nadd s 10.1.0.1\n")
    assert (asked(engine, udp(ONE)), asked(engine, udp(TWO))) == ("DROP", "ACCEPT")
    engine.replace(sets="create t hash:ip\ncreate s hash:ip\nadd s 10.1.0.2\n")
    assert (asked(engine, udp(ONE)), asked(engine, udp(TWO, 2))) == ("ACCEPT", "DROP")
    with pytest.raises(fastfw.RulesetError, match="set `s' does not exist"):
        engine.replace(sets="create t hash:ip\n")
    with pytest.raises(SetError, match="1:10: "):
        engine.replace(sets="create s nothing\n")
    assert asked(engine, udp(TWO, 3)) == "DROP"
    assert "[3:87] -A FORWARD" in engine.counters_text(4)
    engine.replace(rules("-m set --match-set t src -j DROP"), sets="create t hash:ip\nadd t 10.1.0.1\n")
    assert (asked(engine, udp(ONE, 4)), asked(engine, udp(TWO, 4))) == ("DROP", "ACCEPT")


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """The command line's answer."""
    return subprocess.run([sys.executable, "-m", "fastfw", *words], capture_output=True, text=True, check=False)


def test_the_command_line_takes_sets(tmp_path: Path) -> None:
    """--sets gives them to the rules; one line tells where a file is wrong, with status 2."""
    (tmp_path / "sets").write_text("create clients hash:net\nadd clients 0.0.0.0/1\nadd clients 128.0.0.0/1\n")
    (tmp_path / "wrong").write_text("create clients hash:net\nadd clients 0.0.0.0/33\n")
    text = "*filter\n:FORWARD DROP\n-A FORWARD -m set --match-set clients src -j ACCEPT\nCOMMIT\n"
    (tmp_path / "rules").write_text(text)
    replay = ("replay", "examples/gateway.pcap", "--rules", str(tmp_path / "rules"))
    good = command(*replay, "--sets", str(tmp_path / "sets"), "--json")
    assert good.returncode == 0, good.stderr
    explained = command(
        "explain", "examples/gateway.pcap", "--packet", "2", *replay[2:], "--sets", str(tmp_path / "sets")
    )
    assert explained.returncode == 0, explained.stderr
    assert "--match-set clients src" in explained.stdout
    wrong = command(*replay, "--sets", str(tmp_path / "wrong"))
    assert wrong.returncode == 2
    assert wrong.stderr.strip() == f"fastfw: {tmp_path}/wrong:2:13: `33' is not a number from 0 to 32"
    without = command(*replay)
    assert without.returncode == 2
    assert "rules:3:1: set `clients' does not exist" in without.stderr
