"""Each match beside the kernel's: rules that count, one for each way of asking, count the same packets and bytes."""

from __future__ import annotations

import ipaddress
import os
import time
import warnings
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.kernel.counted import counted_otherwise
from tests.kernel.oracle import IN_DEVICE, OUT_DEVICE, Oracle, missing, pack
from tests.kernel.test_counters import STANDARD
from tests.traffic import packets
from tests.traffic.generate import generate
from tests.traffic.questions import BOTH, ONLY4, ONLY6
from tests.traffic.rare import rare

import fastfw
from fastfw.core.terms import Hook, Verdict

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

NOISE = ("-m state --state NEW", "-m state ! --state INVALID", "-d 10.1.0.0/16", "-m length --length 0:60", "")


def asking(seed: int, family: int) -> str:
    """Every way of asking in random order, some beside another condition, in the tables before and after tracking."""
    random = Random(seed << 1 | (family == 6))
    asked = [*BOTH, *(ONLY4 if family == 4 else ONLY6)]
    text = []
    for table, chain in (("raw", "PREROUTING"), ("mangle", "FORWARD"), ("filter", "FORWARD")):
        random.shuffle(asked)
        text += [f"*{table}"]
        for words in asked:
            noise = random.choice(NOISE) if table != "raw" else ""
            if family == 6 and "10." in noise:
                noise = "-d 2001:db8::/32"
            pair = [noise, words]
            if not noise.startswith("-d") and words.startswith("-m"):
                random.shuffle(pair)
            text.append(f"-A {chain} {' '.join(part for part in pair if part)}")
        text.append("COMMIT")
    return "\n".join([*text, ""])


ATTEMPTS = 5
"""How often the kernel is asked, as long as its clock disturbs."""


def target(packet: bytes) -> bytes:
    """Its destination address."""
    return packet[16:20] if packet[0] >> 4 == 4 else packet[24:40]


def sent_later(oracle: Oracle, packets: list[bytes], pause: float) -> npt.NDArray[np.void]:
    """The answers to packets that are sent after a pause."""
    time.sleep(pause)
    return oracle.ask(packets)


def agrees(
    seed: int,
    packets: list[bytes],
    texts: dict[int, str] | Callable[[int], dict[int, str]],
    prepare: Callable[[Oracle], None] | None = None,
    pauses: float = 0.0,
    **declared: Any,
) -> None:
    """Fail with every difference between the kernel, prepared before it gets the rules, and the engine. With `pauses`
    (seconds) the packets are sent in pieces of up to 25.

    Where the kernel's clock moved on while it judged a packet, a difference may come of that: then it is asked again.
    So it is with rulesets that differ by attempt.
    """
    for attempt in range(ATTEMPTS):
        asked = texts(attempt) if callable(texts) else texts
        found, certain, kernel = differences(seed, packets, asked, prepare, pauses, declared)
        if not found:
            return
        if certain and not callable(texts):
            break
    said = f"seed {seed}: {len(found)} differences\n" + "\n".join(found[:20])
    if not kernel.startswith(STANDARD):
        pytest.xfail(f"this is not Linux {STANDARD}x: {said}")
    pytest.fail(said)


