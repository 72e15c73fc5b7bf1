"""iptables-save text into tables, as iptables-restore takes it."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import BinaryIO

from fastfw.ruleset.apply import apply
from fastfw.ruleset.command import CHAIN_LIMIT, Misplaced, counter
from fastfw.ruleset.errors import Refusal, RulesetError
from fastfw.ruleset.ext.standard import VERDICTS
from fastfw.ruleset.grammar import parse
from fastfw.ruleset.model import TABLES, Chain, Ruleset, Table
from fastfw.ruleset.verify import verify

LINE_LIMIT = 10_239
"""Bytes of a line; iptables-restore would take what is beyond for another line."""

READ_AT_ONCE = 1 << 20
"""Bytes of a file that are read before they are looked at."""

WORD_LIMIT = 1_023
"""Bytes of a word."""

# A word ends at a blank or at its closing quote; quotes may open anywhere in it.
_WORDS = re.compile(r'[ \t]*([^ \t"]*"(?:[^"\\]|\\.)*"|[^ \t"]+)', re.DOTALL)
_BARE = re.compile(r"[^ \t]+")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_COUNTERS = re.compile(r"\[([0-9]+):([0-9]+)\]")
# str.split() would also split here, and iptables does not.
_ODD_BLANK = re.compile(r"[\x0b\x0c\r\x1c-\x1f\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")


def read_file(file: BinaryIO, filename: str = "-") -> str:
    """A ruleset's text from a file; bytes that are no UTF-8 survive as surrogates. RulesetError: a line without an end,
    of which no more is read: memory is bounded by the lines before it."""
    parts: list[bytes] = []
    while part := file.read(READ_AT_ONCE):
        if len(part) > LINE_LIMIT and b"\n" not in part:
            number = 1 + sum(before.count(b"\n") for before in parts)
            raise RulesetError(f"line longer than {LINE_LIMIT} bytes", number, 1, filename)
        parts.append(part)
    return b"".join(parts).decode("utf-8", "surrogateescape")


def split(line: str) -> tuple[list[str], list[int]]:
    """A line's words without their quotes, and the column of each, from 1. Refusal: a quote is not closed."""
    words: list[str] = []
    columns: list[int] = []
    end = len(line.rstrip(" \t"))
    position = 0
    while position < end:
        found = _WORDS.match(line, position)
        word = found[1] if found else ""
        if found is None or ('"' not in word and line[found.end() : found.end() + 1] == '"'):
            at = line.index('"', position)
            raise Misplaced("the quote is not closed in this line", at)
        columns.append(found.start(1) + 1)
        if '"' in word:
            bare, _, quoted = word.partition('"')
            quoted = quoted[:-1]
            word = bare + (_ESCAPE.sub(r"\1", quoted) if "\\" in quoted else quoted)
        words.append(word)
        position = found.end()
    return words, columns


