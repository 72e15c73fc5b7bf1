"""Sets into the core's store and out of it."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from fastfw.core.setstore import BEGINNING, BITS, STORED, SetStore
from fastfw.ruleset.address import FULL_MASK, prefix_mask
from fastfw.ruleset.errors import Refusal
from fastfw.sets.model import Element, IpSet, Kept, SetError, Sets

TICKS = 250
"""A second."""

TICK_NS = 4_000_000

RECORD = struct.Struct("<16s16s6sHIBBBBQqQQIIIIHBB6s6x" if np.little_endian else ">16s16s6sHIBBBBQqQQIIIIHBB6s6x")

if RECORD.size != STORED.itemsize:
    raise ImportError("fastfw.sets.store: an element does not match its layout")

_BITS = {"port": "PORT", "mark": "MARK", "mac": "MAC", "iface": "INTERFACE", "set": "LIST"}


def bits_of(one: IpSet) -> int:
    """What a set's elements are made of and what it keeps of each, as the core has it."""
    bits = 0
    for place, part in enumerate(one.type.parts):
        if part in ("ip", "net"):
            bits |= BITS[("SECOND" if place else "FIRST") + "_NET" * (part == "net")]
        elif part == "port" and one.type.method == "bitmap":
            bits |= BITS["BARE_PORT"]
        else:
            bits |= BITS[_BITS[part]]
    bits |= BITS["BITMAP"] * (one.type.method == "bitmap")
    bits |= BITS["TIMEOUT"] * (one.timeout is not None) | BITS["COUNTERS"] * one.counters
    return bits | BITS["INFO"] * one.info | BITS["FORCE"] * one.forces


def packed(address: int, family: int) -> bytes:
    """An address as it stands in packets, in 16 bytes."""
    return address.to_bytes(4, "big") + bytes(12) if family == 4 else address.to_bytes(16, "big")


class Store:
    """The sets of one engine: a core's store, and what it does not know of them."""

    def __init__(self, sets: Sets) -> None:
        self.sets = list(sets)
        self.numbers = {one.name: number for number, one in enumerate(self.sets)}
        self.comments = [""]
        known = {e.interface for one in self.sets for e in one.elements if e.beginning}
        beginnings = sorted(known, key=len, reverse=True)  # the longest is met first
        self.core = SetStore(len(self.sets), beginnings)
        self.beginnings = {name: BEGINNING + number for number, name in enumerate(beginnings)}
        for number, one in enumerate(self.sets):
            self._enter(number, one)

    def number(self, name: str, family: int) -> int:
        """The number by which rules of a family know a set. Refusal: there is none of that name, or it is of the other
        family."""
        number = self.numbers.get(name)
        if number is None:
            raise Refusal(f"set `{name}' does not exist: sets must be declared")
        if self.sets[number].family not in (0, family):
            raise Refusal(f"set `{name}' is of IPv{self.sets[number].family}: a set of IPv{family} expected")
        return number

    def _enter(self, number: int, one: IpSet) -> None:
        family = one.family or 4
        mask = FULL_MASK[family]
        if one.netmask is not None:
            mask = prefix_mask(one.netmask, family)
        elif one.bitmask is not None:
            mask = one.bitmask
        most = one.most if one.type.method == "hash" else max(one.high - one.low + 1, 0)
        self.core.shape(
            number, bits_of(one), one.family, len(one.type.parts), max(most, len(one.elements)), one.timeout or 0,
            packed(mask, family), one.mark_mask, one.low, one.high,
        )  # fmt: skip
        data = b"".join(self._record(one, element, kept) for element, kept in one.elements.items())
        self.core.fill(number, np.frombuffer(data, np.uint8).reshape(-1, RECORD.size))

    def _record(self, one: IpSet, e: Element, kept: Kept) -> bytes:
        family = one.family or 4
        interface = 0
        if e.set_name:
            interface = self._member(e.set_name)
        elif e.beginning:
            interface = self.beginnings[e.interface]
        elif e.interface:
            interface = self.core.interface(e.interface)
        comment = 0
        if kept.comment:
            comment = len(self.comments)
            self.comments.append(kept.comment)
        return RECORD.pack(
            packed(e.first, family), packed(e.second, family), e.mac, e.port, e.mark, e.first_length or 0,
            e.second_length or 0, e.protocol, e.bridge_port, interface, kept.timeout * TICKS, kept.packets, kept.bytes,
            kept.mark, kept.mask, kept.priority, comment, kept.queue, kept.nomatch,
            one.type.name == "bitmap:ip,mac" and not kept.mac, kept.mac,
        )  # fmt: skip

    def _member(self, name: str) -> int:
        """The number of a list's member. SetError: there is no such set, or it is a list itself."""
        number = self.numbers.get(name)
        if number is None or self.sets[number].type.method == "list":
            raise SetError(f"`{name}' is no set that a list may have")
        return number

    def content(self, tick: int) -> Sets:
        """The sets as they are at a tick of the engine's clock; whoever calls holds the engine's lock."""
        sets = Sets()
        for number, one in enumerate(self.sets):
            shaped = {name: getattr(one, name) for name in IpSet.__slots__ if name != "elements"}
            found = IpSet(**shaped)
            found.elements.update(self._elements(number, one, tick))
            sets.by_name[one.name] = found
        return sets

    def _elements(self, number: int, one: IpSet, tick: int) -> Iterator[tuple[Element, Kept]]:
        begun = self.core.begun
        for record in self.core.content(number):
            (first, second, mac, port, mark, first_length, second_length, protocol, bridge_port, interface, expires,
             packets, size, kept_mark, mask, priority, comment, queue, nomatch, pending, kept_mac) = RECORD.unpack(
                record.tobytes())  # fmt: skip
            left = expires
            if begun and expires and not pending:
                left = expires - tick
                if left < 0:
                    continue
            kept = Kept(
                (left // TICKS or 1) if expires else 0, packets, size, self.comments[comment], kept_mark, mask,
                priority, queue, bool(nomatch), kept_mac if any(kept_mac) else b"",
            )  # fmt: skip
            yield self._element(one, first, second, mac, port, mark, first_length, second_length, protocol, bridge_port,
                                interface), kept  # fmt: skip

    def _element(
        self, one: IpSet, first: bytes, second: bytes, mac: bytes, port: int, mark: int, first_length: int,
        second_length: int, protocol: int, bridge_port: int, interface: int,
    ) -> Element:  # fmt: skip
        size = 4 if (one.family or 4) == 4 else 16
        parts = one.type.parts
        named = ""
        if "set" in parts:
            return Element(set_name=self.sets[interface].name)
        if interface:
            named = self.core.interface_name(interface)
        return Element(
            int.from_bytes(first[:size], "big"),
            first_length if parts[0] == "net" else None,
            int.from_bytes(second[:size], "big"),
            second_length if "net" in parts[1:] else None,
            protocol,
            port,
            mark,
            mac if any(mac) else b"",
            named,
            interface >= BEGINNING,
            bool(bridge_port),
        )