def differences(
    seed: int,
    packets: list[bytes],
    texts: dict[int, str],
    prepare: Callable[[Oracle], None] | None,
    pauses: float,
    declared: dict[str, Any],
) -> tuple[list[str], bool, str]:
    """The differences, whether the kernel's clock stood still while it judged each packet, and which kernel it was."""
    with Oracle() as oracle:
        print(f"kernel {oracle.kernel}, seed {seed}, {len(packets)} packets")
        if prepare is not None:
            prepare(oracle)
        oracle.load(texts[4], texts[6])
        if pauses:
            pieces = [packets[i : i + 25] for i in range(0, len(packets), 25)]
            answers = np.concatenate([sent_later(oracle, piece, pauses) for piece in pieces])
        else:
            answers = oracle.ask(packets)
        counted = {family: fastfw.Ruleset.parse(oracle.counters(family), family) for family in (4, 6)}
        kernel = oracle.kernel
    own = [ipaddress.ip_interface(text.partition("%")[0]).ip.packed for text in declared.get("local", ())]
    hooks = np.array([Hook.HOOK_INPUT if target(p) in own else Hook.HOOK_FORWARD for p in packets], np.uint8)
    found: list[str] = []
    for times in (answers["time_ns"], answers["late_ns"]):
        rules = {family: fastfw.Ruleset.parse(text, family) for family, text in texts.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fastfw.RulesetNotice)
            engine = fastfw.Engine(rules4=rules[4], rules6=rules[6], **declared)
        out = engine.process(*pack(packets), times, hook=hooks, iif=IN_DEVICE, oif=OUT_DEVICE)
        told = counted_otherwise(engine, counted)
        told += [
            f"packet {index}: kernel {bool(answers['answered'][index])}, ours {out['verdict'][index]}"
            for index in np.flatnonzero((out["verdict"] == Verdict.VERDICT_ACCEPT) != answers["answered"])
            if hooks[index] == Hook.HOOK_FORWARD
        ]
        found = [text for text in told if text in found] if found else told
        if not found:
            break
    return found, bool((answers["time_ns"] == answers["late_ns"]).all()), kernel


@pytest.mark.parametrize("seed", range(3300, 3303))
def test_headers_and_programs_count_what_the_kernel_counts(seed: int) -> None:
    """IPsec, SCTP, DCCP, mobility, IPv6's extension headers, u32 and BPF, on sound packets and broken ones."""
    packets = rare(seed, 1_500)
    packets += generate(seed, 1_500, protocols=("sctp", "sctp", "tcp", "udp", "icmp", "other"), fragments=0.1)
    Random(seed).shuffle(packets)
    agrees(seed, packets, {family: asking(seed, family) for family in (4, 6)})


ADDRESSES = (
    "-m addrtype --src-type LOCAL", "-m addrtype ! --dst-type LOCAL", "-m addrtype --dst-type UNICAST",
    "-m addrtype --dst-type MULTICAST", "-m addrtype --src-type UNSPEC", "-m addrtype ! --src-type UNICAST,LOCAL",
    "-m addrtype --src-type LOCAL --limit-iface-in", "-m addrtype ! --dst-type LOCAL --limit-iface-in",
    "-m addrtype --dst-type UNICAST --limit-iface-in", "-m addrtype --src-type ANYCAST",
    "-m addrtype --dst-type UNREACHABLE", "-m addrtype --src-type LOCAL --dst-type UNICAST",
    "-m pkttype --pkt-type unicast",
    "-m pkttype ! --pkt-type multicast", "-m mac ! --mac-source 02:00:00:00:00:01", "-m devgroup --src-group 7",
    "-m devgroup ! --src-group 0x3/0x3",
    "-m cluster --cluster-total-nodes 2 --cluster-local-node 1 --cluster-hash-seed 0xdeadbeef",
    "-m cluster --cluster-total-nodes 5 ! --cluster-local-nodemask 0x13 --cluster-hash-seed 0x1",
    "-m time --timestart 00:00 --timestop 23:59 --kerneltz",
)  # fmt: skip
ONLY_FORWARD = (
    "-m addrtype --dst-type LOCAL --limit-iface-out", "-m addrtype --src-type UNICAST --limit-iface-out",
    "-m devgroup --dst-group 9", "-m devgroup ! --dst-group 9 --src-group 7",
)  # fmt: skip
ONLY_ADDRESSES4 = (
    "-m addrtype --dst-type BROADCAST", "-m addrtype --src-type BROADCAST --limit-iface-in",
    "-m addrtype ! --dst-type BLACKHOLE,PROHIBIT",
)  # fmt: skip
REVERSE = tuple(
    f"-m rpfilter {' '.join(words)}".strip()
    for words in ((), ("--invert",), ("--loose",), ("--loose", "--invert"), ("--accept-local",),
                  ("--loose", "--accept-local"), ("--validmark",))
)  # fmt: skip
TOLD: dict[str, Any] = {
    "local": ["10.3.0.1/24%eth0", "10.4.0.1/16%eth1", "fd00:3::1/64%eth0", "fd00:4::1/64%eth1"],
    "routes": [
        "default via 10.4.0.9 dev eth1", "10.1.0.0/30 dev eth0", "unreachable 10.2.0.2", "blackhole 10.2.0.3",
        "10.1.0.2 nexthop via 10.3.0.7 dev eth0 weight 1 nexthop via 10.4.0.7 dev eth1 weight 1",
        "default via fd00:4::9 dev eth1 metric 1024", "fd00:1::2/127 dev eth0", "unreachable fd00:2::2 dev lo",
        "fd00:2::3 via fd00:3::7 dev eth0", "fd00:1::4/126 dev eth1", "anycast fd00:3:: dev eth0",
        "anycast fd00:4:: dev eth1",
    ],
    "groups": {"eth0": 7, "eth1": 9},
}  # fmt: skip


