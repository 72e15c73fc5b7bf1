"""Random filter rulesets about the traffic of ``generate.py``, as iptables-save text the real iptables accepts.

``ruleset(seed, family)`` is a pure function of its arguments. Every chain can only jump to later ones, so a walk always
ends; matches draw on the very addresses, ports and types that occur, so that most rules match now and then.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from random import Random

from .conversations import CLIENT_PORTS, TCP_PORTS, UDP_PORTS, WORLDS

Part = Callable[[Random, int], str]
STATES = ("NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED")
FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG")
ENDING = ("ACCEPT", "ACCEPT", "DROP", "RETURN", "REJECT", "goto")
PASSING = ("LOG", "", "", "jump")


def some(random: Random, words: tuple[str, ...]) -> str:
    """One to three of the words, comma-separated, in their own order."""
    chosen = random.sample(words, random.randrange(1, min(3, len(words)) + 1))
    return ",".join(word for word in words if word in chosen)


def maybe_not(random: Random) -> str:
    return "! " if random.random() < 0.25 else ""


def network(random: Random, family: int) -> str:
    """An address of the traffic or a network around it."""
    world = WORLDS[family]
    address = ip_address(random.choice(world.clients + world.servers + world.routers))
    whole = 32 if family == 4 else 128
    length = random.choice((whole, whole, whole - 1, whole - 2, 16 if family == 4 else 32, 0))
    value = int(address) >> (whole - length) << (whole - length)
    return f"{type(address)(value)}/{length}"


def addresses(random: Random, family: int) -> str:
    parts = []
    for option in ("-s", "-d"):
        if random.random() < 0.35:
            parts.append(f"{maybe_not(random)}{option} {network(random, family)}")
    return " ".join(parts)


def interfaces(random: Random, _: int) -> str:
    return random.choice(("-i eth0", "-o eth1", "! -i eth1", "-i eth+", "! -o eth+", "-i eth0 -o eth1", "-i lo"))


def port(random: Random) -> str:
    ports = CLIENT_PORTS + TCP_PORTS + UDP_PORTS
    if random.random() < 0.6:
        return str(random.choice(ports))
    low, high = sorted(random.sample(sorted({0, *ports, 65535}), 2))
    return f"{low}:{high}"


def ports(random: Random, protocol: str) -> str:
    """A match of one transport protocol's ports, by its own match or by multiport."""
    if random.random() < 0.5:
        options = [f"{maybe_not(random)}--{side}port {port(random)}" for side in "sd" if random.random() < 0.6]
        return f"-p {protocol} -m {protocol} {' '.join(options)}".rstrip()
    listed = ",".join(port(random) for _ in range(random.randrange(1, 6)))
    return f"-p {protocol} -m multiport {maybe_not(random)}--{random.choice(('sports', 'dports', 'ports'))} {listed}"


def tcp(random: Random, _: int) -> str:
    kind = random.random()
    if kind < 0.5:
        return ports(random, "tcp")
    if kind < 0.9:
        asked = random.sample(FLAGS, random.randrange(1, 5))
        wanted = [flag for flag in asked if random.getrandbits(1)]
        names = ",".join(flag for flag in FLAGS if flag in asked)
        return f"-p tcp -m tcp {maybe_not(random)}--tcp-flags {names} {','.join(wanted) or 'NONE'}"
    return f"-p tcp -m tcp {maybe_not(random)}--tcp-option {random.choice((2, 3, 4, 5, 8, 30))}"


def udp(random: Random, _: int) -> str:
    return ports(random, "udp")


def icmp(random: Random, family: int) -> str:
    if family == 4:
        kind = random.choice(("8", "0", "3", "3/3", "3/4", "11", "11/0", "13", "any", "5/1"))
        return f"-p icmp -m icmp {maybe_not(random) if kind != 'any' else ''}--icmp-type {kind}"
    kind = random.choice(("128", "129", "1", "1/4", "2", "3/0", "4", "135", "143"))
    return f"-p ipv6-icmp -m icmp6 {maybe_not(random)}--icmpv6-type {kind}"


