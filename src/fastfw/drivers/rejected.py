"""What a driver tells of a packet that a REJECT rule drops, for whoever answers its sender."""

from __future__ import annotations

from typing import NamedTuple


class Rejected(NamedTuple):
    """A refused packet.

    `packet` begins at the IP header and may be cut at the driver's copy range. `hook` is a Hook, `rule` the number of
    the rule that refused it in its family's program. `vouched`: its checksums were verified, or are not written yet.
    """

    packet: bytes
    family: int
    hook: int
    rule: int
    in_interface: str
    vouched: bool