def judged_alike(text: str, sent: list[bytes]) -> fastfw.Ruleset:
    """Fail where the kernel and the engine pass other IPv6 packets or count them otherwise; the rules as the kernel
    counted."""
    with Oracle() as oracle:
        oracle.load("", text)
        answers = oracle.ask(sent)
        counted = fastfw.Ruleset.parse(oracle.counters(6), 6)
    engine = fastfw.Engine(rules6=fastfw.Ruleset.parse(text, 6))
    out = engine.process(*pack(sent), answers["time_ns"], iif=IN_DEVICE, oif=OUT_DEVICE)
    assert np.array_equal(answers["answered"], out["verdict"] == Verdict.VERDICT_ACCEPT)
    assert not counted_otherwise(engine, {6: counted})
    return counted


def test_an_authentication_header_that_does_not_fit() -> None:
    """`-m ah` drops an IPv6 packet whose AH header says that it is longer than what is left, and asks every other."""
    near, far = packets.address("fd00:1::1"), packets.address("fd00:2::1")
    chains = "".join(f":{chain} ACCEPT [0:0]\n" for chain in ("INPUT", "FORWARD", "OUTPUT"))
    text = f"*filter\n{chains}-A FORWARD -m ah --ahspi 0:255\n-A FORWARD\nCOMMIT\n"
    before = [(0, packets.extension(b"")), (60, packets.extension(b""))]
    sent = [
        packets.ipv6(near, far, 51, bytes([19, words]) + bytes(rest), extensions=before[:count])
        for count in range(3)
        for words in (0, 1, 2, 4, 136, 255)
        for rest in (2, 6, 10, 14, 22)
    ]
    judged_alike(text, sent)


def test_a_routing_header_that_is_cut_short() -> None:
    """A rule that names a protocol drops an IPv6 packet that ends within the first four bytes of a routing header, and
    asks one that ends later, or within another header's."""
    near, far = packets.address("fd00:1::1"), packets.address("fd00:2::1")
    chains = "".join(f":{chain} ACCEPT [0:0]\n" for chain in ("INPUT", "FORWARD", "OUTPUT"))
    text = f"*filter\n{chains}-A FORWARD ! -p gre\n-A FORWARD\nCOMMIT\n"
    before = [(60, packets.extension(b""))]
    sent = [
        packets.ipv6(near, far, kind, bytes([after, words, 4, 0, 0, 0, 0, 0][:rest]), extensions=before[:count])
        for kind in (43, 60)
        for after in (59, 19)
        for count in range(2)
        for words in (0, 1)
        for rest in range(1, 9)
    ]
    judged_alike(text, sent)


def test_flags_of_a_later_fragment() -> None:
    """ecn reads TCP's flags of a later IPv6 fragment that is not joined where the packet's own header begins."""
    far = packets.address("fd00:2::1")
    chains = "".join(f":{chain} ACCEPT [0:0]\n" for chain in ("INPUT", "FORWARD", "OUTPUT"))
    asked = [f"-A FORWARD -p tcp -m ecn{no} --ecn-tcp-{flag}" for no in ("", " !") for flag in ("cwr", "ece")]
    text = "\n".join(["*filter", chains + asked[0], *asked[1:], "COMMIT", ""])
    # the flags' place holds bytes 5 and 6 of the source; 229 bytes of which more follow are never joined
    sent = [
        packets.ipv6(
            packets.address(source), far, 6, bytes([0] * 12 + [0x50, flags] + [0] * 215),
            extensions=[(44, packets.fragment_header(0x438, True, number))],
        )
        for number, (source, flags) in enumerate(
            (source, flags)
            for source in ("fd00:1::1", "fd00:1:80::1", "fd00:1:40::1", "fd00:1:c0::1")
            for flags in (0, 0x40, 0x80, 0xC0)
        )
    ]  # fmt: skip
    counted = judged_alike(text, sent)
    assert [rule.packets for rule in counted.tables["filter"].chains["FORWARD"].rules] == [8, 8, 8, 8]


