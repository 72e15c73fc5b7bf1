"""The matches of what the engine was told, and of what it cannot know unless it is told."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from typing import Any, cast

from fastfw.core.declared import RangeBit
from fastfw.declared import WITHOUT_WAY, Fib, merged
from fastfw.ruleset.ext.addrtype import TYPES, AddrType
from fastfw.ruleset.ext.cluster import Cluster
from fastfw.ruleset.ext.group import DevGroup, Realm
from fastfw.ruleset.ext.helper import Helper
from fastfw.ruleset.ext.ipvs import Ipvs
from fastfw.ruleset.ext.local import CGroup, Cpu, Osf, Owner, Socket
from fastfw.ruleset.ext.mac import Mac
from fastfw.ruleset.ext.nfacct import NfAcct
from fastfw.ruleset.ext.pkttype import PktType
from fastfw.ruleset.ext.policy import Policy
from fastfw.ruleset.ext.rateest import RateEst
from fastfw.ruleset.ext.rpfilter import RpFilter
from fastfw.ruleset.lower.program import Assembly, Predicate, Unknown, predicate
from fastfw.ruleset.numbers import UINT32

HELPERS = 256
"""Numbers that helpers may have."""

OF_HOST = TYPES["LOCAL"] | TYPES["BROADCAST"] | TYPES["ANYCAST"]

Asked = Callable[[int, str | None], bool]
"""(address, interface or None for one that no route names) -> the answer."""


def ranges(
    assembly: Assembly, fib: Fib, asked: Asked, by_device: bool, bits: int, lo: int = 0, more: tuple[int, ...] = ()
) -> Predicate:
    """A question of an address whose answers are worked out here for every range of addresses and every interface."""
    starts = fib.starts(*more)
    devices = fib.devices if by_device else []
    answers: list[object] = []
    for start in starts:
        other = asked(start, None)
        answers.append((other, tuple(device for device in devices if asked(start, device) != other)))
    kept = list(merged(starts, answers))
    values = []
    for _, answer in kept:
        other, unlike = cast("tuple[bool, tuple[str, ...]]", answer)
        place = assembly.keep(len(unlike), *(assembly.pattern(name, False) for name in unlike))
        values.append(place << 8 | other << 1 | (not other))
    words = [start for start, _ in kept]
    if fib.family == 6:
        words = [start >> shift & UINT32 for start in words for shift in (96, 64, 32, 0)]
    place = assembly.keep(*words, *values)
    return predicate(f"RANGES{fib.family}", place, bits, lo, size=len(kept))


def _network(text: str) -> tuple[int, int]:
    network = ipaddress.ip_network(text)
    return int(network.network_address), int(network.broadcast_address) + 1


ZERO, MULTICAST4, LIMITED = (_network(text) for text in ("0.0.0.0", "224.0.0.0/4", "255.255.255.255"))
MULTICAST6, LINK6, MAPPED = (_network(text) for text in ("ff00::/8", "fe80::/10", "::ffff:0:0/96"))


def _inside(address: int, network: tuple[int, int]) -> bool:
    return network[0] <= address < network[1]


def _type4(fib: Fib, wanted: int, limited: bool) -> Asked:
    """As the table local has it, where alone the kernel looks."""

    def asked(address: int, device: str | None) -> bool:
        if _inside(address, ZERO) or _inside(address, LIMITED):
            return bool(wanted & TYPES["BROADCAST"])
        if _inside(address, MULTICAST4):
            return bool(wanted & TYPES["MULTICAST"])
        route = fib.look_up(address, tables=(0,))
        kind = "UNICAST"
        if route is not None and (not limited or not route.devices or device == route.devices[0]):
            kind = route.kind.upper()
        return bool(wanted & TYPES[kind])

    return asked


def _type6(fib: Fib, wanted: int, limited: bool) -> Asked:
    """Multicast, unicast and unspecified are told by the address, all else by its route."""
    routed = TYPES["LOCAL"] | TYPES["ANYCAST"] | TYPES["UNREACHABLE"]

    def asked(address: int, device: str | None) -> bool:
        if wanted & TYPES["MULTICAST"] and not _inside(address, MULTICAST6):
            return False
        if wanted & TYPES["UNICAST"] and (_inside(address, MULTICAST6) or _inside(address, MAPPED) or address == 0):
            return False
        if wanted & TYPES["UNSPEC"] and address:
            return False
        if not wanted & routed:
            return True
        return bool(wanted & _routed6(fib, address, device if limited else None, limited))

    return asked


def _routed6(fib: Fib, address: int, device: str | None, limited: bool) -> int:
    found = 0
    route = fib.look_up(address, device)
    if limited:
        own = fib.look_up(address, tables=(0,))
        if own is not None and own.kind == "local" and (not own.devices or device in own.devices):
            found |= TYPES["LOCAL"]
        if device is None and route is not None and route.devices:
            route = None
    if route is None or route.kind in WITHOUT_WAY:
        return TYPES["UNREACHABLE"] | (found if route is not None else 0)
    if not limited and route.kind == "local":
        found |= TYPES["LOCAL"]
    network = route.network
    of_router = network.prefixlen < 127 and not route.gateway and int(network.network_address) == address
    if route.kind == "anycast" or (of_router and route.kind != "multicast"):
        found |= TYPES["ANYCAST"]
    return found


def addrtype(match: AddrType, assembly: Assembly) -> Iterator[Predicate]:
    """What routing says of both addresses."""
    fib = assembly.declared.fib[assembly.family]
    limited = match.limit_in or match.limit_out
    way = int(RangeBit.RANGE_OUTGOING) * match.limit_out
    if (match.source | match.destination) & OF_HOST and not assembly.declared.has_local:
        assembly.notice(
            "match `addrtype' asks for the host's own addresses and none are declared: loopback alone is its own"
        )
    make = _type4 if assembly.family == 4 else _type6
    edges = (*ZERO, *MULTICAST4, LIMITED[0]) if assembly.family == 4 else (1, MULTICAST6[0], *MAPPED)
    if assembly.family == 6:  # a network's first address may be its routers' (RFC 4291 section 2.6.1)
        edges = (*edges, *(start + 1 for start in fib.starts()))
    for wanted, side, invert in (
        (match.source, 0, match.source_invert),
        (match.destination, int(RangeBit.RANGE_TARGET), match.destination_invert),
    ):
        if wanted:
            found = ranges(assembly, fib, make(fib, wanted, limited), limited, side | way, more=edges)
            yield (*found[:1], int(invert), *found[2:])


def rpfilter(match: RpFilter, assembly: Assembly) -> Iterator[Predicate]:
    """Whether an answer would leave by the interface the packet came in by. Unknown: no route is declared."""
    fib = assembly.declared.fib[assembly.family]
    if not fib.declared:
        raise Unknown("no routes are declared")

    def asked(address: int, device: str | None) -> bool:
        by_address = fib.family == 4 or (match.loose and not _inside(address, LINK6))
        route = fib.look_up(address) if by_address else fib.look_up(address, device or "")
        if route is None or route.kind not in ("unicast", "local"):
            return False
        if route.kind == "local":
            if not match.accept_local:
                return False
            if fib.family == 6:
                return True
        return match.loose or not route.devices or device in route.devices

    bits = int(RangeBit.RANGE_REVERSE)
    more = () if fib.family == 4 else LINK6
    found = ranges(assembly, fib, asked, True, bits, assembly.pattern("lo", False), more)
    yield (*found[:1], int(match.invert), *found[2:])


def groups(match: DevGroup, assembly: Assembly) -> Iterator[Predicate]:
    """An interface's group; one that was not told is in group 0."""
    for asked, outgoing, invert in (
        (match.source, 0, match.source_invert),
        (match.destination, 1, match.destination_invert),
    ):
        if asked is None:
            continue
        value, mask = asked
        rest = 0 & mask == value
        names = [name for name, number in assembly.declared.groups.items() if (number & mask == value) != rest]
        place = assembly.keep(*(assembly.pattern(name, False) for name in names))
        yield predicate("INTERFACES", place, outgoing, size=len(names), invert=invert != rest)


