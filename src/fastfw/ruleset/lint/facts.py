"""What a rule asks, in a form in which two rules can be compared: sets of numbers, interface patterns, and the rest.

The comparison is careful: what is not understood is never said to imply, or to exclude, anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from fastfw.ruleset.address import FULL_MASK, Interface, Network, mask_length
from fastfw.ruleset.ext.base import Match
from fastfw.ruleset.ext.comment import Comment
from fastfw.ruleset.ext.conntrack import STATES, Conntrack, State
from fastfw.ruleset.ext.icmp import Icmp, Icmp6
from fastfw.ruleset.ext.iprange import IpRange
from fastfw.ruleset.ext.length import Length
from fastfw.ruleset.ext.multiport import Multiport
from fastfw.ruleset.ext.tcp import ALL_PORTS, Tcp
from fastfw.ruleset.ext.udp import Udp
from fastfw.ruleset.model import Rule

Ranges = tuple[tuple[int, int], ...]
"""Inclusive ranges of numbers, ascending, neither overlapping nor touching."""

STATE_ORDER = tuple(sorted(STATES, key=lambda name: STATES[name]))
"""The states by their number in the field `state`."""

ALL_STATES = sum(STATES.values())
ANY_ICMP = 255
TCP_FLAG_BITS = 0x3F

# fmt: off
STEADY = frozenset({
    "addrtype", "ah", "conntrack", "cpu", "dccp", "devgroup", "dst", "esp", "eui64", "frag", "hbh", "helper", "icmp",
    "icmp6", "ipcomp", "iprange", "ipv6header", "length", "mac", "mh", "multiport", "owner", "physdev", "pkttype",
    "policy", "realm", "rpfilter", "rt", "sctp", "state", "tcp", "udp",
})
"""Matches whose answer is the same wherever in a chain a packet is asked: they read the packet, its way and its
connection, and no target changes what they read."""

CHANGEABLE = frozenset({"bpf", "connmark", "dscp", "ecn", "hl", "mark", "string", "tcpmss", "tos", "ttl", "u32"})
"""Matches that read what a target may have changed on the way: their answer lasts until such a target is met."""
# fmt: on


def joined(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Any ranges as Ranges; empty ones (the first number above the last) are left out."""
    result: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if low > high:
            continue
        if result and low <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(high, result[-1][1]))
        else:
            result.append((low, high))
    return tuple(result)


def complement(ranges: Ranges, highest: int) -> Ranges:
    """The numbers from 0 to `highest` that are not in `ranges`."""
    result = []
    low = 0
    for start, end in ranges:
        if low < start:
            result.append((low, start - 1))
        low = end + 1
    if low <= highest:
        result.append((low, highest))
    return tuple(result)


def common(one: Ranges, other: Ranges) -> Ranges:
    """The numbers in both."""
    return joined((max(a, c), min(b, d)) for a, b in one for c, d in other)


def within(one: Ranges, other: Ranges) -> bool:
    """Whether every number of `one` is in `other`."""
    return all(any(c <= a and b <= d for c, d in other) for a, b in one)


@dataclass(slots=True)
class Facts:
    """All that must hold of a packet for a rule to match.

    `ranges` holds the numbers allowed by field. `atoms` are conditions that are only ever equal or not; `changeable`
    those of them that a target on the way may overturn. `unsteady`: the answer depends on more than the packet, so the
    rule may fail where it holds now. `whole`: a match reads the transport header, so no later fragment can hold.
    """

    ranges: dict[str, Ranges] = field(default_factory=dict)
    interfaces: dict[str, list[Interface]] = field(default_factory=dict)
    atoms: set[str] = field(default_factory=set)
    changeable: set[str] = field(default_factory=set)
    either: list[Ranges] = field(default_factory=list)
    unsteady: bool = False
    whole: bool = False
    never: str = ""

    @property
    def unconditional(self) -> bool:
        """Whether every packet meets it."""
        return not (self.ranges or self.interfaces or self.atoms or self.changeable or self.unsteady or self.whole)

    def restrict(self, name: str, ranges: Ranges, highest: int, invert: bool, what: str) -> None:
        """Allow a field only these numbers; `what` is how the contradiction is told where none is left."""
        allowed = complement(ranges, highest) if invert else ranges
        before = self.ranges.get(name)
        self.ranges[name] = allowed if before is None else common(before, allowed)
        if not self.ranges[name] and not self.never:
            self.never = (
                f"no packet has {what}" if before is None else f"its conditions on the {what} exclude each other"
            )

    def states(self) -> set[str]:
        """The states its packets may have."""
        ranges = self.ranges.get("state")
        if ranges is None:
            return set(STATE_ORDER)
        return {STATE_ORDER[i] for low, high in ranges for i in range(low, high + 1)}


