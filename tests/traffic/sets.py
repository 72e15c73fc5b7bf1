"""Random ipset sets about the traffic of ``generate.py``, and rules that ask and change them.

``sets(seed)`` is `ipset save` text of one set or more of every type that most kernels have; ``asking(seed, family)`` is
a ruleset about them.
"""

from __future__ import annotations

from ipaddress import ip_address
from random import Random

from .conversations import CLIENT_PORTS, TCP_PORTS, UDP_PORTS, WORLDS

TYPES = (
    "hash:ip", "hash:net", "hash:ip,port", "hash:net,port", "hash:ip,port,ip", "hash:ip,port,net", "hash:net,iface",
)  # fmt: skip
ONLY_4 = ("bits_ip", "bits_mac")
EXTENSIONS = ("", "counters", "timeout 0", "counters skbinfo", "counters timeout 5000", "comment skbinfo")


def _address(random: Random, family: int) -> str:
    world = WORLDS[family]
    return str(ip_address(random.choice(world.clients + world.servers + world.routers)))


def _network(random: Random, family: int, shortest: int) -> str:
    whole = 32 if family == 4 else 128
    length = random.choice((whole, whole, whole - 1, whole - 2, 24 if family == 4 else 64, 14, 5, shortest))
    value = int(ip_address(_address(random, family))) >> (whole - length) << (whole - length)
    return f"{ip_address(value) if family == 4 else ip_address(value.to_bytes(16, 'big'))}/{length}"


def _port(random: Random, family: int) -> str:
    kind = random.random()
    if kind < 0.7:
        protocol, known = random.choice((("tcp", TCP_PORTS), ("udp", UDP_PORTS)))
        return f"{protocol}:{random.choice(CLIENT_PORTS if random.random() < 0.4 else known)}"
    if kind < 0.9:
        return f"{'icmp' if family == 4 else 'icmpv6'}:{random.choice(('echo-request', 'echo-reply', '3/3', '1/4'))}"
    return random.choice(("gre:0", "253:0", "sctp:80"))


def _part(random: Random, part: str, family: int, type_name: str) -> str:
    if part == "ip":
        return _address(random, family)
    if part == "net":
        return _network(random, family, 0 if type_name == "hash:net,iface" else 1)
    if part == "port":
        return _port(random, family)
    return random.choice(("eth0", "eth1", "eth2", "et wildcard", "eth wildcard"))


def _kept(random: Random, options: str, number: int) -> str:
    words = ""
    if "counters" in options and random.getrandbits(1):
        words += f" packets {random.randrange(9)} bytes {random.randrange(2000)}"
    if "timeout" in options and random.getrandbits(1):
        words += f" timeout {random.choice((0, 3000))}"
    if "skbinfo" in options:
        words += f" skbmark {random.randrange(16):#x}/{random.choice((0xF, 0xFF, 0xFFFFFFFF)):#x}"
    if "comment" in options:
        words += f' comment "number {number}"'
    return words


def _hashes(random: Random, family: int) -> list[str]:
    lines = []
    for type_name in TYPES:
        for copy in "ab":
            name = f"{type_name[5:].replace(',', '_')}_{family}{copy}"
            options = random.choice(EXTENSIONS)
            shape = ""
            if type_name in ("hash:ip", "hash:ip,port") and copy == "b":
                mask = "255.255.0.3" if family == 4 else "ffff:ffff::3"
                shape = random.choice((f" netmask {28 if family == 4 else 96}", f" bitmask {mask}"))
            lines.append(f"create {name} {type_name} family inet{'6' * (family == 6)} hashsize 64{shape} {options}")
            for number in range(random.randrange(2, 11)):
                words = [_part(random, part, family, type_name) for part in type_name[5:].split(",")]
                element, _, wildcard = ",".join(words).partition(" ")
                element += f" {wildcard}" * bool(wildcard)
                exception = " nomatch" if "net" in type_name and random.random() < 0.25 else ""
                lines.append(f"add {name} {element}{_kept(random, options, number)}{exception} -exist")
    return lines


