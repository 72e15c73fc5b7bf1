"""What an engine is told of the host it stands for: routes, local addresses, groups of interfaces, its time zone, and
what is to be taken of matches that nobody but the host's kernel can answer."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

TYPES = (
    *("unspec", "unicast", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable", "prohibit"),
    *("throw", "nat", "xresolve"),
)
"""Types of routes by the kernel's numbers."""

HOST_TYPES = ("local", "broadcast", "anycast", "multicast")
"""What stands in the table local."""

WITHOUT_WAY = ("blackhole", "unreachable", "prohibit")

ASSUMABLE = (
    *("bpf", "cgroup", "cpu", "ipvs", "osf", "owner", "policy", "rateest", "realm", "rpfilter", "socket", "time"),
    *("SYNPROXY", "TPROXY"),
)
"""Matches of which at least some forms are the host's own knowledge, and targets whose effect is."""

_WITH_WORD = ("via", "dev", "proto", "metric", "table", "scope", "src", "pref", "mtu", "advmss", "weight", "realm")
_FLAGS = ("onlink", "linkdown", "dead", "pervasive")
_ZONE_LIMIT = 24 * 60


class DeclarationError(ValueError):
    """What was declared is no address, route, group or assumption; the message says what was expected."""


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Route:
    """One route; `devices` are the interfaces it leads to, none: any will do."""

    network: Network
    kind: str = "unicast"
    devices: tuple[str, ...] = ()
    gateway: bool = False
    metric: int = 0

    @property
    def of_host(self) -> bool:
        """Whether it stands in the table local, which is asked first."""
        return self.kind in HOST_TYPES


def parse_route(line: str) -> Route:
    """A line as `ip route` or `ip -6 route` prints it."""
    words = line.split()
    kind = words.pop(0) if words and words[0] in TYPES else "unicast"
    if not words:
        raise DeclarationError(f"route `{line}': a network expected, as `ip route' prints it")
    where = words.pop(0)
    devices: list[str] = []
    gateway, metric, family = False, 0, 6 if ":" in line else 4
    while words:
        word = words.pop(0)
        if word in _FLAGS or word == "nexthop":
            continue
        if word == "inet6":
            family = 6
            continue
        if word not in _WITH_WORD or not words:
            raise DeclarationError(f"route `{line}': `{word}' is not expected here")
        value = words.pop(0)
        if word == "via" and value in ("inet", "inet6") and words:
            value = words.pop(0)
        if word == "dev":
            devices.append(value)
        gateway |= word == "via"
        if word == "metric":
            if not value.isdecimal() or len(value) > 10:
                raise DeclarationError(f"route `{line}': metric `{value}' is not a number")
            metric = int(value)
    if where == "default":
        where = "::/0" if family == 6 else "0.0.0.0/0"
    try:
        network = ipaddress.ip_network(where)
    except ValueError:
        raise DeclarationError(f"route `{line}': `{where}' is not a network") from None
    return Route(network, kind, tuple(devices), gateway, metric)


def parse_local(text: str) -> list[Route]:
    """The routes that an address of the host brings with it: `ADDR`, `ADDR/LENGTH`, and `%DEVICE` behind either.

    With a length the network is on the link, and its highest IPv4 address is its broadcast address.
    """
    where, _, device = text.strip().partition("%")
    devices = (device,) if device else ()
    try:
        interface = ipaddress.ip_interface(where)
    except ValueError:
        raise DeclarationError(f"{text}: an IPv4 or IPv6 address expected, with /LENGTH or not") from None
    address, network = interface.ip, interface.network
    found = [Route(ipaddress.ip_network(address), "local", devices)]
    if "/" not in where or network.num_addresses == 1:
        return found
    found.append(Route(network, "unicast", devices))
    if isinstance(network, ipaddress.IPv4Network) and network.num_addresses > 2:
        found.append(Route(ipaddress.ip_network(network.broadcast_address), "broadcast", devices))
    return found


def _always(family: int) -> list[Route]:
    """What every host has."""
    if family == 4:
        return [Route(ipaddress.ip_network("127.0.0.0/8"), "local", ("lo",))]
    return [Route(ipaddress.ip_network("::1"), "local", ("lo",)), Route(ipaddress.ip_network("ff00::/8"), "multicast")]