def facts_of(rule: Rule, family: int) -> Facts:
    """What a rule asks."""
    facts = Facts()
    bits = FULL_MASK[family]
    _network(facts, "source", "source address", rule.source, family)
    _network(facts, "destination", "destination address", rule.destination, family)
    for name, interface in (("in", rule.in_interface), ("out", rule.out_interface)):
        if interface is not None and interface.name:
            facts.interfaces[name] = [interface]
    if rule.protocol:
        facts.restrict("protocol", ((rule.protocol, rule.protocol),), 255, rule.protocol_invert, "protocol")
    if rule.fragment:
        if rule.fragment_invert:
            facts.whole = True
        else:
            facts.atoms.add("fragment")
    for match in rule.matches:
        match_facts = _MATCHES.get(type(match))
        if isinstance(match, Comment):
            continue
        if isinstance(match, IpRange):
            for name in ("source", "destination"):
                ends = getattr(match, name)
                if ends is not None:
                    facts.restrict(name, joined([ends]), bits, getattr(match, f"{name}_invert"), f"{name} address")
        elif match_facts is not None:
            match_facts(facts, match)
        elif match.name in STEADY:
            facts.atoms.add(repr(match))
        elif match.name in CHANGEABLE:
            facts.changeable.add(repr(match))
        else:
            facts.unsteady = True
    if facts.whole and "fragment" in facts.atoms and not facts.never:
        facts.never = "a later fragment has no transport header that the rule could read"
    return facts


def _network(facts: Facts, name: str, what: str, network: Network | None, family: int) -> None:
    if network is None or not (network.mask or network.invert):
        return
    if mask_length(network.mask, family) is None:
        facts.atoms.add(f"{name} {network!r}")
        return
    low = network.value & network.mask
    facts.restrict(name, ((low, low | network.mask ^ FULL_MASK[family]),), FULL_MASK[family], network.invert, what)


def _ports(facts: Facts, match: Tcp | Udp) -> None:
    facts.whole = True
    for name, what in (("sport", "source port"), ("dport", "destination port")):
        ports, invert = getattr(match, name), getattr(match, f"{name}_invert")
        if ports != ALL_PORTS or invert:
            facts.restrict(name, joined([ports]), 0xFFFF, invert, what)


def _tcp(facts: Facts, match: Tcp) -> None:
    _ports(facts, match)
    mask, wanted = match.flags
    if (mask, wanted) != (0, 0) or match.flags_invert:
        allowed = joined((flags, flags) for flags in range(TCP_FLAG_BITS + 1) if flags & mask == wanted)
        facts.restrict("flags", allowed, TCP_FLAG_BITS, match.flags_invert, "such TCP flags")
    if match.option or match.option_invert:
        facts.atoms.add(f"tcp option {match.option} {match.option_invert}")


def _icmp(facts: Facts, match: Icmp | Icmp6) -> None:
    facts.whole = True
    kind, (first, last) = match.type
    if isinstance(match, Icmp) and kind == ANY_ICMP:
        if match.invert:
            facts.restrict("icmp", (), 0xFFFF, False, "another type than any")
        return
    facts.restrict("icmp", joined([(kind << 8 | first, kind << 8 | last)]), 0xFFFF, match.invert, "such an ICMP type")


def _multiport(facts: Facts, match: Multiport) -> None:
    facts.whole = True
    ports = joined(match.ports)
    if match.side == "either":
        if match.invert:
            facts.restrict("sport", ports, 0xFFFF, True, "source port")
            facts.restrict("dport", ports, 0xFFFF, True, "destination port")
        else:
            facts.either.append(ports)
            facts.atoms.add(f"either port {ports}")
        return
    name, what = ("sport", "source port") if match.side == "source" else ("dport", "destination port")
    facts.restrict(name, ports, 0xFFFF, match.invert, what)


