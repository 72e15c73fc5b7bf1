"""What the classifier tells of a packet, and what it leaves to be asked, held against asking every rule in full."""

from __future__ import annotations

from ipaddress import ip_address
from random import Random

import numpy as np
import pytest
from tests.kernel.oracle import pack
from tests.plain import enforce
from tests.traffic import packets as p

import fastfw

SECOND = 1_000_000_000
HOSTS = {4: ("10.1.0.1", "10.1.0.2", "10.2.0.1", "10.2.0.255"), 6: ("fd00:1::1", "fd00:1::2", "fd00:2::1", "fd00:3::f")}
ODD = {4: "255.0.0.255", 6: "ffff::ffff"}
"""Masks that are no prefix."""

PORTS = (0, 1, 22, 53, 80, 255, 256, 1000, 5060, 65535)
NAMES = ("eth0", "eth1", "eth10", "lo", "wlan0", "")
WITH_PORTS = ("tcp", "udp", "sctp", "dccp", "udplite")
NUMBERS = {"tcp": 6, "udp": 17, "sctp": 132, "dccp": 33, "udplite": 136, "gre": 47, "esp": 50}
STATES = ("NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED")


class Writer:
    """Random rules of one family that ask for the same facts again and again, by different matches."""

    def __init__(self, random: Random, family: int) -> None:
        self.random = random
        self.family = family
        self.sides = "io"

    def no(self, share: float = 0.25) -> str:
        return "! " if self.random.random() < share else ""

    def host(self) -> str:
        return self.random.choice(HOSTS[self.family])

    def address(self) -> str:
        random, side = self.random, self.random.choice("sd")
        if random.random() < 0.05:
            return f"{self.no()}-{side} {self.host()}/{ODD[self.family]}"
        if random.random() < 0.5:
            whole = 32 if self.family == 4 else 128
            bits = random.choice((whole, whole, whole - 1, 24 if self.family == 4 else 64, 16, 1, 0))
            host = ip_address(self.host())
            base = type(host)(int(host) >> whole - bits << whole - bits)
            return f"{self.no()}-{side} {base}/{bits}"
        low, high = sorted((self.host(), self.host()), key=ip_address)
        if random.random() < 0.05:
            low, high = high, low  # which nothing lies in
        return f"-m iprange {self.no()}--{'src' if side == 's' else 'dst'}-range {low}-{high}"

    def port(self) -> str:
        low, high = sorted(self.random.choices(PORTS, k=2))
        return str(low) if self.random.random() < 0.6 else f"{low}:{high}"

    def ported(self) -> str:
        """A protocol and up to three matches of its ports, which may ask for the same side twice."""
        random = self.random
        name = random.choice(WITH_PORTS)
        parts = [f"-p {name}"]
        if name != "udplite" and random.random() < 0.6:
            sides = [f"{self.no()}--{side} {self.port()}" for side in ("sport", "dport") if random.random() < 0.6]
            parts.append(f"-m {name} {' '.join(sides)}".rstrip())
        for _ in range(random.randrange(3)):
            listed = ",".join(str(random.choice(PORTS)) for _ in range(random.randrange(1, 4)))
            side = random.choice(("sports", "dports", "ports"))
            parts.append(f"-m multiport {self.no()}--{side} {listed}")
        if name == "tcp" and random.random() < 0.2:
            parts.append(f"-m tcp {self.no()}--tcp-flags SYN,ACK SYN")
        return " ".join(parts)

    def bare(self) -> str:
        """A protocol alone, or ICMP's types."""
        random = self.random
        kind = random.random()
        icmp = "icmp" if self.family == 4 else "ipv6-icmp"
        if kind < 0.3:
            match = f"-m icmp {self.no()}--icmp-type" if self.family == 4 else f"-m icmp6 {self.no()}--icmpv6-type"
            return f"-p {icmp} {match} {random.choice((0, 3, 8) if self.family == 4 else (1, 128, 129))}"
        return f"{self.no(0.4)}-p {random.choice((*WITH_PORTS, icmp, 'gre', 'esp', '253'))}"

    def interface(self) -> str:
        name = self.random.choice(("eth0", "eth1", "eth1+", "eth+", "lo"))
        return f"{self.no()}-{self.random.choice(self.sides)} {name}"

    def state(self) -> str:
        match, option = self.random.choice((("state", "state"), ("conntrack", "ctstate")))
        states = ",".join(self.random.sample(STATES, self.random.randrange(1, 4)))
        return f"-m {match} {self.no()}--{option} {states}"

    def rule(self) -> str:
        random = self.random
        parts = [self.address() for _ in range(random.choice((0, 0, 1, 1, 2)))]
        if random.random() < 0.4:
            parts.append(self.interface())
        if random.random() < 0.75:
            parts.append(random.choice((self.ported, self.ported, self.bare))())
        for _ in range(random.choice((0, 0, 0, 1, 2))):
            parts.append(self.state())
        if random.random() < 0.1:
            parts.append(f"-m length {self.no()}--length 0:{random.choice((30, 44, 60))}")
        if random.random() < 0.03:
            parts.append("-m limit --limit 1/second --limit-burst 2")
        return " ".join(once(parts))

    def ruleset(self, rules: int, table: str = "filter") -> str:
        """Chains that jump and go to later ones; most rules only count, so that most of them are reached."""
        random = self.random
        chains = [f"c{number}" for number in range(random.choice((0, 2, 6)))]
        hooks = ("PREROUTING", "OUTPUT") if table == "raw" else ("INPUT", "FORWARD", "OUTPUT")
        lines = [
            f":{name} {random.choice(('ACCEPT', 'DROP')) if table == 'filter' else 'ACCEPT'} [0:0]" for name in hooks
        ]
        lines += [f":{name} - [0:0]" for name in chains]
        order = [*hooks, *chains]
        share = max(1, rules // len(order))
        for place, chain in enumerate(order):
            self.sides = {"PREROUTING": "i", "INPUT": "i", "OUTPUT": "o"}.get(chain, "io")
            if place >= len(hooks):
                self.sides = "i" if table == "raw" else "io"
            later = chains[max(0, place - len(hooks) + 1) :] if place >= len(hooks) else chains
            for _ in range(share):
                kind = random.random()
                then = ""
                if kind < 4 / share:
                    then = random.choice((" -j ACCEPT", " -j DROP", " -j RETURN"))
                elif kind < 8 / share and later:
                    then = f" -{random.choice('jg')} {random.choice(later)}"
                elif kind < 12 / share and table == "raw":
                    then = " -j CT --notrack"
                lines.append(f"-A {chain} {self.rule()}".rstrip() + then)
        return "\n".join([f"*{table}", *lines, "COMMIT", ""])


def once(parts: list[str]) -> list[str]:
    """The parts without a second one of an option that a rule takes once: -s, -d, -i, -o, and a match's own."""
    seen: set[str] = set()
    kept = []
    for part in parts:
        words = [word for word in part.split() if word != "!"]
        name = words[0] if words[0] != "-m" or words[1] != "iprange" else words[2]
        if name in seen:
            continue
        seen.add(name)
        kept.append(part)
    return kept


def transport(random: Random, family: int, source: bytes, target: bytes) -> tuple[int, bytes]:
    """A protocol and its header, now and then cut short."""
    sport, dport = random.choice(PORTS), random.choice(PORTS)
    kind = random.choice((*WITH_PORTS, "tcp", "udp", "icmp", "gre", "esp", "253"))
    if kind == "tcp":
        data = p.tcp(
            source, target, sport, dport, random.choice((p.SYN, p.ACK, p.SYN | p.ACK, p.FIN | p.ACK, p.RST, 0))
        )
        number = p.TCP
    elif kind == "udp":
        data, number = p.udp(source, target, sport, dport, b"abcd"), p.UDP
    elif kind == "icmp":
        number = p.ICMP if family == 4 else p.ICMPV6
        data = bytes([random.choice((0, 3, 8) if family == 4 else (1, 128, 129)), 0]) + random.randbytes(10)
    else:
        number = NUMBERS.get(kind, 253)
        data = sport.to_bytes(2, "big") + dport.to_bytes(2, "big") + bytes(random.choice((4, 8, 12, 28)))
    if random.random() < 0.15:
        data = data[: random.choice((0, 1, 3, 4, 7, 8, 11, 12, 15, 16, 19, 20))]
    if number == p.TCP and len(data) > 12 and random.random() < 0.1:
        data = data[:12] + bytes([random.choice((0x00, 0x40, 0xF0))]) + data[13:]
    return number, data


def packet(random: Random, family: int) -> bytes:
    source, target = (p.address(random.choice(HOSTS[family])) for _ in range(2))
    number, data = transport(random, family, source, target)
    if family == 4:
        fragment = random.choice((0, 0, 0, 0, 0x4000, 0x2000, 0x0001, 0x2002, 185))
        options = b"\x01" * random.choice((0, 0, 0, 0, 4))
        return p.ipv4(source, target, number, data, fragment=fragment, options=options)
    for _ in range(random.choice((0, 0, 0, 1, 2))):
        kind = random.choice((p.HOP_BY_HOP, p.ROUTING, p.FRAGMENT, p.DESTINATION, p.AH, p.NO_NEXT))
        if kind == p.FRAGMENT:
            head = bytes([number, 0]) + random.choice((0, 1, 8, 9, 2, 16)).to_bytes(2, "big") + random.randbytes(4)
        elif kind == p.AH:
            head = bytes([number, random.choice((1, 2, 4, 0, 9))]) + bytes(14)
        elif kind == p.NO_NEXT:
            number = kind
            continue
        else:
            head = bytes([number, random.choice((0, 0, 0, 1, 40))]) + b"\x01\x04\0\0\0\0"
        number, data = kind, head + data
        if random.random() < 0.1:
            data = data[: random.randrange(len(data) + 1)]
    return p.ipv6(source, target, number, data)


@pytest.mark.parametrize("rules", [20, 60, 100, 300, 1000, 2500])
@pytest.mark.parametrize("family", [4, 6])
def test_what_the_classifier_tells_need_not_be_asked(seed: int, family: int, rules: int) -> None:
    """With the classifier as without it every packet meets the same rules and the same end, whatever its headers."""
    for turn in range(3):
        compare(Random(f"{seed} {family} {rules} {turn}"), family, rules, 600)


@pytest.mark.parametrize("family", [4, 6])
def test_sparse_sets_tell_the_same(seed: int, family: int) -> None:
    """The same of so many rules that a set leaves its empty words out and its summary takes several words."""
    compare(Random(f"{seed} {family}"), family, 6000, 200)


def compare(random: Random, family: int, rules: int, packets: int) -> None:
    writer = Writer(random, family)
    text = (writer.ruleset(rules // 4, "raw") if random.random() < 0.4 else "") + writer.ruleset(rules)
    data = [packet(random, family) for _ in range(packets)]
    parts = [data[at : at + 50] for at in range(0, packets, 50)]
    ways = [(random.choice(("FORWARD", "INPUT", "OUTPUT")), random.choice(NAMES), random.choice(NAMES)) for _ in parts]
    results = []
    for classify in (False, True):
        engine = fastfw.Engine()
        enforce(engine, family, text, classify=classify)
        outs = []
        for number, (part, (hook, iif, oif)) in enumerate(zip(parts, ways, strict=True)):
            times = np.arange(len(part)) * 1_000_000 + (number + 1) * SECOND
            outs.append(engine.process(*pack(part), times, hook=hook, iif=iif, oif=oif))
        counters = engine._rule_counters(family)
        assert counters is not None
        results.append((np.concatenate(outs), counters))
    (plain, counted), (quick, recounted) = results
    for name in ("verdict", "state", "rule", "mark", "reason"):
        differs = np.flatnonzero(plain[name] != quick[name])
        at = int(differs[0]) if len(differs) else 0
        assert not len(differs), f"packet {data[at].hex()}, {ways[at // 50]}: {name} {plain[at]}, {quick[at]}\n{text}"
    assert counted.tolist() == recounted.tolist(), text
    assert counted[:, 0].sum() > packets // 10


def test_sets_too_large_to_keep_are_left_out(seed: int) -> None:
    """A fact that nearly every rule leaves open takes more room than it is worth: it is asked of the rules that the
    others name, however far they lie apart."""
    random, count = Random(seed), 20_000
    first = int(ip_address("10.0.0.0"))
    lines = [
        f"-A FORWARD -m iprange ! --src-range {ip_address(first + 4 * i)}-{ip_address(first + 4 * i + 200)} "
        f"-d {ip_address((11 << 24) + i)} -j ACCEPT"
        for i in range(count)
    ]
    text = "\n".join(["*filter", ":FORWARD DROP [0:0]", *lines, "COMMIT", ""])
    engine = fastfw.Engine(fastfw.Ruleset.parse(text))
    for i in [0, count - 1, *(random.randrange(count) for _ in range(200))]:
        for source in (first + 4 * i + random.randrange(201), first + 4 * i + random.randrange(201, 100_000)):
            ends = source.to_bytes(4, "big"), ((11 << 24) + i).to_bytes(4, "big")
            meets = source > first + 4 * i + 200
            decided = engine.decide(p.udp_packet(*ends, 1, 2), now=SECOND)
            assert decided.verdict == ("ACCEPT" if meets else "DROP")
            assert decided.rule == (f"filter:FORWARD:rule:{i + 1}" if meets else f"filter:FORWARD:policy:{count + 1}")
