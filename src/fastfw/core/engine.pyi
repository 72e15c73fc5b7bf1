"""Packets in, decisions out. `Core` holds the tracker and the rules; fastfw.engine makes it pleasant."""

from collections.abc import Callable, Iterable
from mmap import mmap
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastfw.core.decision import Decision
from fastfw.core.rules import Rules

# One packet's decision: verdict, state, direction, assured, seen_reply, expected, rule, reason, mark; 16 bytes.
DECISION: Final[np.dtype[np.void]]

# What the link layer says of a packet: target, source (both 6 bytes), type (a LinkType), known (LinkBits); 16 bytes.
LINK: Final[np.dtype[np.void]]

class Core:
    """The tracker, the rules and the lock they share."""

    def __init__(self, settings: dict[str, int], seed: bytes, clock: Callable[[], int]) -> None: ...
    def decide(
        self,
        packet: npt.NDArray[np.uint8] | bytes | bytearray | memoryview | mmap,
        hook: str = "FORWARD",
        iif: str = "",
        oif: str = "",
        now: int | None = None,
    ) -> Decision:
        """Judge one IP packet, any bytes-like object; `now` is the clock in ns, the wall clock without it."""

    @property
    def conntrack_count(self) -> int:
        """Connections in the table, those included whose time is up but which no packet has met since."""

    @property
    def fragments(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """What waits for reassembly, IPv4 and IPv6: (datagrams, bytes charged for them) each."""

    @property
    def now(self) -> int:
        """The engine's clock, ns."""

    def _template(
        self,
        zone: int,
        zone_of_mark: bool,
        helper: int,
        timeouts: dict[int, int],
        events: int,
        expect_events: int,
    ) -> int: ...
    def _set(self, name: str, value: int) -> None: ...
    def _get(self, name: str) -> int: ...
    def _replace(self, family: int, rules: Rules | None) -> None: ...
    def _rules(self, family: int) -> Rules: ...
    def _rule_counters(self, family: int) -> npt.NDArray[np.uint64] | None: ...
    def _held(self, call: Callable[[], Any]) -> Any: ...
    def _process(
        self,
        data: npt.NDArray[np.uint8],
        offset: npt.NDArray[np.uint64],
        length: npt.NDArray[np.uint32],
        time_ns: npt.NDArray[np.int64],
        wire_length: npt.NDArray[np.uint32] | None,
        hooks: npt.NDArray[np.uint8] | None,
        hook: int,
        iif: str,
        oif: str,
        out: npt.NDArray[np.uint8],
        links: npt.NDArray[np.uint8] | None = None,
    ) -> None: ...
    def _flush(self) -> None: ...
    def _table_statistics(self) -> dict[str, int]:
        """How the table stands: count, capacity, used, bucket_count, spilled, fullest."""

    def _sweep(self, now: int) -> None: ...
    def _stream_statistics(self) -> tuple[int, int, int]: ...
    def _attach(self, helper: object, ports: Iterable[tuple[int, int]]) -> None: ...
    def helper_names(self) -> list[str]:
        """Of the helpers the engine carries, by number; 0 is none."""

    def helper_classes(self) -> list[tuple[str, ...]]:
        """What each helper calls its classes of expectations, by the helper's number."""

    def _read_queues(self, numbers: Iterable[int] | None) -> None: ...
    def _open_logs(self, room: int, snap: int) -> None: ...
    def _take_logs(
        self,
    ) -> tuple[list[tuple[npt.NDArray[np.void], list[bytes], Rules | None, Rules | None]], int]: ...
    def _interface_names(self) -> list[str]:
        """The interfaces' names by number."""

    def _counters(self) -> tuple[list[int], list[int]]: ...
