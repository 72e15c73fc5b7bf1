"""A ruleset into the core's program.

The tables' chains are laid one after another; a match becomes predicates, a target an action. The table nat is left
out: addresses are not rewritten here.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from fastfw.core.amounts import Kept
from fastfw.core.program import ACTIONS, LAYOUT, OPS, Point
from fastfw.core.rules import Rules
from fastfw.core.terms import Hook
from fastfw.declared import Declared, declare
from fastfw.ruleset.collector import no_collection
from fastfw.ruleset.errors import Refusal, RulesetError
from fastfw.ruleset.ext.ct import Ct
from fastfw.ruleset.ext.standard import Jump
from fastfw.ruleset.lower.matches import MATCHES
from fastfw.ruleset.lower.program import Assembly, Predicate, Unknown, predicate
from fastfw.ruleset.lower.targets import TARGETS, Act
from fastfw.ruleset.model import Chain, Rule, Ruleset
from fastfw.sets.store import Store

PREDICATE = struct.Struct("<BBHIIII")
RULE = struct.Struct("<IIHHBbHIIII")

if PREDICATE.size != LAYOUT["Predicate"] or RULE.size != LAYOUT["Rule"]:
    raise ImportError("fastfw.ruleset.compile: the core lays out its program differently")

EVALUATED = ("raw", "mangle", "filter", "security")
"""Tables that judge packets, in the order in which the kernel asks them at one point."""

WAY: dict[int, tuple[tuple[str, Point], ...]] = {
    int(Hook.HOOK_FORWARD): (
        ("PREROUTING", Point.POINT_PREROUTING),
        ("FORWARD", Point.POINT_FORWARD),
        ("POSTROUTING", Point.POINT_POSTROUTING),
    ),
    int(Hook.HOOK_INPUT): (("PREROUTING", Point.POINT_PREROUTING), ("INPUT", Point.POINT_INPUT)),
    int(Hook.HOOK_OUTPUT): (("OUTPUT", Point.POINT_OUTPUT), ("POSTROUTING", Point.POINT_POSTROUTING)),
}
"""The built-in chains a packet meets, by hook."""

STEADY, STATEFUL = OPS["STEADY"], OPS["STATEFUL"]
NO_ACTION: Act = (ACTIONS["NEXT"], 0, 0, 0)
FINAL = {"ACCEPT": ACTIONS["ACCEPT"], "DROP": ACTIONS["DROP"], None: ACTIONS["END"]}


def steady_first(predicates: Sequence[Predicate]) -> tuple[list[Predicate], int]:
    """The predicates with those about the connection first, and how many these are. What remembers being asked is asked
    neither earlier nor more often."""
    fixed = next((i for i, p in enumerate(predicates) if p[0] > STATEFUL), len(predicates))
    steady = [p for p in predicates[:fixed] if p[0] < STEADY]
    varying = [p for p in predicates[:fixed] if p[0] > STEADY]
    return [*steady, *varying, *predicates[fixed:]], len(steady)


class Compiler:
    """One ruleset on its way into arrays."""

    def __init__(
        self,
        ruleset: Ruleset,
        helper_number: Callable[[str], int],
        declared: Declared | None = None,
        template: Callable[[Ct, Assembly], int] = lambda target, assembly: 0,
        sets: Store | None = None,
    ) -> None:
        self.ruleset = ruleset
        self.sets = sets
        self.assembly = Assembly(
            ruleset.family, helper_number=helper_number, template=template, declared=declared or declare()
        )
        if sets is not None:
            self.assembly.set_number = sets.number
        self.rules = bytearray()
        self.predicates = bytearray()
        self.counters = array("Q")
        self.first_of: dict[tuple[str, str], int] = {}
        self.chains: list[tuple[str, str, int, int]] = []

    def place_chains(self) -> None:
        """Give every chain its place."""
        first = 0
        for name in EVALUATED:
            table = self.ruleset.tables.get(name)
            for chain in table.chains.values() if table is not None else ():
                end = first + len(chain.rules)
                self.first_of[name, chain.name] = first
                self.chains.append((name, chain.name, first, end))
                first = end + 1

    def conditions(self, rule: Rule) -> list[Predicate]:
        """What a rule asks, in the kernel's order. Refusal: it cannot be known here."""
        assembly = self.assembly
        found: list[Predicate] = []
        for network, op in ((rule.source, "SOURCE"), (rule.destination, "TARGET")):
            if network is not None and (network.mask or network.invert):
                found.append(assembly.network(op, network.value, network.mask, invert=network.invert))
        for interface, op in ((rule.in_interface, "IIF"), (rule.out_interface, "OIF")):
            if interface is not None and interface.name:
                number = assembly.pattern(interface.name, interface.wildcard)
                found.append(predicate(op, number, invert=interface.invert))
        if rule.protocol:
            found.append(predicate("PROTOCOL", rule.protocol, invert=rule.protocol_invert))
        if rule.fragment:
            found.append(predicate("FRAGMENT", invert=rule.fragment_invert))
        for match in rule.matches:
            lower = MATCHES.get(type(match))
            if lower is None:
                raise Refusal(f"match `{match.name}' cannot be evaluated")
            try:
                found += lower(match, assembly)
            except Unknown as why:
                found += self.assumed(match.name, str(why))
        return found

    def assumed(self, name: str, why: str) -> list[Predicate]:
        """What stands for a match that only the host's kernel can answer: nothing where it is taken to hold."""
        holds = self.assembly.declared.assume.get(name)
        if holds is None:
            self.assembly.notice(f"match `{name}' is taken not to hold unless told otherwise: {why}")
        return [] if holds else [predicate("NEVER")]

    def action(self, table: str, rule: Rule) -> Act:
        """What a rule does. Refusal: it cannot be done here."""
        target = rule.target
        if target is None:
            return NO_ACTION
        if isinstance(target, Jump):
            return ACTIONS["GOTO" if rule.goto else "JUMP"], 0, self.first_of[table, target.chain], 0
        lower = TARGETS.get(type(target))
        if lower is None:
            raise Refusal(f"target `{target.name}' cannot be carried out")
        return lower(target, self.assembly)

    def write_predicates(self, predicates: Sequence[Predicate]) -> int:
        """Their place."""
        place = len(self.predicates) // PREDICATE.size
        for values in predicates:
            self.predicates += PREDICATE.pack(*values)
        return place

    def write_chain(self, table: str, chain: Chain, end: int) -> None:
        """A chain's rules and its end."""
        for rule in chain.rules:
            self.assembly.place = rule.line, rule.column
            self.assembly.protocol = 0 if rule.protocol_invert else rule.protocol or 0
            try:
                conditions = self.conditions(rule)
                act = self.action(table, rule)
            except ValueError as refusal:
                raise RulesetError(str(refusal), rule.line, rule.column) from None
            ordered, steady = steady_first(conditions)
            action, shift, a, b = act
            first = self.write_predicates(conditions)
            second = first if ordered == conditions else self.write_predicates(ordered)
            count = len(conditions)
            self.rules += RULE.pack(first, second, count, steady, action, shift, count, second, a, b, end)
            self.counters.append(rule.packets)
            self.counters.append(rule.bytes)
        self.rules += RULE.pack(0, 0, 0, 0, FINAL[chain.policy], 0, 0, 0, 0, 0, end)
        self.counters.append(chain.packets)
        self.counters.append(chain.bytes)

    def notice_nat(self) -> None:
        """Say that addresses stay as they are, where a rule would have the kernel rewrite them."""
        nat = self.ruleset.tables.get("nat")
        rules = [rule for chain in nat.chains.values() for rule in chain.rules] if nat is not None else []
        if rules:
            first = min(rules, key=lambda rule: (rule.line, rule.column))
            self.assembly.place = first.line, first.column
            self.assembly.notice("table nat is kept but not evaluated: addresses are not rewritten here")

    def stages(self) -> list[tuple[int, int, int, int, str]]:
        """(hook, point, first rule, policy, table) of every built-in chain on each way, in order."""
        end_of = {(table, chain): end for table, chain, _first, end in self.chains}
        found = []
        for hook, way in WAY.items():
            for chain, point in way:
                for table in EVALUATED:
                    first = self.first_of.get((table, chain))
                    if first is not None:
                        found.append((hook, int(point), first, end_of[table, chain], table))
        return found

    def compiled(self, remember: bool, classify: bool) -> Rules:
        """The program."""
        self.place_chains()
        for table, name, _first, end in self.chains:
            self.write_chain(table, self.ruleset.tables[table].chains[name], end)
        self.notice_nat()
        assembly = self.assembly
        program = Rules(
            self.ruleset.family,
            self.rules,
            self.predicates,
            np.frombuffer(self.counters, np.uint8),
            np.array(assembly.words, np.uint64).view(np.uint8),
            np.array(assembly.numbers, np.uint32).view(np.uint8),
            np.array(assembly.limits, np.uint64).reshape(-1, 2),
            np.array(assembly.registers, np.uint64).view(np.uint8),
            np.array(list(assembly.recents.values()), np.uint64).reshape(-1, 3),
            self.stages(),
            tuple(self.chains),
            list(assembly.patterns),
            assembly.status_mask,
            assembly.looks_at_connmark,
            assembly.traces,
            assembly.rewrites,
            remember,
            classify,
        )
        program.keep(Kept(assembly.rate_rows(), assembly.crowd_rows()))
        if self.sets is not None:
            program.use(self.sets.core)
        program.wants_accounting = assembly.wants_accounting
        program.wants_labels = assembly.wants_labels
        program.notices = tuple((reason, *place) for reason, place in assembly.notices.items())
        program.reads_payload = assembly.reads_payload
        return program