def protocol(random: Random, family: int) -> str:
    names = ("tcp", "udp", "icmp" if family == 4 else "ipv6-icmp", "gre", "253")
    return f"{maybe_not(random)}-p {random.choice(names)}"


def state(random: Random, _: int) -> str:
    return f"-m state {maybe_not(random)}--state {some(random, STATES)}"


def conntrack(random: Random, family: int) -> str:
    options = []
    if random.random() < 0.6:
        options.append(f"{maybe_not(random)}--ctstate {some(random, STATES)}")
    if random.random() < 0.3:
        options.append(f"--ctdir {random.choice(('ORIGINAL', 'REPLY'))}")
    if random.random() < 0.3:
        known = ("NONE", "EXPECTED", "SEEN_REPLY", "ASSURED", "CONFIRMED")
        status = random.choice(known)
        options.append(f"{maybe_not(random)}--ctstatus {status}")
    if random.random() < 0.2:
        options.append(f"{maybe_not(random)}--ctproto {random.choice(('6', '17', '1', '58'))}")
    if random.random() < 0.2:
        options.append(
            f"{maybe_not(random)}--{random.choice(('ctorigsrc', 'ctorigdst', 'ctreplsrc'))} {network(random, family)}"
        )
    if random.random() < 0.2:
        options.append(
            f"{maybe_not(random)}--{random.choice(('ctorigsrcport', 'ctorigdstport', 'ctrepldstport'))} {port(random)}"
        )
    if random.random() < 0.2:
        # Bounds lie well away from where timeouts begin: the two sides read their clocks at different instants.
        options.append(f"{maybe_not(random)}--ctexpire {random.choice(('0:25', '0:50', '70:110', '400:500000'))}")
    return "-m conntrack " + " ".join(options or ["--ctstate NEW"])


def length(random: Random, _: int) -> str:
    return f"-m length {maybe_not(random)}--length {random.choice(('40', '0:60', '61:200', '28', '1000:65535', '60'))}"


def iprange(random: Random, family: int) -> str:
    world = WORLDS[family]
    ends = [str(ip_address(value)) for value in sorted(random.sample(world.clients + world.servers, 2))]
    return f"-m iprange {maybe_not(random)}--{random.choice(('src', 'dst'))}-range {ends[0]}-{ends[1]}"


def hops(random: Random, family: int) -> str:
    name, option = ("ttl", "ttl") if family == 4 else ("hl", "hl")
    return f"-m {name} --{option}-{random.choice(('eq 63', 'eq 64', 'gt 10', 'lt 64', 'lt 63'))}"


def comment(random: Random, _: int) -> str:
    return f'-m comment --comment "rule {random.randrange(100)}"'


def mark(random: Random, _: int) -> str:
    return f"-m mark {maybe_not(random)}--mark {random.choice(('0x0', '0x1', '0x0/0xff'))}"


def fragment(random: Random, family: int) -> str:
    return f"{maybe_not(random)}-f" if family == 4 else ""


PARTS: tuple[Part, ...] = (
    *(addresses, addresses, interfaces, tcp, tcp, udp, icmp, protocol, state, state, conntrack, conntrack),
    *(length, iprange, hops, comment, mark, fragment),
)


STATELESS: tuple[Part, ...] = (addresses, addresses, tcp, udp, icmp, protocol, length, iprange, hops, comment)
"""What can be asked before connection tracking has seen a packet."""


def matches(random: Random, family: int, parts: tuple[Part, ...], most: int) -> list[str]:
    """Up to ``most`` matches for one rule, in the order iptables-save prints them."""
    chosen = dict.fromkeys(random.sample(parts, random.randrange(most + 1)))
    named, kept = False, []
    for text in (part(random, family) for part in chosen):
        if "-p " in text and named:
            continue  # a rule names its protocol once
        named = named or "-p " in text
        kept.append(text)
    kept.sort(key=lambda text: text.startswith("-m "))
    return [text for text in kept if text]


