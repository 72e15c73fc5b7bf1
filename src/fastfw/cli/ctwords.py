"""conntrack(8)'s command line: which connections are meant, and what is to become of them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from fastfw.cli.errors import CliError
from fastfw.connection import ICMP, ICMPV6, SCTP, TCP, Connection
from fastfw.core.reasons import SCTP_STATES, TCP_STATES
from fastfw.listing import PROTOCOL_NUMBERS, SAVED_STATUS

COMMANDS = {
    "-L": "L", "--dump": "L", "-G": "G", "--get": "G", "-D": "D", "--delete": "D", "-I": "I", "--create": "I",
    "-U": "U", "--update": "U", "-E": "E", "--event": "E", "-F": "F", "--flush": "F", "-C": "C", "--count": "C",
    "-S": "S", "--stats": "S", "-A": "A", "--add": "A", "-R": "R", "--load-file": "R",
}  # fmt: skip
TABLES = ("conntrack", "expect")

OPTIONS = {
    "-s": "source", "--src": "source", "--orig-src": "source",
    "-d": "destination", "--dst": "destination", "--orig-dst": "destination",
    "-r": "reply_source", "--reply-src": "reply_source", "-q": "reply_destination", "--reply-dst": "reply_destination",
    "-p": "protocol", "--proto": "protocol", "--protonum": "protocol", "-f": "family", "--family": "family",
    "--sport": "sport", "--orig-port-src": "sport", "--dport": "dport", "--orig-port-dst": "dport",
    "--reply-port-src": "reply_sport", "--reply-port-dst": "reply_dport", "--state": "state",
    "--icmp-type": "type", "--icmp-code": "code", "--icmp-id": "id",
    "--icmpv6-type": "type", "--icmpv6-code": "code", "--icmpv6-id": "id",
    "--srckey": "sport", "--dstkey": "dport",
    "--orig-vtag": "tag", "--reply-vtag": "reply_tag",
    "-t": "timeout", "--timeout": "timeout", "-u": "status", "--status": "status", "-m": "mark", "--mark": "mark",
    "-w": "zone", "--zone": "zone", "-o": "output", "--output": "output", "-e": "events", "--event-mask": "events",
    "-b": "buffer", "--buffer-size": "buffer",
}  # fmt: skip
FLAGS = {"-z": "zero", "--zero": "zero"}

ABSENT = (
    "-n", "--src-nat", "-g", "--dst-nat", "-j", "--any-nat",
)  # fmt: skip
"""Options about translated addresses, of which no connection here has one: their value may be left out."""

OUTPUTS = ("extended", "id", "save", "timestamp", "ktimestamp", "xml")
STATUSES = {**SAVED_STATUS, "UNREPLIED": 0, "UNSET": 0}
EVENTS = {"NEW": {"NEW"}, "UPDATES": {"UPDATE"}, "DESTROY": {"DESTROY"}, "ALL": {"NEW", "UPDATE", "DESTROY"}}

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass
class Words:
    """What a command line asks for; a filter that is None lets everything through."""

    command: str = ""
    file: str = ""
    table: str = "conntrack"
    networks: dict[str, Network] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    protocol: int | None = None
    family: int | None = None
    state: str | None = None
    status: list[str] = field(default_factory=list)
    mark: int | None = None
    mask: int = 0xFFFFFFFF
    output: frozenset[str] = frozenset()
    events: frozenset[str] = frozenset(("NEW", "UPDATE", "DESTROY"))
    translated: bool = False
    zero: bool = False

    def wants(self, connection: Connection, *, marked: bool = True) -> bool:
        """Whether a connection is meant; `marked`: the mark selects (for an update it is the new one)."""
        c = connection
        if self.translated or (self.family not in (None, c.family)) or self.protocol not in (None, c.protocol):
            return False
        ends = {
            "source": c.source,
            "destination": c.destination,
            "reply_source": c.destination,
            "reply_destination": c.source,
        }
        for name, network in self.networks.items():
            if ipaddress.ip_address(ends[name]) not in network:
                return False
        if any(value != number_of(c, name) for name, value in self.numbers.items() if name != "timeout"):
            return False
        if self.state not in (None, c.state):
            return False
        if not marked:
            return True
        if self.mark is not None and c.mark & self.mask != self.mark & self.mask:
            return False
        return all(not c.seen_reply if name == "UNREPLIED" else c.status & STATUSES[name] == STATUSES[name]
                   for name in self.status)  # fmt: skip


def number_of(c: Connection, name: str) -> int:
    """What an option of numbers is compared with; -1 where the connection has none."""
    if name == "zone":
        return c.zone
    if c.protocol in (ICMP, ICMPV6):
        return {"type": c.destination_port >> 8, "code": c.destination_port & 0xFF, "id": c.source_port}.get(name, -1)
    return {
        "sport": c.source_port,
        "dport": c.destination_port,
        "reply_sport": c.destination_port,
        "reply_dport": c.source_port,
    }.get(name, -1)


def parse(argv: Sequence[str]) -> Words:
    """The command line. CliError."""
    words = Words()
    rest = list(argv)
    while rest:
        option = rest.pop(0)
        value: str | None = None
        if option.startswith("--") and "=" in option:
            option, _, value = option.partition("=")
        elif option[:1] == "-" and option[1:2] != "-" and len(option) > 2:
            option, value = option[:2], option[2:]
        if option in COMMANDS:
            if words.command:
                raise CliError("one command expected, not two")
            words.command = COMMANDS[option]
            if words.command == "R":
                words.file = value or (rest.pop(0) if rest else "")
            elif rest and rest[0] in TABLES:
                words.table = rest.pop(0)
        elif option in FLAGS:
            words.zero = True
        elif option in ABSENT:
            words.translated = True
            if value is None and rest and not rest[0].startswith("-"):
                rest.pop(0)
        elif option in OPTIONS:
            if value is None:
                if not rest:
                    raise CliError(f"{option}: a value expected")
                value = rest.pop(0)
            _take(words, OPTIONS[option], option, value)
        else:
            raise CliError(f"unknown option {option}")
    if not words.command:
        raise CliError("a command expected: -L, -G, -D, -I, -A, -R, -U, -E, -F, -C or -S")
    _check(words)
    return words


def _take(words: Words, name: str, option: str, value: str) -> None:
    if name in ("source", "destination", "reply_source", "reply_destination"):
        try:
            words.networks[name] = ipaddress.ip_network(value, strict=False)
        except ValueError:
            raise CliError(f"{option}: an address or network expected, not `{value}'") from None
    elif name == "protocol":
        other = int(value) if re.fullmatch("[0-9]{1,3}", value) and int(value) < 256 else None
        words.protocol = PROTOCOL_NUMBERS.get(value, other)
        if words.protocol is None:
            raise CliError(f"{option}: a protocol expected, not `{value}'")
    elif name == "family":
        if value not in ("ipv4", "ipv6"):
            raise CliError(f"{option}: ipv4 or ipv6 expected, not `{value}'")
        words.family = int(value[3])
    elif name == "state":
        words.state = value
    elif name == "status":
        words.status = value.split(",")
        if unknown := [part for part in words.status if part not in STATUSES]:
            raise CliError(f"{option}: some of {', '.join(STATUSES)} expected, not `{unknown[0]}'")
    elif name == "mark":
        mark, slash, mask = value.partition("/")
        words.mark = number(option, mark, 2**32 - 1)
        if slash:
            words.mask = number(option, mask, 2**32 - 1)
    elif name == "output":
        words.output = frozenset(value.split(","))
        if unknown := sorted(words.output - set(OUTPUTS)):
            raise CliError(f"{option}: some of {', '.join(OUTPUTS)} expected, not `{unknown[0]}'")
    elif name == "events":
        chosen: set[str] = set()
        for part in value.split(","):
            if part not in EVENTS:
                raise CliError(f"{option}: some of {', '.join(EVENTS)} expected, not `{part}'")
            chosen |= EVENTS[part]
        words.events = frozenset(chosen)
    elif name != "buffer":
        highest = {"timeout": 2**31 - 1, "type": 255, "code": 255, "tag": 2**32 - 1, "reply_tag": 2**32 - 1}
        words.numbers[name] = number(option, value, highest.get(name, 65535))


def number(option: str, text: str, highest: int) -> int:
    """A whole number, in decimal, 0x or 0 form."""
    try:
        value = int(text, 16 if text[:2] in ("0x", "0X") else 8 if text[:1] == "0" and len(text) > 1 else 10)
    except ValueError:
        value = -1
    if not 0 <= value <= highest:
        raise CliError(f"{option}: a whole number from 0 to {highest} expected, not `{text}'")
    return value


def _check(words: Words) -> None:
    versions = {network.version for network in words.networks.values()} | {words.family} - {None}
    if len(versions) > 1:
        raise CliError("the addresses are not all of one family")
    states = {TCP: TCP_STATES, SCTP: SCTP_STATES}.get(words.protocol or 0)
    if words.state is not None and (states is None or words.state not in states):
        expected = f"one of {', '.join(states)} expected" if states else "-p tcp or -p sctp expected"
        raise CliError(f"--state {words.state}: {expected}")
    if words.command in ("G", "I", "A") and words.table == "conntrack":
        if not {"source", "destination"} <= words.networks.keys() or words.protocol is None:
            raise CliError(f"-{words.command}: -s, -d and -p expected")
        if any(network.num_addresses != 1 for network in words.networks.values()):
            raise CliError(f"-{words.command}: addresses expected, not networks")
    if words.command in ("I", "A") and "timeout" not in words.numbers:
        raise CliError(f"-{words.command}: -t expected")
    if words.command == "R" and not words.file:
        raise CliError("-R: a file expected, or - for standard input")
    if words.table == "expect" and words.command not in "LFCE":
        raise CliError(f"-{words.command} expect: expectations are made by helpers, and listed (-L), counted (-C), "
                       "followed (-E) or flushed (-F) here")  # fmt: skip
    if words.zero:
        raise CliError("-z: counters are not set to zero here")