def addressing(seed: int, family: int) -> str:
    """Every question of addresses, interfaces and routes in random order."""
    random = Random(seed << 1 | (family == 6))
    asked = [*ADDRESSES, *(ONLY_ADDRESSES4 if family == 4 else ())]
    text = []
    for table, chain in (("raw", "PREROUTING"), ("mangle", "PREROUTING"), ("filter", "FORWARD")):
        rules = asked + list(ONLY_FORWARD if chain == "FORWARD" else REVERSE)
        random.shuffle(rules)
        text += [f"*{table}", *(f"-A {chain} {words}" for words in rules), "COMMIT"]
    return "\n".join([*text, ""])


def configure(oracle: Oracle) -> None:
    """Give the namespace the addresses, routes and groups that TOLD tells of."""
    for text in TOLD["local"]:
        address, _, device = text.partition("%")
        oracle.command("ip", "address", "add", address, "dev", device, *(("nodad",) if ":" in address else ()))
    for line in TOLD["routes"]:
        if not line.startswith("anycast"):
            family = "-6" if ":" in line else "-4"
            oracle.command("ip", family, "route", "add", *line.split())
    for device, group in TOLD["groups"].items():
        oracle.command("ip", "link", "set", device, "group", str(group))


@pytest.mark.parametrize("seed", range(3400, 3403))
def test_addresses_and_routes_are_what_the_kernel_says(seed: int) -> None:
    """Types of addresses, ways back, groups and nodes, of hosts that are near, far, unreachable or the host itself."""
    packets = generate(seed, 2_000, anomalies=0.3)
    agrees(seed, packets, {family: addressing(seed, family) for family in (4, 6)}, configure, **TOLD, time_zone=0)


RATES = (
    "--hashlimit-upto 100/sec --hashlimit-burst 3 --hashlimit-mode srcip --hashlimit-name a",
    "--hashlimit-above 50/sec --hashlimit-burst 5 --hashlimit-mode dstip,dstport --hashlimit-name b",
    "--hashlimit-upto 10/min --hashlimit-burst 20 --hashlimit-name c",
    "--hashlimit-above 1/hour --hashlimit-burst 1 --hashlimit-mode srcip,srcport,dstip,dstport --hashlimit-name d",
    "--hashlimit-upto 2kb/s --hashlimit-mode srcip --hashlimit-name e",
    "--hashlimit-above 1kb/s --hashlimit-burst 4kb --hashlimit-mode dstip --hashlimit-name f",
    "--hashlimit-upto 100b/s --hashlimit-burst 300b --hashlimit-mode srcip,dstport --hashlimit-name g",
    "--hashlimit-upto 5/sec --hashlimit-burst 2 --hashlimit-mode srcip --hashlimit-srcmask 30 --hashlimit-name h",
    "--hashlimit-above 5/sec --hashlimit-burst 9 --hashlimit-mode dstip --hashlimit-dstmask 0 --hashlimit-name i",
    "--hashlimit-upto 20/sec --hashlimit-mode srcip --hashlimit-htable-max 3 --hashlimit-htable-size 2 "
    "--hashlimit-name j",
    "--hashlimit-upto 20/sec --hashlimit-mode dstip --hashlimit-htable-gcinterval 20 --hashlimit-name k",
    "--hashlimit-upto 30/sec --hashlimit-mode srcip --hashlimit-name l --hashlimit-rate-match",
    "--hashlimit-above 9000/sec --hashlimit-mode srcip --hashlimit-name m --hashlimit-rate-match",
    "--hashlimit-upto 1kb/s --hashlimit-mode srcip --hashlimit-name n --hashlimit-rate-match",
    "--hashlimit-above 3000b/s --hashlimit-mode srcip --hashlimit-name o --hashlimit-rate-match "
    "--hashlimit-rate-interval 2",
    "--hashlimit-above 7/sec --hashlimit-burst 2 --hashlimit-mode srcip --hashlimit-name a",
)  # fmt: skip
CROWDS = (
    "--connlimit-above 2 --connlimit-saddr", "--connlimit-upto 3 --connlimit-daddr",
    "--connlimit-above 5 --connlimit-mask 30 --connlimit-saddr", "--connlimit-upto 20 --connlimit-mask 0",
    "--connlimit-above 1 --connlimit-mask 31 --connlimit-daddr",
)  # fmt: skip