class _Text:
    """The state of reading one text."""

    def __init__(self, base: Ruleset, noflush: bool, filename: str) -> None:
        self.base = base
        self.family = base.family
        self.noflush = noflush
        self.filename = filename
        self.done: dict[str, Table] = {}
        self.scratch = Ruleset(base.family)
        self.table: Table | None = None
        self.user_chains: set[str] = set()

    def error(self, reason: str, line: int, column: int) -> RulesetError:
        return RulesetError(reason, line, column, self.filename)

    def begin(self, text: str, line: int) -> None:
        """`*table`"""
        words = _BARE.findall(text, 1)
        name = words[0] if words else ""
        if name not in TABLES:
            raise self.error(f"no table `{name}': expected *{', *'.join(TABLES)}", line, 2)
        old = self.done.get(name) or self.base.tables.get(name)
        table = copy.deepcopy(old) if self.noflush and old is not None else Table.empty(name)
        for hook, chain in old.chains.items() if old is not None else ():
            if hook in TABLES[name]:  # what a text does not declare keeps its policy and counts anew
                same = table.chains[hook]
                same.policy, same.packets, same.bytes = chain.policy, 0, 0
        self.table = table
        self.scratch.tables = {name: table}
        self.user_chains = {chain.name for chain in table.chains.values() if chain.policy is None}

    def declare(self, table: Table, text: str, line: int) -> None:
        """`:chain policy [packets:bytes]`"""
        words = _BARE.findall(text, 1)
        if not words:
            raise self.error("chain name expected after :", line, 2)
        name, column = words[0], text.index(words[0], 1) + 1
        if len(words) < 2:
            raise self.error(f"policy expected after `{name}': ACCEPT, DROP or -", line, len(text) + 1)
        policy = words[1]
        policy_column = text.index(policy, column - 1 + len(name)) + 1
        chain = table.chains.get(name)
        if chain is None or chain.policy is None:
            if policy != "-":
                raise self.error(f"policy `{policy}' for a user's chain: expected -", line, policy_column)
            self.create(table, name, line, column)
            return
        if policy == "-":
            return
        if policy not in ("ACCEPT", "DROP"):
            raise self.error(f"bad policy `{policy}': expected ACCEPT or DROP", line, policy_column)
        chain.policy = policy
        chain.line = line
        if len(words) > 2:
            counters = _COUNTERS.match(words[2])
            if counters is None:
                at = text.index(words[2], policy_column - 1 + len(policy)) + 1
                raise self.error(f"bad counters `{words[2]}': expected [packets:bytes]", line, at)
            chain.packets, chain.bytes = counter(counters[1]), counter(counters[2])

    def create(self, table: Table, name: str, line: int, column: int) -> None:
        if name in table.chains and not self.noflush:
            raise self.error(f"chain `{name}' already exists", line, column)
        try:
            check_declared_name(name)
        except Refusal as refusal:
            raise self.error(str(refusal), line, column) from None
        if name in table.chains:
            table.chains[name].rules.clear()
        else:
            table.chains[name] = Chain(name, line=line)
            self.user_chains.add(name)

    def command(self, table: Table, text: str, line: int, plain: bool) -> None:
        """`[packets:bytes] -A chain ...` and the other commands."""
        offset = 0
        counters: tuple[int, int] | None = None
        if text[0] == "[":
            found = _COUNTERS.match(text)
            if found is None:
                raise self.error("bad counters: expected [packets:bytes]", line, 1)
            counters = counter(found[1]), counter(found[2])
            offset = found.end()
        body = text[offset:] if offset else text
        try:
            words, columns = (body.split(), None) if plain and '"' not in body else split(body)
        except Misplaced as fault:
            raise self.error(str(fault), line, fault.word + offset + 1) from None
        try:
            if len(body) > WORD_LIMIT // 4:
                for index, word in enumerate(words):
                    if len(word.encode("utf-8", "surrogateescape")) > WORD_LIMIT:
                        raise Misplaced(f"word longer than {WORD_LIMIT} bytes", index)
            command = parse(words, self.family, self.user_chains, restoring=True)
            if counters is not None:
                if command.counters is not None:
                    raise Refusal("counters are given twice")
                for rule in command.rules:
                    rule.packets, rule.bytes = counters
            command.table = table.name
            column = offset + 1
            for rule in command.rules:
                rule.line = line
                rule.column = column
            action = command.action
            if action == "A":
                chain = table.chains.get(command.chain)
                if chain is not None and table.name != "nat" and not command.other_family:
                    chain.rules.extend(command.rules)
                    return
            apply(command, self.scratch)
            if action in "NXE":
                self.user_chains = {chain.name for chain in table.chains.values() if chain.policy is None}
        except Refusal as refusal:
            at = getattr(refusal, "word", 0)
            if columns is None:
                columns = split(body)[1]
            raise self.error(
                str(refusal), line, offset + (columns[at] if at < len(columns) else len(body) + 1)
            ) from None

    def commit(self, table: Table) -> None:
        try:
            verify(table, self.family)
        except RulesetError as fault:
            raise self.error(fault.reason, fault.line, fault.column) from None
        self.done[table.name] = table
        self.table = None


def check_declared_name(name: str) -> None:
    """A chain's name in a `:` line, where only length and the names of verdicts matter. Refusal otherwise."""
    if len(name.encode("utf-8", "surrogateescape")) > CHAIN_LIMIT:
        raise Refusal(f"chain name `{name}' is longer than {CHAIN_LIMIT} bytes")
    if name in VERDICTS:
        raise Refusal(f"chain name `{name}' is a verdict's name")


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a text with their numbers from 1, without holding them all."""
    start = 0
    number = 0
    size = len(text)
    while start < size:
        number += 1
        end = text.find("\n", start)
        if end < 0:
            end = size
        yield number, text[start:end]
        start = end + 1


def read(text: str, base: Ruleset, *, noflush: bool = False, filename: str = "-") -> dict[str, Table]:
    """The tables of a text, each complete; `noflush` starts each from `base`'s. RulesetError: it is no ruleset."""
    state = _Text(base, noflush, filename)
    plain = text.isascii() and not _ODD_BLANK.search(text)
    number = 0
    line = ""
    nul = text.find("\0")
    if nul >= 0:
        number = text.count("\n", 0, nul) + 1
        raise state.error("NUL byte in the text", number, nul - text.rfind("\n", 0, nul))
    for number, line in _lines(text):
        if not line or line[0] == "#":
            continue
        if len(line) > LINE_LIMIT // 4 and len(line.encode("utf-8", "surrogateescape")) > LINE_LIMIT:
            raise state.error(f"line longer than {LINE_LIMIT} bytes", number, 1)
        table = state.table
        if table is None:
            if line[0] != "*":
                raise state.error("expected a table: *filter, *nat, ...", number, 1)
            state.begin(line, number)
        elif line == "COMMIT":
            state.commit(table)
        elif line[0] == ":":
            state.declare(table, line, number)
        elif line[0] == "*":
            raise state.error(f"COMMIT expected before `{line.strip()}'", number, 1)
        else:
            state.command(table, line, number, plain)
    if state.table is not None:
        raise state.error(f"COMMIT expected: table {state.table.name} is not complete", number + 1, 1)
    return state.done
