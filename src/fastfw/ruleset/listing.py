"""Chains as `iptables -L` lists them; addresses are never looked up."""

from __future__ import annotations

from collections.abc import Iterator

from fastfw.ruleset.address import Interface, Network, address_text, mask_length, network_text
from fastfw.ruleset.command import Command
from fastfw.ruleset.describe import describe
from fastfw.ruleset.ext.ct import NoTrack
from fastfw.ruleset.ext.standard import VERDICTS, Jump
from fastfw.ruleset.model import Chain, Rule
from fastfw.ruleset.names import protocol_name


def _count(value: int) -> str:
    """A counter in thousands, millions and so on once it has more than five digits."""
    if value <= 99_999:
        return str(value)
    for letter in "KMG":
        value = (value + 500) // 1000
        if value <= 9999:
            return f"{value}{letter}"
    return f"{(value + 500) // 1000}T"


def _counts(packets: int, count: int, exact: bool) -> str:
    if exact:
        return f"{packets:>8} {count:>8} "
    return f"{_count(packets):>5} {_count(count):>5} "


def _address(network: Network | None, numeric: bool, family: int) -> str:
    """The inversion sign or a blank, then the address in its column."""
    if network is None or not (network.mask or network.invert):
        return f" {('0.0.0.0/0' if family == 4 else '::/0') if numeric else 'anywhere':<19} "
    full = mask_length(network.mask, family) == (32 if family == 4 else 128)
    text = address_text(network.value, family) if full else network_text(network.value, network.mask, family)
    return f"{'!' if network.invert else ' '}{text:<19} "


def _interface(interface: Interface | None, numeric: bool) -> str:
    shown = ("*" if numeric else "any") if interface is None else "!" * interface.invert + str(interface)
    return f"{shown:<6} "


def _rule(rule: Rule, number: int, command: Command, family: int) -> str:
    numeric = command.numeric
    out = f"{number:<4} " if command.line_numbers else ""
    if command.verbose:
        out += _counts(rule.packets, rule.bytes, command.exact)
    target = rule.target
    name = "" if target is None else target.chain if isinstance(target, Jump) else target.name
    if isinstance(target, NoTrack):
        name = "CT"
    protocol = str(rule.protocol) if numeric else protocol_name(rule.protocol) if rule.protocol else "all"
    fragment = ("!f" if rule.fragment_invert else "-f") if rule.fragment else "--"
    out += f"{name:<9} {'!' if rule.protocol_invert else ' '}{protocol:<4} {fragment} "
    if command.verbose:
        out += f" {_interface(rule.in_interface, numeric)}{_interface(rule.out_interface, numeric)}"
    out += _address(rule.source, numeric, family) + _address(rule.destination, numeric, family)
    if rule.goto:
        out += "[goto] "
    words = [describe(match, numeric, family) for match in rule.matches]
    if target is not None and not isinstance(target, Jump) and target.name not in VERDICTS:
        words.append(describe(target, numeric, family))
    return out + "".join(f" {word}" for word in words if word) + "\n"


def list_chain(chain: Chain, references: int, command: Command, family: int) -> Iterator[str]:
    """A chain's header, its columns and its rules; the options that say how are the command's."""
    if not command.number:
        if chain.policy is None:
            yield f"Chain {chain.name} ({references} references)\n"
        else:
            counts = ""
            if command.verbose:
                both = (chain.packets, chain.bytes)
                packets, count = both if command.exact else map(_count, both)
                counts = f" {packets} packets, {count} bytes"
            yield f"Chain {chain.name} (policy {chain.policy}{counts})\n"
        head = "num  " if command.line_numbers else ""
        if command.verbose:
            head += f"{'pkts':>8} {'bytes':>10} " if command.exact else f"{'pkts':>5} {'bytes':>5} "
        head += "target     prot opt "
        if command.verbose:
            head += "in     out     "
        yield f"{head}{'source':<20} {'destination':<20}\n"
    for number, rule in enumerate(chain.rules, 1):
        if not command.number or command.number == number:
            yield _rule(rule, number, command, family)
