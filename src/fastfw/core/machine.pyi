"""What an engine consists of, and what its owner can set and read."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from fastfw.core.rules import Rules

class Machine:
    """The tracker, the rules and the lock they share."""

    def __init__(self, settings: dict[str, int], seed: bytes, clock: Callable[[], int]) -> None: ...
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