def rule(random: Random, chain: str, later: list[str], family: int) -> str:
    """One filter rule of a chain that may jump to ``later`` ones."""
    kept = matches(random, family, PARTS, 3)
    # A rule that matches much goes on, or those after it would never be met.
    target = random.choice(ENDING if len(kept) > 1 and random.random() < 0.6 else PASSING)
    if target in ("jump", "goto") and not later:
        target = ""
    action = f"-j {target}" if target else ""
    if target in ("jump", "goto"):
        action = f"-{target[0]} {random.choice(later)}"
    elif target == "LOG":
        action = f'-j LOG --log-prefix "{chain} "'
    elif target == "REJECT" and not any("-p tcp" in part for part in kept) and random.getrandbits(1):
        kind = "icmp-host-prohibited" if family == 4 else "icmp6-adm-prohibited"
        action = f"-j REJECT --reject-with {kind}"
    return " ".join(["-A", chain, *kept, action]).rstrip()


def ruleset(seed: int, family: int, rules: int = 40) -> str:
    """A filter table of about that many rules in FORWARD and up to five chains of its own."""
    random = Random(seed << 1 | (family == 6))
    chains = ["FORWARD", *(f"chain{number}" for number in range(random.randrange(6)))]
    lines = ["*filter", ":INPUT ACCEPT [0:0]", f":FORWARD {random.choice(('ACCEPT', 'ACCEPT', 'DROP'))} [0:0]"]
    lines += [":OUTPUT ACCEPT [0:0]", *(f":{chain} - [0:0]" for chain in chains[1:])]
    for place, chain in enumerate(chains):
        count = rules // 2 if place == 0 and len(chains) > 1 else max(1, rules // 2 // max(1, len(chains) - 1))
        lines += [rule(random, chain, chains[place + 1 :], family) for _ in range(count)]
    return "\n".join([*lines, "COMMIT", ""])


EXEMPTING = ("CT --notrack", "CT --notrack", "CT --zone 1", "CT --zone 2", "CT --zone 3", "ACCEPT", "")
MARKING = (
    "MARK --set-xmark 0x1/0x3",
    "MARK --set-xmark 0x2/0xffffffff",
    "MARK --set-xmark 0x0/0xffffffff",
    "CONNMARK --set-xmark 0x4/0xffffffff",
    "CONNMARK --set-xmark 0x8/0x8",
    "CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff",
    "CONNMARK --save-mark --nfmask 0x3 --ctmask 0x7",
    "CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff",
    "CONNMARK --restore-mark --nfmask 0xff --ctmask 0xf",
    "ACCEPT",
)


def connection_mark(random: Random, _: int) -> str:
    return f"-m connmark {maybe_not(random)}--mark {random.choice(('0x0', '0x4', '0x8/0x8', '0x1/0x3'))}"


def tables(seed: int, family: int, rules: int = 40) -> str:
    """A raw table that exempts and zones, a mangle table that marks, and a filter table that judges by it all."""
    random = Random(~seed << 1 | (family == 6))
    lines = ["*raw", ":PREROUTING ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]"]
    for _ in range(random.randrange(4)):
        target = random.choice(EXEMPTING)
        lines.append(" ".join(["-A PREROUTING", *(matches(random, family, STATELESS, 3) or ["-i lo"])]))
        lines[-1] += f" -j {target}" if target else ""
    lines += ["COMMIT", "*mangle"]
    chains = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
    lines += [f":{chain} ACCEPT [0:0]" for chain in chains]
    for chain in ("PREROUTING", "FORWARD"):
        for _ in range(random.randrange(6)):
            kept = matches(random, family, (*PARTS, mark, connection_mark, connection_mark), 3)
            if chain == "PREROUTING":  # where a packet leaves is not known yet
                kept = [part for part in kept if "-o " not in part]
            lines.append(" ".join(["-A", chain, *kept, "-j", random.choice(MARKING)]))
    return "\n".join([*lines, "COMMIT", ruleset(seed, family, rules)])
