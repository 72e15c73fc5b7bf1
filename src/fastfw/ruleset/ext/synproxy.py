"""SYNPROXY, TEE and TPROXY: packets answered, copied or taken by this host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.address import FULL_MASK
from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Option, Site, Target
from fastfw.ruleset.ext.mark import Masked, show_xmark
from fastfw.ruleset.ext.values import any_port, host, masked, number, show_host, show_number, show_plain, text
from fastfw.ruleset.numbers import UINT8, UINT16, UINT32


def _mss(text: str, context: Context) -> int:
    return int(number(UINT32)(text, context)) & UINT16


@dataclass(slots=True)
class SynProxy(Target):
    """Answers the handshake itself; `wscale` and `mss` None: not announced."""

    name: ClassVar[str] = "SYNPROXY"
    hooks: ClassVar[tuple[str, ...]] = ("INPUT", "FORWARD")
    protocols: ClassVar[tuple[int, ...]] = (6,)

    sack_perm: bool = False
    timestamp: bool = False
    wscale: int | None = None
    mss: int | None = None
    ecn: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("sack-perm", "sack_perm"),
        Option("timestamp", "timestamp"),
        Option("wscale", "wscale", number(UINT8), show_number),
        Option("mss", "mss", _mss, show_number),
        Option("ecn", "ecn"),
    )


@dataclass(slots=True)
class Tee(Target):
    """A copy goes to `gateway`, by way of `interface` if that is not ""."""

    name: ClassVar[str] = "TEE"

    gateway: int = 0
    interface: str = ""

    options: ClassVar[tuple[Option, ...]] = (
        Option("gateway", "gateway", host, show_host, required=True),
        Option("oif", "interface", text(15, 1), show_plain, hide=""),
    )

    def check(self, site: Site) -> None:
        """The gateway is a host."""
        if not self.gateway & FULL_MASK[site.family]:
            raise Refusal("TEE --gateway must be a host's address")


def _port(text: str, context: Context) -> int:
    return any_port(text)


@dataclass(slots=True)
class TProxy(Target):
    """Delivers to a socket here: `port` 0 the packet's own, `address` 0 the interface's; sets `mark` (value, mask)."""

    name: ClassVar[str] = "TPROXY"
    tables: ClassVar[tuple[str, ...]] = ("mangle",)
    hooks: ClassVar[tuple[str, ...]] = ("PREROUTING",)
    protocols: ClassVar[tuple[int, ...]] = (6, 17)

    port: int = 0
    address: int = 0
    mark: Masked = (0, 0)

    options: ClassVar[tuple[Option, ...]] = (
        Option("on-port", "port", _port, show_number, required=True),
        Option("on-ip", "address", host, show_host),
        Option("tproxy-mark", "mark", masked(), show_xmark),
    )
