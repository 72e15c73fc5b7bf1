"""What a command does to a ruleset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fastfw.ruleset.command import Command, Misplaced
from fastfw.ruleset.errors import Refusal, RulesetError
from fastfw.ruleset.ext.standard import Jump
from fastfw.ruleset.grammar import parse
from fastfw.ruleset.listing import list_chain
from fastfw.ruleset.model import TABLES, Chain, Rule, Ruleset, Table
from fastfw.ruleset.verify import verify


def parse_command(args: Sequence[str], ruleset: Ruleset) -> Command:
    """The arguments of iptables(8) as a command on a ruleset whose chains may be jumped to.

    Misplaced (a Refusal with `.word`, counted from 0): they are no command.
    """
    name = "filter"
    for index, word in enumerate(args):
        if "\0" in word:
            raise Misplaced("an argument with a NUL character: no program can be given one", index)
        if word in ("-t", "--table") and index + 1 < len(args):
            name = args[index + 1]
        elif word[:2] == "-t" and len(word) > 2:
            name = word[2:]
        elif word.startswith("--table="):
            name = word[8:]
    table = ruleset.tables.get(name)
    chains = {chain.name for chain in table.chains.values() if chain.policy is None} if table else set()
    command = parse(args, ruleset.family, chains)
    if command.table not in TABLES:
        raise Misplaced(f"no table `{command.table}': expected {', '.join(TABLES)}", 0)
    return command


def apply(command: Command, ruleset: Ruleset) -> str:
    """Do what a command asks; the text it prints (-L, -S) or "". Refusal: it cannot be done, nothing was changed.

    The kernel's own checks are `Ruleset.check`'s business.
    """
    if command.other_family:
        return ""
    table = ruleset.tables.get(command.table)
    if table is None:
        table = Table.empty(command.table)
    printed = _ACTIONS[command.action](command, table, ruleset)
    if command.action not in "LSC":
        ruleset.tables[command.table] = table
    return printed


def run(args: Sequence[str], ruleset: Ruleset) -> str:
    """One iptables(8) command line on a ruleset, all or nothing: the text it prints, or "".

    Refusal: it is no command (then a `Misplaced` with `.word`), it cannot be done, or the kernel would not load the
    table it leaves.
    """
    command = parse_command(args, ruleset)
    before = ruleset.tables.get(command.table)
    kept = [
        (chain, list(chain.rules), chain.policy, chain.packets, chain.bytes)
        for chain in (before.chains.values() if before is not None else ())
    ]
    printed = apply(command, ruleset)
    if command.action not in CHANGING:
        return printed
    try:
        verify(ruleset.tables[command.table], ruleset.family)
    except RulesetError as fault:
        if before is None:
            del ruleset.tables[command.table]
        for chain, rules, policy, packets, count in kept:
            chain.rules[:] = rules
            chain.policy, chain.packets, chain.bytes = policy, packets, count
        raise Refusal(fault.reason) from None
    return printed


CHANGING = frozenset("AIRD")
"""The commands after which the kernel may refuse the table: those that bring rules, or take away one that kept others
out of reach."""


def chain_of(table: Table, name: str) -> Chain:
    """A table's chain. Refusal: it has none of that name."""
    chain = table.chains.get(name)
    if chain is None:
        raise Refusal(f"no chain `{name}' in table {table.name}")
    return chain


def _no_nat_drop(command: Command, table: Table) -> None:
    if table.name == "nat" and any(rule.target is not None and rule.target.name == "DROP" for rule in command.rules):
        raise Refusal("table nat is not for filtering: DROP cannot be used in it")


def _append(command: Command, table: Table, ruleset: Ruleset) -> str:
    chain = chain_of(table, command.chain)
    _no_nat_drop(command, table)
    chain.rules.extend(command.rules)
    return ""


def _insert(command: Command, table: Table, ruleset: Ruleset) -> str:
    chain = chain_of(table, command.chain)
    _no_nat_drop(command, table)
    at = (command.number or 1) - 1
    if at > len(chain.rules):
        raise Refusal(f"rule number {command.number} is too big: chain {chain.name} has {len(chain.rules)} rules")
    chain.rules[at:at] = reversed(command.rules)
    return ""


def _index(chain: Chain, number: int) -> int:
    if number > len(chain.rules):
        raise Refusal(f"rule number {number} is too big: chain {chain.name} has {len(chain.rules)} rules")
    return number - 1


def _replace(command: Command, table: Table, ruleset: Ruleset) -> str:
    chain = chain_of(table, command.chain)
    _no_nat_drop(command, table)
    chain.rules[_index(chain, command.number)] = command.rules[0]
    return ""


def _find(chain: Chain, rule: Rule, taken: set[int]) -> int:
    for index, other in enumerate(chain.rules):
        if index not in taken and rule.same(other):
            return index
    raise Refusal(f"no such rule in chain {chain.name}")


def _delete(command: Command, table: Table, ruleset: Ruleset) -> str:
    chain = chain_of(table, command.chain)
    if command.number:
        del chain.rules[_index(chain, command.number)]
        return ""
    taken: set[int] = set()
    for rule in command.rules:
        taken.add(_find(chain, rule, taken))
    chain.rules[:] = [rule for index, rule in enumerate(chain.rules) if index not in taken]
    return ""


