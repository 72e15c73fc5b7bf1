"""What a packet's headers say, in words: the summary of a packet, and the ends of its conversation."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from fastfw.cli.names import protocol_name
from fastfw.core.reasons import flag_names

TCP, UDP, DCCP, SCTP, UDPLITE = 6, 17, 33, 132, 136
WITH_PORTS = {TCP, UDP, DCCP, SCTP, UDPLITE}
ICMP, ICMPV6 = 1, 58


@dataclass(frozen=True, slots=True)
class Headers:
    """The fields that rules compare. `ip` and `transport` are the beginnings of the two headers, in network order;
    `transport` is empty for a later fragment. Numbers that are not there are None."""

    family: int
    protocol: int
    length: int
    fragment: bool
    ip: bytes
    transport: bytes

    @classmethod
    def of(cls, packet: bytes, length: int) -> Headers:
        """Of a packet's first bytes, as far as they can be told without following IPv6 extension headers."""
        family = packet[0] >> 4 if packet else 0
        if (family, len(packet) >= 20) == (4, True):
            later = int.from_bytes(packet[6:8], "big") & 0x1FFF != 0
            return cls(4, packet[9], length, later, packet[:40], b"" if later else packet[(packet[0] & 15) * 4 :])
        if (family, len(packet) >= 40) == (6, True):
            return cls(6, packet[6], length, False, packet[:40], packet[40:])
        return cls(0, 0, length, False, b"", b"")

    @property
    def source(self) -> str:
        """The source address."""
        return self._address(12, 8)

    @property
    def destination(self) -> str:
        """The destination address."""
        return self._address(16, 24)

    def _address(self, at4: int, at6: int) -> str:
        raw = self.ip[at4 : at4 + 4] if self.family == 4 else self.ip[at6 : at6 + 16]
        return str(ipaddress.ip_address(raw)) if self.family else "-"

    def _port(self, at: int) -> int | None:
        if self.protocol not in WITH_PORTS or self.fragment or len(self.transport) < at + 2:
            return None
        return int.from_bytes(self.transport[at : at + 2], "big")

    @property
    def source_port(self) -> int | None:
        """The source port."""
        return self._port(0)

    @property
    def destination_port(self) -> int | None:
        """The destination port."""
        return self._port(2)

    @property
    def flags(self) -> int | None:
        """TCP's flag byte."""
        return self.transport[13] if self.protocol == TCP and not self.fragment and len(self.transport) > 13 else None

    @property
    def icmp(self) -> tuple[int, int] | None:
        """ICMP's type and code."""
        if self.protocol not in (ICMP, ICMPV6) or self.fragment or len(self.transport) < 2:
            return None
        return self.transport[0], self.transport[1]

    @property
    def tcp_options(self) -> list[int]:
        """The kinds of TCP's options, in order (RFC 9293 section 3.1)."""
        if self.flags is None:
            return []
        kinds, at, end = [], 20, min((self.transport[12] >> 4) * 4, len(self.transport))
        while at < end:
            kinds.append(self.transport[at])
            step = self.transport[at + 1] if kinds[-1] > 1 and at + 1 < end else 1
            at += max(1, step)
        return kinds

    def ends(self) -> tuple[str, str]:
        """Both ends, with their ports where they have some."""
        return _end(self.source, self.source_port), _end(self.destination, self.destination_port)

    def conversation(self) -> str:
        """The protocol and both ends."""
        return " ".join([protocol_name(self.protocol), " > ".join(self.ends())])

    def __str__(self) -> str:
        """The packet in one line."""
        if not self.family:
            return "no IP packet"
        source, destination = self.ends()
        parts = [f"IPv{self.family} {protocol_name(self.protocol)} {source} > {destination}"]
        if self.fragment:
            parts.append("a later fragment")
        if self.flags is not None:
            parts.append(flag_names(self.flags))
            parts.append(f"sequence {int.from_bytes(self.transport[4:8], 'big')}")
            if self.flags & 16:
                parts.append(f"acknowledgement {int.from_bytes(self.transport[8:12], 'big')}")
        if self.icmp:
            parts.append("type {} code {}".format(*self.icmp))
        parts.append(f"{self.length} bytes")
        return ", ".join(parts)


def _end(address: str, port: int | None) -> str:
    if port is None:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
