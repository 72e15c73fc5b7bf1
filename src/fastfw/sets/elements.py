"""The text of elements: one, or all of a range."""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Iterator
from typing import Any

from fastfw.ruleset.address import FULL_MASK, INTERFACE_LIMIT, parse_host, prefix_mask
from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.values import parse_port, parse_protocol
from fastfw.ruleset.numbers import UINT16, UINT32, parse_number
from fastfw.sets.messages import PROTOCOLS, parse_message
from fastfw.sets.model import Element, IpSet
from fastfw.sets.types import ZERO_LENGTH

TCP = 6
WITH_PORTS = {6: "tcp", 17: "udp", 132: "sctp", 136: "udplite"}
NOT_ZERO = ("hash:ip", "hash:ip,port")
RANGE_LIMIT = 1 << 16
"""Elements that one line may stand for, unless its set takes more."""

_MAC = re.compile(r"(?:[0-9a-fA-F]{1,2}:){5}[0-9a-fA-F]{1,2}")


def _length(text: str, family: int) -> int:
    return parse_number(text, FULL_MASK[family].bit_length())


def address_range(text: str, family: int) -> tuple[int, int]:
    """`address`, `address/length`, or of IPv4 `first-last`, as its ends."""
    first, dash, last = text.partition("-")
    if dash and family == 4:
        low, high = parse_host(first, family), parse_host(last, family)
        return (low, high) if low <= high else (high, low)
    address, slash, length = text.partition("/")
    value = parse_host(address, family)
    if not slash:
        return value, value
    mask = prefix_mask(_length(length, family), family)
    return value & mask, value & mask | mask ^ FULL_MASK[family]


def _counted(values: range, one: IpSet) -> range:
    """The values, unless there are more of them than the set takes."""
    size = (values.stop - values.start + values.step - 1) // values.step
    if size > max(one.most, RANGE_LIMIT):
        raise Refusal(f"{size} elements are more than the set takes")
    return values


def _hosts(text: str, one: IpSet) -> Iterator[int]:
    family = one.family or 4
    low, high = address_range(text, family)
    if family == 6 and low != high:
        raise Refusal(f"`{text}' is more than one IPv6 address, which this type does not take")
    mask = FULL_MASK[family]
    if one.netmask is not None:
        mask = prefix_mask(one.netmask, family)
    elif one.bitmask is not None:
        mask = one.bitmask
    if low == high:
        yield low & mask
        return
    if one.bitmask is not None:
        yield from dict.fromkeys(value & mask for value in _counted(range(low, high + 1), one))
        return
    step = (mask ^ FULL_MASK[family]) + 1
    yield from _counted(range(low & mask, high + 1, step), one)


def _networks(text: str, one: IpSet) -> Iterator[tuple[int, int]]:
    family = one.family or 4
    full = FULL_MASK[family].bit_length()
    if "-" in text and family == 4:
        low, high = address_range(text, family)
        found = ipaddress.summarize_address_range(ipaddress.IPv4Address(low), ipaddress.IPv4Address(high))
        pairs = [(int(network.network_address), network.prefixlen) for network in found]
    else:
        address, slash, length = text.partition("/")
        size = _length(length, family) if slash else full
        pairs = [(parse_host(address, family) & prefix_mask(size, family), size)]
    for value, size in pairs:
        if not size and one.type.name not in ZERO_LENGTH:
            raise Refusal(f"`{text}': this type does not take the network of all addresses")
        kept = value
        if one.netmask is not None:
            kept &= prefix_mask(one.netmask, family)
        elif one.bitmask is not None:
            kept &= one.bitmask
        yield kept, size


def _ports(text: str, one: IpSet) -> Iterator[tuple[int, int]]:
    """Protocol and port, as `[protocol:]port[-port]`, `icmp:message` or `protocol:0` tells them."""
    name, colon, ports = text.partition(":")
    protocol = TCP
    if colon:
        protocol = parse_protocol(name)
    else:
        ports = name
    if not protocol:
        raise Refusal(f"`{name}' is no protocol")
    if protocol in PROTOCOLS:
        yield protocol, parse_message(ports, protocol)
        return
    if protocol not in WITH_PORTS:
        if ports != "0":
            raise Refusal(f"`{text}': protocol {name} has no ports, expected {name}:0")
        yield protocol, 0
        return
    low, high = port_range(ports, WITH_PORTS[protocol])
    for port in range(low, high + 1):
        yield protocol, port


