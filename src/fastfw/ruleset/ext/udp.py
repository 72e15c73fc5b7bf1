"""udp: ports of the UDP header."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.ext.base import Match, Option
from fastfw.ruleset.ext.tcp import ALL_PORTS
from fastfw.ruleset.ext.values import Range, any_port_range, show_range


@dataclass(slots=True)
class Udp(Match):
    """Both ports must be in range."""

    name: ClassVar[str] = "udp"
    protocols: ClassVar[tuple[int, ...]] = (17,)

    sport: Range = ALL_PORTS
    sport_invert: bool = False
    dport: Range = ALL_PORTS
    dport_invert: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("sport", "sport", any_port_range, show_range, "sport_invert", ("source-port",), hide=ALL_PORTS),
        Option("dport", "dport", any_port_range, show_range, "dport_invert", ("destination-port",), hide=ALL_PORTS),
    )

    def save(self, family: int) -> str:
        """A full port range is no condition and is not printed, whether inverted or not."""
        out = ""
        if self.sport != ALL_PORTS:
            out += f" {'! ' * self.sport_invert}--sport {show_range(self.sport, family)}"
        if self.dport != ALL_PORTS:
            out += f" {'! ' * self.dport_invert}--dport {show_range(self.dport, family)}"
        return out