def rating(seed: int, family: int, zone: int) -> str:
    """Rates and crowds in random order, some asked of a part of the traffic alone, one in three dropping.

    The kernel throws out rates that are over, and goes through crowds that share a place of its table, when it has
    time; so rates are kept for longer than a test lasts, and which crowds share one depends on the zone.
    """
    random = Random(seed << 1 | (family == 6))
    text = ["*raw", f"-A PREROUTING -j CT --zone {zone}", "COMMIT"]
    for table in ("mangle", "filter"):
        # a table's form is its first rule's, and a full table drops: these come in one order
        rates = [f"-m hashlimit {words} --hashlimit-htable-expire 90000" for words in RATES]
        crowds = [f"{random.choice(('', '-p tcp ', '-p udp '))}-m connlimit {words}" for words in CROWDS]
        first = rates.pop(9)
        random.shuffle(crowds)
        random.shuffle(rates)
        asked = [*crowds, *rates] if random.getrandbits(1) else [*rates, *crowds]
        if table == "filter":
            asked = [words.replace("-name ", "-name z") for words in [*asked, first]]
        text.append(f"*{table}")
        for words in asked:
            drops = table == "filter" and words.startswith("-p") and random.random() < 0.4
            text.append(f"-A FORWARD {words}{' -j DROP' * drops}")
        text.append("COMMIT")
    return "\n".join([*text, ""])


@pytest.fixture
def one_processor() -> Iterator[None]:
    """Everything on one processor: connlimit knows what another has just begun."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.usefixtures("one_processor")
@pytest.mark.parametrize("seed", range(3500, 3503))
def test_rates_and_crowds_count_what_the_kernel_counts(seed: int) -> None:
    """hashlimit in all modes, of packets and bytes, in tables that fill up; connlimit as connections come and go."""

    def texts(attempt: int) -> dict[int, str]:
        return {family: rating(seed, family, seed + attempt) for family in (4, 6)}

    agrees(seed, generate(seed, 2_500), texts, pauses=0.012)


FORGETTING = (
    "*mangle\n-A FORWARD -m hashlimit --hashlimit-upto 1/hour --hashlimit-burst 2 --hashlimit-mode srcip "
    "--hashlimit-name f --hashlimit-htable-expire 600 --hashlimit-htable-gcinterval 100\nCOMMIT\n"
)


def test_what_a_rate_knows_is_forgotten() -> None:
    """A group that no packet has met for as long as it is kept begins anew at the next turn of throwing out."""
    burst = [packets.udp_packet(bytes([10, 1, 0, 1]), bytes([10, 2, 0, 1]), 1000, 53, b"x")] * 5
    for _ in range(5):
        with Oracle() as oracle:
            oracle.load(FORGETTING, None)
            answers = np.concatenate([oracle.ask(burst), sent_later(oracle, burst, 1.5)])
            counted = {4: fastfw.Ruleset.parse(oracle.counters(4), 4)}
        if all(np.ptp(part["late_ns"]) < 400_000_000 for part in np.split(answers, 2)):
            break
    engine = fastfw.Engine(rules4=fastfw.Ruleset.parse(FORGETTING, 4))
    engine.process(*pack(burst * 2), answers["time_ns"], iif=IN_DEVICE, oif=OUT_DEVICE)
    assert counted[4].tables["mangle"].chains["FORWARD"].rules[0].packets == 4
    assert counted_otherwise(engine, counted) == []
