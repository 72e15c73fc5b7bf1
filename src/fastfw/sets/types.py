"""The types of sets: what their elements are made of, and how they are created."""

from __future__ import annotations

from dataclasses import dataclass

ADDRESS_PARTS = ("ip", "net")


@dataclass(slots=True, frozen=True)
class SetType:
    """A type by name: `method` is bitmap, hash or list, `parts` what an element is made of, in order."""

    name: str
    method: str
    parts: tuple[str, ...]

    @property
    def has_family(self) -> bool:
        """Whether a set of it is of one family, inet or inet6."""
        return self.method == "hash" and self.parts != ("mac",)

    @property
    def has_networks(self) -> bool:
        """Whether its elements may be networks of any size, and say nomatch."""
        return self.method == "hash" and "net" in self.parts


NAMES = (
    "bitmap:ip", "bitmap:ip,mac", "bitmap:port", "hash:ip", "hash:ip,mac", "hash:ip,mark", "hash:ip,port",
    "hash:ip,port,ip", "hash:ip,port,net", "hash:mac", "hash:net", "hash:net,iface", "hash:net,net", "hash:net,port",
    "hash:net,port,net", "list:set",
)  # fmt: skip

OLD_NAMES = {
    "ipmap": "bitmap:ip", "macipmap": "bitmap:ip,mac", "portmap": "bitmap:port", "iphash": "hash:ip",
    "nethash": "hash:net", "ipporthash": "hash:ip,port", "ipportiphash": "hash:ip,port,ip",
    "ipportnethash": "hash:ip,port,net", "setlist": "list:set", "iptree": "hash:ip", "iptreemap": "hash:ip",
}  # fmt: skip


def _type(name: str) -> SetType:
    method, _, parts = name.partition(":")
    return SetType(name, method, tuple(parts.split(",")))


TYPES = {name: _type(name) for name in NAMES}
TYPES.update((old, TYPES[name]) for old, name in OLD_NAMES.items())

MASKED = ("hash:ip", "hash:ip,port", "hash:net,net")
"""Types whose addresses may be kept under a mask of the set's own."""

ZERO_LENGTH = ("hash:net,iface", "hash:net,port,net")
"""Types that take the network of all addresses."""
