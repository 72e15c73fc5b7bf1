"""sctp: ports and chunks (RFC 9260)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.ctype import lower, upper
from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option
from fastfw.ruleset.ext.values import Range, port_range, show_range

CHUNKS = {
    "DATA": 0,
    "INIT": 1,
    "INIT_ACK": 2,
    "SACK": 3,
    "HEARTBEAT": 4,
    "HEARTBEAT_ACK": 5,
    "ABORT": 6,
    "SHUTDOWN": 7,
    "SHUTDOWN_ACK": 8,
    "ERROR": 9,
    "COOKIE_ECHO": 10,
    "COOKIE_ACK": 11,
    "ECN_ECNE": 12,
    "ECN_CWR": 13,
    "SHUTDOWN_COMPLETE": 14,
    "I_DATA": 64,
    "RE_CONFIG": 130,
    "PAD": 132,
    "ASCONF": 193,
    "ASCONF_ACK": 128,
    "FORWARD_TSN": 192,
    "I_FORWARD_TSN": 194,
}
_NAMES = {number: name for name, number in CHUNKS.items()}

FLAGS = {0: "----IUBE", 64: "----IUBE", 6: "-------T", 14: "-------T"}
"""The letters of a chunk type's flags, highest bit first."""

KEPT = (0, 6, 14)
"""The chunk types whose flags the kernel compares."""

EVERY = frozenset(range(256))


@dataclass(slots=True, frozen=True)
class Chunks:
    """`mode` is any, all or only. `types` are chunk numbers. `flags` has (type, mask, value) for those asked for."""

    mode: str
    types: frozenset[int]
    flags: tuple[tuple[int, int, int], ...] = ()


def _flags(kind: int, letters: str) -> tuple[int, int]:
    known = FLAGS.get(kind, "")
    mask = value = 0
    for letter in letters:
        at = known.find(upper(letter))
        if at < 0 or letter == "-":
            raise Refusal(f"chunk type {_NAMES[kind]} has no flag `{letter}'")
        bit = 1 << (7 - at)
        mask |= bit
        value = value | bit if letter.isupper() else value
    return mask, value


def _chunks(text: str, context: Context) -> Chunks:
    mode, listed = text.split("\0")
    mode = lower(mode)
    if mode not in ("any", "all", "only"):
        raise Refusal(f"bad match type `{mode}': expected any, all or only")
    if upper(listed) == "ALL":
        return Chunks(mode, EVERY)
    if upper(listed) == "NONE":
        return Chunks(mode, frozenset())
    types: set[int] = set()
    flags: dict[int, tuple[int, int]] = {}
    for part in listed.split(","):
        if not part:
            continue
        name, colon, letters = part.partition(":")
        kind = CHUNKS.get(upper(name))
        if kind is None:
            raise Refusal(f"unknown SCTP chunk `{name}': expected {', '.join(CHUNKS)}, ALL or NONE")
        types.add(kind)
        if colon and letters:
            mask, value = _flags(kind, letters)
            if kind in KEPT:
                old = flags.get(kind, (0, 0))
                flags[kind] = old[0] | mask, old[1] | value
    return Chunks(mode, frozenset(types), tuple((kind, *flags[kind]) for kind in sorted(flags)))


def named(value: Chunks) -> list[tuple[str, str]]:
    """The chunks' names in the order of their numbers, each with `:` and its flags or ""."""
    flags = {kind: (mask, bits) for kind, mask, bits in value.flags}
    shown = []
    for kind in sorted(value.types):
        letters = ""
        if kind in flags:
            mask, bits = flags[kind]
            known = FLAGS[kind]
            letters = ":" + "".join(
                known[7 - bit] if bits >> bit & 1 else known[7 - bit].lower()
                for bit in range(7, -1, -1)
                if mask >> bit & 1
            )
        shown.append((_NAMES.get(kind, str(kind)), letters))
    return shown


def shown(value: Chunks) -> str:
    """The match type and the chunks, as the option takes them."""
    if value.types == EVERY:
        return f"{value.mode} ALL"
    if not value.types:
        return f"{value.mode} NONE"
    return f"{value.mode} {','.join(name + flags for name, flags in named(value))}"


def _show(value: Chunks, family: int) -> str:
    return shown(value)


@dataclass(slots=True)
class Sctp(Match):
    """Ports are inclusive ranges; `chunks` None: not asked."""

    name: ClassVar[str] = "sctp"
    protocols: ClassVar[tuple[int, ...]] = (132,)

    sport: Range | None = None
    sport_invert: bool = False
    dport: Range | None = None
    dport_invert: bool = False
    chunks: Chunks | None = None
    chunks_invert: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("sport", "sport", port_range("sctp"), show_range, "sport_invert", ("source-port",)),
        Option("dport", "dport", port_range("sctp"), show_range, "dport_invert", ("destination-port",)),
        Option("chunk-types", "chunks", _chunks, _show, "chunks_invert", words=2),
    )
