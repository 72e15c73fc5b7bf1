"""What a ruleset is made of: tables of chains of rules, and what one rule asks of a packet.

Everything here is plain and typed: addresses are integers, ranges are pairs, `!` is a boolean. Objects may be built
and changed by hand; `Ruleset.save()` writes them as iptables-save would.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from fastfw.ruleset.address import Interface, Network, network_text
from fastfw.ruleset.collector import no_collection
from fastfw.ruleset.ext.base import Match, Target
from fastfw.ruleset.ext.standard import Jump
from fastfw.ruleset.names import protocol_name

Hook = str
"""PREROUTING, INPUT, FORWARD, OUTPUT or POSTROUTING."""

TABLES: dict[str, tuple[Hook, ...]] = {
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "security": ("INPUT", "FORWARD", "OUTPUT"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
}
"""The five tables and their built-in chains, in the order in which iptables-save prints the chains."""


@dataclass(slots=True)
class Rule:
    """One rule: all its conditions must hold, then its target decides.

    `protocol` 0 means any. `fragment` (IPv4) asks for second and later fragments, inverted for all others. `goto` says
    that the target, a `Jump`, does not come back here. `line` and `column` count from 1; 0: built by hand.
    """

    source: Network | None = None
    destination: Network | None = None
    in_interface: Interface | None = None
    out_interface: Interface | None = None
    protocol: int = 0
    protocol_invert: bool = False
    fragment: bool = False
    fragment_invert: bool = False
    matches: list[Match] = field(default_factory=list)
    target: Target | None = None
    goto: bool = False
    packets: int = 0
    bytes: int = 0
    line: int = field(default=0, compare=False)
    column: int = field(default=0, compare=False)

    def same(self, other: Rule) -> bool:
        """Whether both ask and do the same, whatever they counted: what `-C` and `-D` compare."""
        return (
            self.matches == other.matches
            and self.target == other.target
            and self.goto == other.goto
            and self.protocol == other.protocol
            and self.protocol_invert == other.protocol_invert
            and self.source == other.source
            and self.destination == other.destination
            and self.in_interface == other.in_interface
            and self.out_interface == other.out_interface
            and self.fragment == other.fragment
            and self.fragment_invert == other.fragment_invert
        )

    def save(self, family: int) -> str:
        """The rule's conditions and target as iptables-save prints them after `-A CHAIN`; begins with a space."""
        out = ""
        if self.source is not None:
            out = _network(self.source, "-s", family)
        if self.destination is not None:
            out += _network(self.destination, "-d", family)
        if self.in_interface is not None:
            out += _interface(self.in_interface, "-i")
        if self.out_interface is not None:
            out += _interface(self.out_interface, "-o")
        if self.protocol:
            out += f" {'! ' * self.protocol_invert}-p {protocol_name(self.protocol)}"
        if self.fragment:
            out += " ! -f" if self.fragment_invert else " -f"
        for match in self.matches:
            out += f" -m {match.name}{match.save(family)}"
        target = self.target
        if target is None:
            return out
        if isinstance(target, Jump):
            return f"{out} -{'g' if self.goto else 'j'} {target.chain}"
        return f"{out} -j {target.name}{target.save(family)}"


def _network(network: Network, option: str, family: int) -> str:
    if not network.mask and not network.invert:
        return ""
    return f" {'! ' * network.invert}{option} {network_text(network.value & network.mask, network.mask, family)}"


def _interface(interface: Interface, option: str) -> str:
    if not interface.name:  # `+`: every interface, which is no condition; the kernel does not keep its `!`
        return ""
    return f" {'! ' * interface.invert}{option} {interface.name}{'+' * interface.wildcard}"


@dataclass(slots=True)
class Chain:
    """Rules in order. `policy` is ACCEPT or DROP and has counters; None for a user's chain."""

    name: str
    policy: str | None = None
    packets: int = 0
    bytes: int = 0
    rules: list[Rule] = field(default_factory=list)
    line: int = field(default=0, compare=False)

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.rules)

    def zero(self) -> None:
        """Let the counters of the policy and of every rule begin at zero."""
        self.packets = self.bytes = 0
        for rule in self.rules:
            rule.packets = rule.bytes = 0


@dataclass(slots=True)
class Table:
    """A table's chains: the built-in ones first, then the user's in the order they were made."""

    name: str
    chains: dict[str, Chain] = field(default_factory=dict)

    @classmethod
    def empty(cls, name: str) -> Table:
        """A table as the kernel makes it: its built-in chains, policy ACCEPT, no rule. KeyError: no such table."""
        return cls(name, {hook: Chain(hook, "ACCEPT") for hook in TABLES[name]})

    def printed(self) -> Iterator[Chain]:
        """The chains in iptables-save's order: built-in ones by hook, then the user's by the bytes of their names."""
        builtin = [self.chains[hook] for hook in TABLES.get(self.name, ()) if hook in self.chains]
        yield from builtin
        rest = [chain for chain in self.chains.values() if chain.policy is None]
        yield from sorted(rest, key=lambda chain: chain.name.encode("utf-8", "surrogateescape"))


@dataclass(slots=True)
class Ruleset:
    """One family's tables. A table that is not there is the kernel's default: empty, policy ACCEPT."""

    family: int = 4
    tables: dict[str, Table] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, family: int = 4, *, filename: str = "-") -> Ruleset:
        """Read iptables-save (family 6: ip6tables-save) text.

        RulesetError: the text is not a ruleset that iptables-restore would load, with the place and the reason.
        """
        if family not in (4, 6):
            raise ValueError(f"family: 4 or 6 expected, not {family!r}")
        ruleset = cls(family)
        ruleset.restore(text, filename=filename)
        return ruleset

    def restore(self, text: str, *, noflush: bool = False, filename: str = "-") -> None:
        """Load a text as iptables-restore does: its tables replace those of the same name, or with `noflush` add to
        them. RulesetError leaves the ruleset as it was."""
        from fastfw.ruleset.reader import read

        if not isinstance(text, str):
            raise TypeError(f"a ruleset's text as str expected, not {type(text).__name__}")
        with no_collection():
            self.tables.update(read(text, self, noflush=noflush, filename=filename))

    def save(self, counters: bool = False) -> str:
        """The text that iptables-save (with -c if `counters`) prints for these tables, without dates."""
        from fastfw.ruleset.writer import write

        return write(self, counters)

    def table(self, name: str) -> Table:
        """The table, made with its built-in chains if it is not there. KeyError: there is no such table."""
        if name not in self.tables:
            self.tables[name] = Table.empty(name)
        return self.tables[name]

    def check(self) -> None:
        """What the kernel would refuse when loading these tables: RulesetError with the rule's place."""
        from fastfw.ruleset.verify import verify

        for table in self.tables.values():
            verify(table, self.family)
