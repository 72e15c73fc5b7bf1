"""set and SET: ipset's sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.errors import OptionRefusal, Refusal
from fastfw.ruleset.ext.base import Context, Match, Option, Site, Target
from fastfw.ruleset.ext.values import number
from fastfw.ruleset.numbers import UINT32, UINT64

DIMENSION_LIMIT = 6
NAME_LIMIT = 31


@dataclass(slots=True, frozen=True)
class Reference:
    """A set and the packet's sides (src or dst) that make its element."""

    set_name: str
    sides: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.set_name} {','.join(self.sides)}"


def _reference(text: str, context: Context) -> Reference:
    name, listed = text.split("\0")
    if not name or len(name.encode("utf-8", "surrogateescape")) > NAME_LIMIT:
        raise Refusal(f"set name `{name}' must have 1 to {NAME_LIMIT} bytes")
    sides = tuple(listed.split(","))
    for side in sides:
        if side not in ("src", "dst"):
            raise Refusal(f"bad side `{side}': expected a comma-separated list of src and dst")
    if len(sides) > DIMENSION_LIMIT:
        raise Refusal(f"more than {DIMENSION_LIMIT} sides")
    return Reference(name, sides)


def _show(value: Reference, family: int) -> str:
    return str(value)


@dataclass(slots=True, frozen=True)
class Counter:
    """`compare` is eq, lt or gt."""

    compare: str
    value: int
    invert: bool = False


_COUNTERS = ("packets-eq", "packets-lt", "packets-gt", "bytes-eq", "bytes-lt", "bytes-gt")


@dataclass(slots=True)
class Set(Match):
    """The packet's element is in `reference`'s set, and its counters compare as asked (None: not asked)."""

    name: ClassVar[str] = "set"

    reference: Reference | None = None
    invert: bool = False
    return_nomatch: bool = False
    no_update_counters: bool = False
    no_update_subcounters: bool = False
    packets: Counter | None = None
    bytes: Counter | None = None

    options: ClassVar[tuple[Option, ...]] = (
        Option("match-set", "reference", _reference, _show, "invert", ("set",), words=2),
        Option("return-nomatch", "return_nomatch", repeat=True),
        Option("update-counters", ""),
        Option("update-subcounters", ""),
        *(Option(name, "", number(UINT64)) for name in _COUNTERS),
    )

    def read(self, option: Option, text: str, invert: bool, context: Context) -> None:
        """`!` before an update says not to; a counter compares in one way."""
        if option.field:
            Match.read(self, option, text, invert, context)
            return
        if option.parse is None:
            if invert:
                setattr(self, f"no_{option.name.replace('-', '_')}", True)
            return
        counted, compare = option.name.split("-")
        if invert and compare != "eq":
            raise OptionRefusal(f"option --{option.name} cannot be inverted")
        if getattr(self, counted) is not None:
            raise OptionRefusal(f"only one of --{counted}-eq, --{counted}-lt and --{counted}-gt is allowed")
        setattr(self, counted, Counter(compare, option.parse(text, context), invert))

    def finish(self, context: Context) -> None:
        """A set must be given."""
        if self.reference is None:
            raise Refusal("set needs --match-set NAME SIDES")

    def save(self, family: int) -> str:
        """The set, then what is not the default."""
        out = f" {'! ' * self.invert}--match-set {self.reference}" + " --return-nomatch" * self.return_nomatch
        out += " ! --update-counters" * self.no_update_counters
        out += " ! --update-subcounters" * self.no_update_subcounters
        for counted, counter in (("packets", self.packets), ("bytes", self.bytes)):
            if counter is not None:
                out += f" {'! ' * counter.invert}--{counted}-{counter.compare} {counter.value}"
        return out


@dataclass(slots=True)
class SetTarget(Target):
    """Adds to, deletes from or maps by sets; None: not asked. `timeout` in seconds."""

    name: ClassVar[str] = "SET"

    add: Reference | None = None
    delete: Reference | None = None
    map: Reference | None = None
    exist: bool = False
    timeout: int | None = None
    map_mark: bool = False
    map_prio: bool = False
    map_queue: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("add-set", "add", _reference, _show, words=2),
        Option("exist", "exist", repeat=True),
        Option("timeout", "timeout", number(UINT32 - 1)),
        Option("del-set", "delete", _reference, _show, words=2),
        Option("map-set", "map", _reference, _show, words=2),
        Option("map-mark", "map_mark", repeat=True),
        Option("map-prio", "map_prio", repeat=True),
        Option("map-queue", "map_queue", repeat=True),
    )

    def finish(self, context: Context) -> None:
        """What goes with what."""
        if self.add is None and self.delete is None and self.map is None:
            raise Refusal("SET needs --add-set, --del-set or --map-set")
        if self.add is None and (self.exist or self.timeout is not None):
            raise Refusal("SET --exist and --timeout need --add-set")
        mapped = self.map_mark or self.map_prio or self.map_queue
        if mapped != (self.map is not None):
            raise Refusal("SET --map-set goes with --map-mark, --map-prio or --map-queue")

    def check(self, site: Site) -> None:
        """Marks are set in mangle, and priorities where the way out is known."""
        if self.map is not None and site.table != "mangle":
            raise Refusal("SET --map-set is valid only in table mangle")
        if (self.map_prio or self.map_queue) and not site.hooks <= {"FORWARD", "OUTPUT", "POSTROUTING"}:
            raise Refusal("SET --map-prio and --map-queue are valid only in FORWARD, OUTPUT and POSTROUTING")

    def save(self, family: int) -> str:
        """The sets in order, each with what belongs to it."""
        out = ""
        if self.add is not None:
            out += f" --add-set {self.add}" + " --exist" * self.exist
            if self.timeout is not None:
                out += f" --timeout {self.timeout}"
        if self.delete is not None:
            out += f" --del-set {self.delete}"
        if self.map is not None:
            out += f" --map-set {self.map}" + " --map-mark" * self.map_mark
            out += " --map-prio" * self.map_prio + " --map-queue" * self.map_queue
        return out
