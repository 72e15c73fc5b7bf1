"""Sets as objects, and their text."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from fastfw.sets.types import SetType

USUAL_HASH_SIZE, USUAL_MOST, USUAL_BUCKET, USUAL_LIST_SIZE = 1024, 65536, 12, 8


class SetError(ValueError):
    """Text that is not what `ipset save` prints, or an element that its set cannot have.

    `line` and `column` count from 1; `reason` says what is wrong and what was expected.
    """

    def __init__(self, reason: str, line: int = 0, column: int = 0) -> None:
        super().__init__(reason, line, column)
        self.reason = reason
        self.line = line
        self.column = column

    def __str__(self) -> str:
        return f"{self.line}:{self.column}: {self.reason}"


class Element(NamedTuple):
    """What a set is asked for; parts its type does not have keep their defaults.

    Addresses are numbers, under their prefix lengths where those are not None. `port` of ICMP is type << 8 | code.
    `interface` with `beginning` stands for all names that begin so, with `bridge_port` for a bridge's port. `set_name`
    is a list's.
    """

    first: int = 0
    first_length: int | None = None
    second: int = 0
    second_length: int | None = None
    protocol: int = 0
    port: int = 0
    mark: int = 0
    mac: bytes = b""
    interface: str = ""
    beginning: bool = False
    bridge_port: bool = False
    set_name: str = ""


@dataclass(slots=True)
class Kept:
    """What is kept of an element. `timeout` is in seconds, 0: for ever. `mark`, `mask`, `priority` and `queue` are for
    the target SET to map. An element that says `nomatch` is an exception. `mac` is what bitmap:ip,mac knows of an
    address, empty until a packet tells."""

    timeout: int = 0
    packets: int = 0
    bytes: int = 0
    comment: str = ""
    mark: int = 0
    mask: int = 0
    priority: int = 0
    queue: int = 0
    nomatch: bool = False
    mac: builtins.bytes = b""


@dataclass(slots=True)
class IpSet:
    """A set: its type, what it was created with, and its elements.

    `family` is 4 or 6, 0 where the type knows none. `timeout` (seconds, 0: for ever) is what elements have that say
    none, None where elements have no time. `low` and `high` are the ends of a bitmap's range, `netmask` and `bitmask`
    (an address) what addresses are kept under.
    """

    name: str
    type: SetType
    family: int = 0
    hash_size: int = USUAL_HASH_SIZE
    most: int = USUAL_MOST
    bucket_size: int = USUAL_BUCKET
    list_size: int = USUAL_LIST_SIZE
    initval: int | None = None
    netmask: int | None = None
    bitmask: int | None = None
    mark_mask: int = 0xFFFFFFFF
    low: int = 0
    high: int = 0
    timeout: int | None = None
    counters: bool = False
    comments: bool = False
    info: bool = False
    forces: bool = False
    elements: dict[Element, Kept] = field(default_factory=dict)


class Sets:
    """Sets by name, as `ipset save` prints them. An engine takes a copy."""

    def __init__(self) -> None:
        self.by_name: dict[str, IpSet] = {}

    @classmethod
    def parse(cls, text: str) -> Sets:
        """Read what `ipset save` prints, and what `ipset restore` reads of create, add, del and flush. Raises
        SetError."""
        sets = cls()
        sets.load(text)
        return sets

    def load(self, text: str) -> None:
        """Read more of it: sets are created, or elements added to those there are. Raises SetError; what lines before
        the faulty one said has been done."""
        from fastfw.sets.reader import read

        read(text, self)

    def save(self) -> str:
        """What `ipset save` prints, elements in the order in which they came."""
        from fastfw.sets.writer import lines

        return "".join(f"{line}\n" for one in self for line in lines(one))

    def __iter__(self) -> Iterator[IpSet]:
        return iter(self.by_name.values())

    def __len__(self) -> int:
        return len(self.by_name)

    def __getitem__(self, name: str) -> IpSet:
        return self.by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self.by_name