def mac(match: Mac, assembly: Assembly) -> Iterator[Predicate]:
    """The frame's source; a packet that came in none does not match, inverted or not."""
    first, last = int.from_bytes(match.source[:4], "little"), int.from_bytes(match.source[4:], "little")
    yield predicate("MAC", first, last, invert=match.invert)


def pkttype(match: PktType, assembly: Assembly) -> Iterator[Predicate]:
    """To whom the frame was sent; without one it is the host itself."""
    yield predicate("PACKET_TYPE", match.type, invert=match.invert)


def cluster(match: Cluster, assembly: Assembly) -> Iterator[Predicate]:
    """The node that a connection falls to."""
    yield predicate("CLUSTER", assembly.keep(match.seed, match.total, match.nodes), invert=match.invert)


def helper(match: Helper, assembly: Assembly) -> Iterator[Predicate]:
    """The helper that announced the connection; the beginning of what is asked may be its name."""
    bits = [(1 << 64) - 1] * (HELPERS // 64) if not match.helper else [0] * (HELPERS // 64)
    for size in range(1, len(match.helper) + 1):
        try:
            number = assembly.helper_number(match.helper[:size])
        except ValueError:
            continue
        bits[number >> 6] |= 1 << (number & 63)
    yield predicate("HELPER", assembly.wide(*bits), invert=match.invert)


def always(match: NfAcct, assembly: Assembly) -> Iterator[Predicate]:
    """It counts for somebody else."""
    return iter(())


def unknown(match: object, assembly: Assembly) -> Iterator[Predicate]:
    """What only the host's kernel knows."""
    raise Unknown("only the host's kernel knows")


FACTS: dict[type, Callable[[Any, Assembly], Iterator[Predicate]]] = {
    AddrType: addrtype,
    CGroup: unknown,
    Cluster: cluster,
    Cpu: unknown,
    DevGroup: groups,
    Helper: helper,
    Ipvs: unknown,
    Mac: mac,
    NfAcct: always,
    Osf: unknown,
    Owner: unknown,
    PktType: pkttype,
    Policy: unknown,
    RateEst: unknown,
    Realm: unknown,
    RpFilter: rpfilter,
    Socket: unknown,
}