def _lists(random: Random, created: list[str]) -> list[str]:
    lines = []
    for copy in "ab":
        options = random.choice(("", "counters", "timeout 0 counters", "counters skbinfo"))
        lines.append(f"create all_{copy} list:set size 8 {options}")
        members = random.sample(created, 5)
        lines += [f"add all_{copy} {member}{_kept(random, options, 0)}" for member in members]
    return lines


def sets(seed: int) -> str:
    """The sets' text."""
    random = Random(seed)
    lines = [*_hashes(random, 4), *_hashes(random, 6)]
    lines += [
        f"create bits_ip bitmap:ip range 10.0.0.0/15 netmask 31 {random.choice(EXTENSIONS[:4])}",
        "create bits_port bitmap:port range 20-41000 counters",
        "create bits_mac bitmap:ip,mac range 10.1.0.0/16",
    ]
    lines += [f"add bits_ip 10.1.0.{random.randrange(6)} -exist" for _ in range(3)]
    lines += [f"add bits_port {random.choice((*CLIENT_PORTS, *TCP_PORTS, *UDP_PORTS))} -exist" for _ in range(4)]
    lines.append("add bits_mac 10.1.0.1")
    lines += _lists(random, names("\n".join(lines)))
    return "\n".join([*lines, ""])


def names(text: str) -> list[str]:
    """The sets that a text creates."""
    return [line.split()[1] for line in text.split("\n") if line.startswith("create")]


def match(random: Random, known: list[str]) -> str:
    """A set match with any of its options."""
    sides = ",".join(random.choice(("src", "dst")) for _ in range(random.choice((1, 2, 2, 3, 3, 3, 4))))
    words = f"-m set {'! ' * (random.random() < 0.25)}--match-set {random.choice(known)} {sides}"
    if random.random() < 0.3:
        words += " --return-nomatch"
    if random.random() < 0.2:
        words += " ! --update-counters"
    if random.random() < 0.2:
        words += " ! --update-subcounters"
    for counted, values in (("packets", (0, 3, 20)), ("bytes", (60, 500, 5000))):
        if random.random() < 0.25:
            compare = random.choice(("eq", "lt", "gt"))
            inverted = "! " * (compare == "eq" and random.getrandbits(1))
            words += f" {inverted}--{counted}-{compare} {random.choice(values)}"
    return words


def target(random: Random, known: list[str], mangle: bool) -> str:
    """A SET target that adds, deletes or, in table mangle, maps."""
    sides = ",".join(random.choice(("src", "dst")) for _ in range(random.choice((1, 2, 3, 3, 3))))
    name = random.choice(known)
    kind = random.random()
    if mangle and kind < 0.4:
        return f"-j SET --map-set {name} {sides} --map-mark"
    if kind < 0.7:
        words = f"-j SET --add-set {name} {sides}{' --exist' * random.getrandbits(1)}"
        return words + " --timeout 7000" * random.getrandbits(1)
    return f"-j SET --del-set {name} {sides}"


def asking(seed: int, family: int) -> str:
    """Sets asked and changed in random order, in the tables mangle and filter; marks tell what was mapped."""
    random = Random(seed << 1 | (family == 6))
    others = f"_{10 - family}"
    known = [name for name in names(sets(seed)) if others not in name and (family == 4 or name not in ONLY_4)]
    lines = []
    for table, chain in (("mangle", "PREROUTING"), ("mangle", "FORWARD"), ("filter", "FORWARD")):
        if lines[-1:] != ["*mangle"] and not (table == "mangle" and chain == "FORWARD"):
            lines += [*["COMMIT"] * bool(lines), f"*{table}"]
        for _ in range(40):
            narrowed = random.choice(("", "", "-p tcp ", "-p udp ", "-m state --state NEW "))
            words = f"-A {chain} {narrowed}{match(random, known)}"
            if random.random() < 0.25:
                words += f" {target(random, known, table == 'mangle')}"
            lines.append(words)
        lines.append(f"-A {chain} -m mark ! --mark 0x0/0xf")
    return "\n".join([*lines, "COMMIT", ""])
