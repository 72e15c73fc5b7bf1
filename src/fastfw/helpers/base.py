"""The form every helper has: payload and its flow in, expectations and perhaps a verdict out."""

from __future__ import annotations

import enum
from typing import Any, ClassVar, Protocol

from fastfw.core.awaited import Awaited

TCP, UDP, GRE = 6, 17, 47
"""Protocol numbers (IANA)."""

ORIGINAL, REPLY = 0, 1
"""Directions of a packet within its connection."""


class Verdict(enum.IntEnum):
    """What a helper may say of the packet whose payload it was given."""

    DROP = 0
    ACCEPT = 1


DROP, ACCEPT = Verdict.DROP, Verdict.ACCEPT


class Flow(Protocol):
    """The packet at hand and the connection it belongs to, as the engine hands them to a helper.

    Addresses are 4 (IPv4) or 16 bytes (IPv6) in network order, ports are plain numbers. Valid only during the call.
    """

    @property
    def direction(self) -> int:
        """0 if the packet goes with the connection's first packet (ORIGINAL), 1 if against it (REPLY)."""

    @property
    def family(self) -> int:
        """4 or 6."""

    @property
    def protocol(self) -> int:
        """The transport's protocol number: 6 for TCP, 17 for UDP."""

    @property
    def source(self) -> bytes:
        """Address the packet comes from."""

    @property
    def source_port(self) -> int:
        """Port the packet comes from."""

    @property
    def destination(self) -> bytes:
        """Address the packet goes to."""

    @property
    def destination_port(self) -> int:
        """Port the packet goes to."""

    @property
    def established(self) -> bool:
        """Whether the packet's state is ESTABLISHED, in either direction."""

    @property
    def expected(self) -> bool:
        """Whether the connection is itself one that a helper announced."""

    @property
    def sequence(self) -> int:
        """TCP: sequence number of the payload's first byte, 32 bits; otherwise 0."""

    @property
    def broadcast_mask(self) -> bytes | None:
        """The netmask (4 bytes) of the attached network whose broadcast address this host sends the packet to.

        None for any other packet: of another host, to a single one, over IPv6, or where no network is known.
        """

    @property
    def memory(self) -> dict[str, Any]:
        """The helper's own notes on this connection; they live as long as it does."""

    def expect(
        self,
        *,
        destination: bytes,
        port: int,
        protocol: int = TCP,
        source: bytes | None = None,
        source_mask: bytes | None = None,
        source_port: int | None = None,
        permanent: bool = False,
        timeout: int | None = None,
        class_: int = 0,
        helper: str | None = None,
        inactive: bool = False,
        shared: bool = False,
    ) -> bool:
        """Wait for one connection from `source` (None: anyone; `source_port` likewise) to `destination` and `port`.

        The connection that comes is RELATED. One like it that this connection already waits for begins its time anew;
        where the helper's limit is reached the oldest of the class gives way. `permanent` serves any number of
        connections. `source_mask`, as long as an address, says which bits of `source` count (None: all; IPv4 only).
        `timeout` is in seconds (None: the helper's own). `helper` names the helper that the connection which comes will
        carry. For GRE the ports are the call's keys, and packets of the tunnel are told by them from now on.
        `inactive`: it is kept, but no connection meets it until it is expected again without. `shared`: where another
        connection, or another class, waits for the same, that will do.

        False: it clashes with what another connection waits for, or `nf_conntrack_expect_max` is reached.
        """

    def awaiting(self, class_: int) -> list[Awaited]:
        """What this connection waits for, of one class, the oldest first."""

    def cancel(
        self, *, protocol: int, source: bytes | None, source_port: int | None, destination: bytes, port: int
    ) -> None:
        """Take back what is expected, or end the connection that met it."""

    def forget_calls(self) -> None:
        """GRE: no longer tell tunnels by the keys that this connection's expectations named."""

    def hold(self, size: int) -> None:
        """A stream's: let the last `size` bytes of the payload come again, in front of what follows them."""

    def refresh(self, seconds: int) -> None:
        """Let the connection itself live for `seconds` from now unless another packet comes."""


class Helper:
    """Subclass this to follow a protocol that announces further connections. One instance serves one engine.

    What one connection needs remembered belongs in `flow.memory`, never in the instance.
    """

    name: ClassVar[str]
    """As in `CT --helper NAME`."""

    ports: ClassVar[tuple[tuple[int, int], ...]] = ()
    """(protocol number, port) of connections the helper is for."""

    families: ClassVar[tuple[int, ...]] = (4, 6)
    """IP versions it works over."""

    limit: ClassVar[int] = 1
    """Expectations alive at once per connection; 0: no limit. One more makes the oldest give way."""

    timeout: ClassVar[int] = 300
    """Seconds an expectation waits."""

    stream: ClassVar[bool] = False
    """Whether it reads TCP payload in order and without repetition, packets' borders aside (docs/helpers.md)."""

    record_end: ClassVar[bytes] = b""
    """A stream's: the byte that ends a record, such as a newline; only whole records are then handed over."""

    stream_limit: ClassVar[int] = 65536
    """A stream's: bytes that are kept of each direction of a connection at most, up to 1048576: a record that is not
    whole, what is held, and what came before its turn. A connection that needs more is read no longer."""

    directions: ClassVar[tuple[int, ...]] = (ORIGINAL, REPLY)
    """Which directions of a connection are read."""

    prefixes: ClassVar[tuple[bytes, ...]] = ()
    """If any (at most eight): only payload that begins with one of them, in either case, needs a look. Of a stream with
    a `record_end`: payload of which any record does; likewise with `suffixes` and `contains`."""

    suffixes: ClassVar[tuple[bytes, ...]] = ()
    """If any (at most eight): payload that ends with one of them needs a look too, whatever it begins with."""

    contains: ClassVar[bytes | tuple[bytes, ...]] = b""
    """If any (at most eight): only payload that has one of them in it needs a look."""

    class_names: ClassVar[tuple[str, ...]] = ()
    """What its classes of expectations are called in listings, if it has more than one."""

    companions: ClassVar[tuple[str, ...]] = ()
    """Names of helpers that connections it announces may carry; an engine that is given it has them too."""

    def policy(self, class_: int) -> tuple[int, int]:
        """(limit, timeout in seconds) of one class of expectations."""
        return self.limit, self.timeout

    def on_payload(self, payload: memoryview, flow: Flow) -> Verdict | None:
        """Look at one packet's payload, valid only during the call; announce by `flow.expect`.

        A TCP segment's payload is never empty, a datagram's may be.

        Returns DROP to have the packet dropped; None is as good as ACCEPT. An exception detaches the helper from the
        connection; the packet goes on.
        """
        raise NotImplementedError