def port_range(text: str, protocol: str) -> tuple[int, int]:
    """`port` or `port-port`, numbers or services' names; a name with a dash stands in brackets."""
    if text.startswith("["):
        ends = [end.strip("[]") for end in text.split("]-")]
    else:
        ends = text.split("-") if "-" in text else [text]
    if len(ends) > 2:
        raise Refusal(f"`{text}' is neither a port nor two with a dash between them")
    low, high = sorted((parse_port(ends[0], protocol), parse_port(ends[-1], protocol)))
    return low, high


def _bare_ports(text: str, one: IpSet) -> Iterator[tuple[int, int]]:
    name, colon, ports = text.rpartition(":")
    if colon and name not in ("tcp", "udp"):
        raise Refusal(f"`{text}': ports of tcp or udp expected")
    low, high = port_range(ports, name or "tcp")
    for port in range(low, high + 1):
        yield 0, port


def parse_mac(text: str) -> bytes:
    """Six bytes with colons between them, not all zero."""
    if not _MAC.fullmatch(text):
        raise Refusal(f"`{text}' is no hardware address: expected six bytes like 02:00:00:00:00:01")
    mac = bytes(int(byte, 16) for byte in text.split(":"))
    if not any(mac):
        raise Refusal(f"`{text}': the address of zeros is in no set")
    return mac


def _interface(text: str) -> tuple[str, bool]:
    """The name, and whether it is a bridge's port."""
    bridge_port = text.startswith("physdev:")
    name = text.removeprefix("physdev:")
    if not 0 < len(name.encode("utf-8", "surrogateescape")) <= INTERFACE_LIMIT:
        raise Refusal(f"`{text}': an interface's name of 1 to {INTERFACE_LIMIT} bytes expected")
    return name, bridge_port


def elements(text: str, one: IpSet) -> Iterator[Element]:
    """The elements of a set that a word of a line stands for. Refusal: it is none."""
    parts = one.type.parts
    if parts == ("set",):
        yield Element(set_name=text)
        return
    words = text.split(",")
    optional = one.type.name == "bitmap:ip,mac"
    if len(words) != len(parts) and not (optional and len(words) == 1):
        raise Refusal(f"`{text}' has {len(words)} parts: {one.type.name} expects {','.join(parts)}")
    choices: list[list[dict[str, Any]]] = []
    for place, (word, part) in enumerate(zip(words, parts, strict=False)):
        choices.append(list(_choices(word, part, place, one)))
    for chosen in itertools.product(*choices):
        fields: dict[str, Any] = {}
        for choice in chosen:
            fields.update(choice)
        element = Element(**fields)
        check(element, one)
        yield element


def _choices(word: str, part: str, place: int, one: IpSet) -> Iterator[dict[str, object]]:
    side = "second" if place else "first"
    if part == "ip":
        found = list(_hosts(word, one)) if not place or one.type.method == "bitmap" else [_host(word, one)]
        for value in found:
            yield {side: value}
    elif part == "net":
        for value, length in _networks(word, one):
            yield {side: value, f"{side}_length": length}
    elif part == "port":
        for protocol, port in (_bare_ports if one.type.method == "bitmap" else _ports)(word, one):
            yield {"protocol": protocol, "port": port}
    elif part == "mark":
        yield {"mark": parse_number(word, UINT32) & one.mark_mask}
    elif part == "mac":
        yield {"mac": parse_mac(word)}
    else:
        name, bridge_port = _interface(word)
        yield {"interface": name, "bridge_port": bridge_port}


def _host(text: str, one: IpSet) -> int:
    family = one.family or 4
    low, high = address_range(text, family)
    if low != high:
        raise Refusal(f"`{text}' is more than one address")
    return low


def check(element: Element, one: IpSet) -> None:
    """Refusal: an element lies outside its set's range, or is one that no set of its type has."""
    if one.type.method == "bitmap":
        value = element.port if one.type.parts == ("port",) else element.first
        if not one.low <= value <= one.high:
            raise Refusal("the element lies outside the range of the set")
    elif one.type.name in NOT_ZERO and not element.first:
        raise Refusal("the address of zeros is in no set")


def range_of(text: str, parts: tuple[str, ...]) -> tuple[int, int]:
    """The range of a bitmap."""
    if parts == ("port",):
        low, high = port_range(text.rpartition(":")[2], "tcp")
        return low, min(high, UINT16)
    return address_range(text, 4)
