"""Chains as `iptables -L` lists them."""

from __future__ import annotations

from collections.abc import Iterator

from fastfw.ruleset.address import Network, address_text, mask_length, network_text
from fastfw.ruleset.ext.standard import Jump
from fastfw.ruleset.grammar import Command
from fastfw.ruleset.model import Chain, Rule
from fastfw.ruleset.names import protocol_name

_UNITS = ((10**5, 1, ""), (10**7, 10**3, "K"), (10**10, 10**6, "M"), (10**13, 10**9, "G"))


def _count(value: int, exact: bool) -> str:
    """A counter, shortened to thousands and more unless exact."""
    if exact:
        return str(value)
    for below, unit, letter in _UNITS:
        if value < below:
            return f"{(value + unit // 2) // unit}{letter}"
    return f"{(value + 5 * 10**11) // 10**12}T"


def _address(network: Network | None, family: int) -> str:
    if network is None or (not network.mask and not network.invert):
        return "0.0.0.0/0" if family == 4 else "::/0"
    full = mask_length(network.mask, family) == (32 if family == 4 else 128)
    text = address_text(network.value, family) if full else network_text(network.value, network.mask, family)
    return "!" * network.invert + text


def _options(rule: Rule, family: int) -> str:
    if family == 6:
        return "  "
    if not rule.fragment:
        return "--"
    return "!f" if rule.fragment_invert else "-f"


def _protocol(rule: Rule, numeric: bool) -> str:
    name = "all" if not rule.protocol else protocol_name(rule.protocol)
    if numeric:
        name = str(rule.protocol) if rule.protocol else "0"
    return "!" * rule.protocol_invert + name


def _rule(rule: Rule, number: int, command: Command, family: int) -> str:
    out = f"{number:<4} " if command.line_numbers else ""
    if command.verbose:
        width = 20 if command.exact else 8
        packets = _count(rule.packets, command.exact)
        count = _count(rule.bytes, command.exact)
        out += f"{packets:>{width if command.exact else 5}} {count:>{width if command.exact else 5}} "
    target = rule.target
    name = target.chain if isinstance(target, Jump) else target.name if target is not None else ""
    out += f"{name:<9} {_protocol(rule, command.numeric):<4} {_options(rule, family)} "
    if command.verbose:
        for interface in (rule.in_interface, rule.out_interface):
            shown = "*" if interface is None else "!" * interface.invert + str(interface)
            out += f"{shown:<6} "
    out += f"{_address(rule.source, family):<20} {_address(rule.destination, family):<20}"
    if rule.goto:
        out += " [goto]"
    details = "".join(f" {match.name}{match.save(family)}" for match in rule.matches)
    if target is not None and not isinstance(target, Jump):
        details += target.save(family)
    return f"{out}{details}\n"


def list_chain(chain: Chain, references: int, command: Command, family: int) -> Iterator[str]:
    """A chain's header, its columns and its rules; the options that say how are the command's."""
    if not command.number:
        if chain.policy is None:
            yield f"Chain {chain.name} ({references} references)\n"
        else:
            counts = ""
            if command.verbose:
                packets, count = _count(chain.packets, command.exact), _count(chain.bytes, command.exact)
                counts = f" {packets} packets, {count} bytes"
            yield f"Chain {chain.name} (policy {chain.policy}{counts})\n"
        head = f"{'num':<4} " if command.line_numbers else ""
        if command.verbose:
            width = 20 if command.exact else 5
            head += f"{'pkts':>{width}} {'bytes':>{width}} "
        head += f"{'target':<9} {'prot':<4} {'opt':<3}"
        if command.verbose:
            head += f" {'in':<6} {'out':<6}"
        yield f"{head} {'source':<20} {'destination':<20}\n"
    for number, rule in enumerate(chain.rules, 1):
        if not command.number or command.number == number:
            yield _rule(rule, number, command, family)