def _check(command: Command, table: Table, ruleset: Ruleset) -> str:
    chain = chain_of(table, command.chain)
    for rule in command.rules:
        _find(chain, rule, set())
    return ""


def _chains(command: Command, table: Table) -> list[Chain]:
    return [chain_of(table, command.chain)] if command.chain else list(table.printed())


def _flush(command: Command, table: Table, ruleset: Ruleset) -> str:
    for chain in _chains(command, table):
        chain.rules.clear()
    return ""


def _zero(command: Command, table: Table, ruleset: Ruleset) -> str:
    for chain in _chains(command, table):
        if command.number:
            rule = chain.rules[_index(chain, command.number)]
            rule.packets = rule.bytes = 0
            continue
        chain.zero()
    return ""


def _new(command: Command, table: Table, ruleset: Ruleset) -> str:
    if command.chain in table.chains:
        raise Refusal(f"chain `{command.chain}' already exists")
    table.chains[command.chain] = Chain(command.chain)
    return ""


def _references(table: Table) -> dict[str, int]:
    counts: dict[str, int] = {}
    for chain in table.chains.values():
        for rule in chain.rules:
            if isinstance(rule.target, Jump):
                counts[rule.target.chain] = counts.get(rule.target.chain, 0) + 1
    return counts


def _remove(command: Command, table: Table, ruleset: Ruleset) -> str:
    references = _references(table)
    if command.chain:
        chain = chain_of(table, command.chain)
        if chain.policy is not None:
            raise Refusal(f"chain {chain.name} is built in")
        chosen = [chain]
    else:
        chosen = [chain for chain in table.chains.values() if chain.policy is None]
    for chain in chosen:
        if references.get(chain.name):
            raise Refusal(f"chain {chain.name} is still jumped to")
        if chain.rules:
            raise Refusal(f"chain {chain.name} is not empty")
    for chain in chosen:
        del table.chains[chain.name]
    return ""


def _rename(command: Command, table: Table, ruleset: Ruleset) -> str:
    chain = chain_of(table, command.chain)
    if chain.policy is not None:
        raise Refusal(f"chain {chain.name} is built in")
    if command.name in table.chains:
        raise Refusal(f"chain `{command.name}' already exists")
    table.chains = {(command.name if name == chain.name else name): other for name, other in table.chains.items()}
    for other in table.chains.values():
        for rule in other.rules:
            if isinstance(rule.target, Jump) and rule.target.chain == chain.name:
                rule.target.chain = command.name
    chain.name = command.name
    return ""


def _policy(command: Command, table: Table, ruleset: Ruleset) -> str:
    chain = chain_of(table, command.chain)
    if chain.policy is None:
        raise Refusal(f"chain {chain.name} is not built in and has no policy")
    if command.name not in ("ACCEPT", "DROP"):
        raise Refusal(f"bad policy `{command.name}': expected ACCEPT or DROP")
    if table.name == "nat" and command.name == "DROP":
        raise Refusal("table nat is not for filtering: DROP cannot be used in it")
    chain.policy = command.name
    if command.counters is not None:
        chain.packets, chain.bytes = command.counters
    return ""


def _specs(command: Command, table: Table, ruleset: Ruleset) -> Iterator[str]:
    chains = _chains(command, table)

    def counted(packets: int, count: int) -> str:
        return f" -c {packets} {count}" if command.verbose else ""

    if not command.number:
        for chain in chains:
            if chain.policy is None:
                yield f"-N {chain.name}\n"
            else:
                yield f"-P {chain.name} {chain.policy}{counted(chain.packets, chain.bytes)}\n"
    for chain in chains:
        for number, rule in enumerate(chain.rules, 1):
            if not command.number or command.number == number:
                text = rule.save(ruleset.family)
                if command.verbose:
                    at = text.rfind(" -g " if rule.goto else " -j ") if rule.target is not None else len(text)
                    text = text[:at] + counted(rule.packets, rule.bytes) + text[at:]
                yield f"-A {chain.name}{text}\n"


def _list_rules(command: Command, table: Table, ruleset: Ruleset) -> str:
    text = "".join(_specs(command, table, ruleset))
    if command.zero:
        _zero(command, table, ruleset)
    return text


def _list(command: Command, table: Table, ruleset: Ruleset) -> str:
    references = _references(table)
    if command.number:
        chain = chain_of(table, command.chain)
        if command.number > len(chain.rules):
            return ""
    listed = [
        "".join(list_chain(chain, references.get(chain.name, 0), command, ruleset.family))
        for chain in _chains(command, table)
    ]
    if command.zero:
        _zero(command, table, ruleset)
    return "\n".join(listed)


_ACTIONS = {
    "A": _append,
    "I": _insert,
    "R": _replace,
    "D": _delete,
    "C": _check,
    "F": _flush,
    "Z": _zero,
    "N": _new,
    "X": _remove,
    "E": _rename,
    "P": _policy,
    "S": _list_rules,
    "L": _list,
}