def compile_ruleset(
    ruleset: Ruleset,
    *,
    remember: bool = True,
    classify: bool = True,
    helper_number: Callable[[str], int] = lambda name: 0,
    template: Callable[[Ct, Assembly], int] = lambda target, assembly: 0,
    declared: Declared | None = None,
    sets: Store | None = None,
) -> Rules:
    """A ruleset as the core evaluates it, its counters included.

    `helper_number` gives the engine's number of a helper, `template` that of what a CT rule asks; either may refuse
    with a ValueError; `declared` is what the engine was told of its host, `sets` the sets that rules may name.
    Without `remember` no packet's path is kept for the next one of its connection: every packet is walked through the
    rules. Without `classify` a walk asks every rule on its way. The decisions are the same. RulesetError: the kernel
    would refuse the ruleset, or a rule asks or does what cannot be known or done here.
    """
    with no_collection():
        ruleset.check()
        return Compiler(ruleset, helper_number, declared, template, sets).compiled(remember, classify)


def write_counters(ruleset: Ruleset, program: Rules, counters: npt.NDArray[np.uint64]) -> None:
    """Set the counters of a ruleset's rules and policies to its compiled program's."""
    values = counters.tolist()
    for table, name, first, end in program.chains:
        chain = ruleset.tables[table].chains[name]
        for rule, (packets, size) in zip(chain.rules, values[first:end], strict=True):
            rule.packets, rule.bytes = packets, size
        if chain.policy is not None:
            chain.packets, chain.bytes = values[end]
