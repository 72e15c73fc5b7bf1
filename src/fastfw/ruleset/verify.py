"""What the kernel checks when it is handed a table: loops of jumps, and extensions where they may not stand."""

from __future__ import annotations

from collections.abc import Iterator

from fastfw.ruleset.errors import Refusal, RulesetError
from fastfw.ruleset.ext.base import Extension, Site
from fastfw.ruleset.ext.standard import VERDICTS, Jump
from fastfw.ruleset.model import TABLES, Chain, Rule, Table


def _is_final(rule: Rule) -> bool:
    """Whether every packet that comes here gets a verdict, so that what follows cannot be reached."""
    return (
        type(rule.target) in _FINAL
        and not rule.matches
        and not rule.protocol
        and rule.source is None
        and rule.destination is None
        and rule.in_interface is None
        and rule.out_interface is None
        and not rule.fragment
    )


_FINAL = frozenset(VERDICTS.values())


def _jumps(chain: Chain) -> Iterator[Rule]:
    for rule in chain.rules:
        if type(rule.target) is Jump:
            yield rule
        elif _is_final(rule):
            return


def reachable(table: Table, hook: str) -> list[str]:
    """The chains that packets of a built-in chain can reach, itself first. Rules after an unconditional verdict are
    not followed, as the kernel does not. RulesetError: a jump leads back to a chain it came from."""
    seen = {hook: True}
    path = [(hook, _jumps(table.chains[hook]))]
    while path:
        name, jumps = path[-1]
        rule = next(jumps, None)
        if rule is None:
            path.pop()
            seen[name] = False  # no longer on the path
            continue
        target = rule.target
        assert isinstance(target, Jump)
        on_path = seen.get(target.chain)
        if on_path:
            raise RulesetError(f"the jump to `{target.chain}' closes a circle", rule.line, rule.column)
        if on_path is None:
            seen[target.chain] = True
            path.append((target.chain, _jumps(table.chains[target.chain])))
    return list(seen)


_unchecked: set[type[Extension] | None] = {None, Jump, *VERDICTS.values()}
"""Kinds known to stand anywhere, filled as they are met."""


def _check(extension: Extension, site: Site) -> None:
    kind = type(extension)
    if kind.check is Extension.check and not (kind.tables or kind.hooks or kind.protocols):
        _unchecked.add(kind)
        return
    try:
        extension.check(site)
    except Refusal as refusal:
        raise RulesetError(str(refusal), site.rule.line, site.rule.column) from None


def verify(table: Table, family: int) -> None:
    """RulesetError: the kernel would not load the table, with the place of the rule at fault."""
    for chain in table.chains.values():
        for rule in chain.rules:
            target = rule.target
            if type(target) is Jump:
                to = table.chains.get(target.chain)
                if to is None or to.policy is not None:
                    raise RulesetError(f"no user chain `{target.chain}' to jump to", rule.line, rule.column)
    hooks: dict[str, set[str]] = {name: set() for name in table.chains}
    for hook in TABLES[table.name]:
        if hook in table.chains:
            for name in reachable(table, hook):
                hooks[name].add(hook)
    for chain in table.chains.values():
        reached = frozenset(hooks[chain.name])
        for rule in chain.rules:
            for match in rule.matches:
                if type(match) not in _unchecked:
                    _check(match, Site(family, table.name, reached, rule))
            target = rule.target
            if type(target) not in _unchecked and target is not None:
                _check(target, Site(family, table.name, reached, rule))
            if not rule.matches and _is_final(rule):
                reached = frozenset()
