from collections.abc import Callable
from typing import Self

from fastfw.core.engine import Core
from fastfw.drivers.bypass import Bypass
from fastfw.drivers.netlink import QueueError as QueueError
from fastfw.drivers.rejected import Rejected

class Queue:
    number: int
    copy_range: int
    copying: int
    length: int
    received: int
    accepted: int
    dropped: int
    repeated: int
    refused_verdicts: int
    def __init__(
        self,
        engine: Core,
        number: int = 0,
        *,
        copy_range: int = 128,
        length: int = 4096,
        fail_open: bool = False,
        gso: bool = True,
        receive_buffer: int = ...,
        on_reject: Callable[[Rejected], object] | None = None,
        bypass: Bypass | None = None,
    ) -> None: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *unused: object) -> None: ...
    def fileno(self) -> int: ...
    @property
    def clock(self) -> int: ...
    def stop(self) -> None: ...
    def poll(self) -> int: ...
    def run(self) -> None: ...
    def statistics(self) -> dict[str, int]: ...