class Fib:
    """One family's routes, the ones of the table local apart."""

    def __init__(self, family: int, routes: Iterable[Route], declared: bool) -> None:
        mine = [route for route in routes if route.network.version == family]
        self.declared = declared and any(not route.of_host for route in mine)
        mine += _always(family)
        if not self.declared:
            mine.append(Route(ipaddress.ip_network("::/0" if family == 6 else "0.0.0.0/0")))
        self.family = family
        self.bits = 128 if family == 6 else 32
        self._tables: list[dict[tuple[int, int], Route]] = [{}, {}]
        for route in sorted(mine, key=lambda route: -route.metric):
            if route.kind != "throw":
                key = (int(route.network.network_address), route.network.prefixlen)
                self._tables[not route.of_host][key] = route
        self._lengths = [sorted({length for _, length in table}, reverse=True) for table in self._tables]
        self.devices = sorted({device for route in mine for device in route.devices})

    def starts(self, *more: int) -> list[int]:
        """The first addresses of the ranges within which every question has one answer."""
        found = {0, *more}
        for table in self._tables:
            for first, length in table:
                found.add(first)
                found.add(first + (1 << (self.bits - length)))
        found.discard(1 << self.bits)
        return sorted(found)

    def look_up(self, address: int, device: str | None = None, tables: tuple[int, ...] = (0, 1)) -> Route | None:
        """The longest route to an address, among those that lead to a device if one is named; the table local first."""
        for number in tables:
            table = self._tables[number]
            for length in self._lengths[number]:
                rest = self.bits - length
                route = table.get((address >> rest << rest, length))
                if route is not None and (device is None or not route.devices or device in route.devices):
                    return route
        return None


@dataclass(slots=True)
class Declared:
    """What was declared; `zone` in minutes east of UTC, None: not told. `broadcasts` are the local networks' broadcast
    addresses with their masks, 4 bytes each."""

    fib: dict[int, Fib]
    has_local: bool = False
    broadcasts: dict[bytes, bytes] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)
    assume: dict[str, bool] = field(default_factory=dict)
    zone: int | None = None


def broadcasts(told: Iterable[Route]) -> dict[bytes, bytes]:
    """The broadcast addresses of the networks that local addresses lie in, with their masks; of two networks with the
    same one the first declared counts."""
    found: dict[bytes, bytes] = {}
    network = None
    for route in told:  # a network's broadcast address stands right behind it
        if route.kind == "broadcast" and isinstance(network, ipaddress.IPv4Network):
            found.setdefault(route.network.network_address.packed, network.netmask.packed)
        network = route.network
    return found


def declare(
    local: Iterable[str] = (),
    routes: Iterable[str] | str = (),
    groups: Mapping[str, int] | None = None,
    assume: Mapping[str, bool] | None = None,
    zone: int | None = None,
) -> Declared:
    """The facts behind an engine's arguments of these names. DeclarationError: one of them cannot be."""
    lines = routes.splitlines() if isinstance(routes, str) else routes
    told = [route for text in local for route in parse_local(text)]
    has_local = bool(told)
    listed = [parse_route(line) for line in lines if line.strip()]
    for name in assume or {}:
        if name not in ASSUMABLE:
            raise DeclarationError(f"match `{name}' is not assumed: expected one of {', '.join(ASSUMABLE)}")
    for name, number in (groups or {}).items():
        if not 0 <= number < 1 << 32:
            raise DeclarationError(f"group of {name}: a number from 0 to 4294967295 expected, not {number}")
    if zone is not None and not -_ZONE_LIMIT < zone < _ZONE_LIMIT:
        raise DeclarationError(f"time zone: minutes east of UTC expected, less than a day, not {zone}")
    fib = {family: Fib(family, [*told, *listed], bool(listed)) for family in (4, 6)}
    has_local |= any(route.of_host for route in listed)
    return Declared(fib, has_local, broadcasts(told), dict(groups or {}), dict(assume or {}), zone)


def merged(starts: list[int], answers: list[object]) -> Iterator[tuple[int, object]]:
    """Ranges with neighbours of one answer joined."""
    last: object = None
    for start, answer in zip(starts, answers, strict=True):
        if start == 0 or answer != last:
            yield start, answer
        last = answer