def _state(facts: Facts, bits: int, invert: bool) -> None:
    allowed = joined((i, i) for i, name in enumerate(STATE_ORDER) if bits & STATES[name])
    facts.restrict("state", allowed, len(STATE_ORDER) - 1, invert, "state")


def _state_match(facts: Facts, match: State) -> None:
    _state(facts, match.state, match.invert)


def _conntrack(facts: Facts, match: Conntrack) -> None:
    """Options beside the state are one condition together: without a connection they depend on each other."""
    plain = match.state is not None and not match.state & ~ALL_STATES
    if match.state is not None and plain:
        _state(facts, match.state, match.state_invert)
    if not plain or match != Conntrack(state=match.state, state_invert=match.state_invert):
        facts.atoms.add(repr(match))


def _length(facts: Facts, match: Length) -> None:
    facts.restrict("length", joined([match.length]), 0xFFFFFFFF, match.invert, "length")


_MATCHES: dict[type[Match], Callable[[Facts, Any], None]] = {
    Tcp: _tcp,
    Udp: _ports,
    Icmp: _icmp,
    Icmp6: _icmp,
    Multiport: _multiport,
    State: _state_match,
    Conntrack: _conntrack,
    Length: _length,
}


def implies(narrow: Facts, wide: Facts, *, changed: bool = True) -> bool:
    """Whether every packet that meets `narrow` also meets `wide`; `changed`: a target between them may change it."""
    if wide.unsteady or wide.never or (wide.whole and not narrow.whole):
        return False
    if wide.changeable and (changed or not wide.changeable <= narrow.changeable):
        return False
    for name, allowed in wide.ranges.items():
        have = narrow.ranges.get(name)
        if have is None or not within(have, allowed):
            return False
    for name, patterns in wide.interfaces.items():
        if not all(any(_pattern_implies(n, w) for n in narrow.interfaces.get(name, ())) for w in patterns):
            return False
    missing = wide.atoms - narrow.atoms
    if not missing:
        return True
    if not all(atom.startswith("either port ") for atom in missing):
        return False
    return all(
        any(name in narrow.ranges and within(narrow.ranges[name], ports) for name in ("sport", "dport"))
        or any(within(other, ports) for other in narrow.either)
        for ports in wide.either
    )


def _pattern_implies(narrow: Interface, wide: Interface) -> bool:
    if not wide.invert:
        return not narrow.invert and _covers(wide, narrow)
    if narrow.invert:
        return _covers(narrow, wide)
    return not _covers(wide, narrow) and not _covers(narrow, wide)


def _covers(wide: Interface, narrow: Interface) -> bool:
    """Whether every name that `narrow` means is meant by `wide`; both without their `!`."""
    if wide.wildcard:
        return narrow.name.startswith(wide.name)
    return not narrow.wildcard and narrow.name == wide.name


def exclude(one: Facts, other: Facts) -> str:
    """Why no packet can meet both, or "" where nothing says so. Only what targets cannot change is looked at."""
    for name, allowed in one.ranges.items():
        if name in other.ranges and not common(allowed, other.ranges[name]):
            return FIELDS[name]
    for name, patterns in one.interfaces.items():
        for a in patterns:
            if any(_apart(a, b) for b in other.interfaces.get(name, ())):
                return f"{name}{'going' if name == 'out' else 'coming'} interface"
    return ""


def _apart(one: Interface, other: Interface) -> bool:
    if one.invert and other.invert:
        return False
    if one.invert or other.invert:
        wanted, unwanted = (other, one) if one.invert else (one, other)
        return _covers(unwanted, wanted)
    return not _covers(one, other) and not _covers(other, one)


#: What the fields of `ranges` are called.
FIELDS = {
    "source": "source address",
    "destination": "destination address",
    "protocol": "protocol",
    "sport": "source port",
    "dport": "destination port",
    "flags": "TCP flags",
    "icmp": "ICMP type",
    "state": "state",
    "length": "length",
}
