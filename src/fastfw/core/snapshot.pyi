from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fastfw.connection import Connection
from fastfw.core.engine import Core

ENTRY: np.dtype[np.void]
EXTRA: np.dtype[np.void]
EXPECT: np.dtype[np.void]
EVENT: np.dtype[np.void]
EXPECTATION_EVENT: np.dtype[np.void]
CALL: np.dtype[np.void]

def entries(
    core: Core,
) -> tuple[npt.NDArray[np.void], npt.NDArray[np.uint32], npt.NDArray[np.void] | None]: ...
def expectations(core: Core) -> npt.NDArray[np.void]: ...
def calls(core: Core) -> npt.NDArray[np.void]: ...
def check_calls(table: npt.NDArray[np.void]) -> None: ...
def put_calls(core: Core, table: npt.NDArray[np.void], where: dict[int, int]) -> int: ...
def put_entries(
    core: Core,
    table: npt.NDArray[np.void],
    indices: npt.NDArray[np.uint32],
    extras: npt.NDArray[np.void] | None,
    helpers: npt.NDArray[np.uint8],
    behind: int = 0,
    templates: Mapping[int, int] | None = None,
) -> tuple[int, int, dict[int, int]]: ...
def notes(core: Core) -> list[tuple[int, int, dict[str, Any]]]: ...
def put_notes(
    core: Core,
    told: Iterable[tuple[int, int, dict[str, Any]]],
    helpers: npt.NDArray[np.uint8],
    where: dict[int, int],
) -> None: ...
def check_expectations(table: npt.NDArray[np.void], helper_count: int) -> None: ...
def put_expectations(
    core: Core, table: npt.NDArray[np.void], helpers: npt.NDArray[np.uint8], where: dict[int, int]
) -> int: ...
def entry_of(connection: Connection, now: int, states: Mapping[str, int]) -> npt.NDArray[np.void]: ...
def remove(core: Core, table: npt.NDArray[np.void], indices: npt.NDArray[np.uint32]) -> int: ...
def change(
    core: Core,
    table: npt.NDArray[np.void],
    indices: npt.NDArray[np.uint32],
    mark: int = 0,
    mark_mask: int = 0,
    timeout: int | None = None,
    status: int = 0,
) -> int: ...
def forget_expectations(core: Core) -> None: ...
def watch(core: Core, room: int, expectations: bool = False) -> None: ...
def take_events(core: Core, expectations: bool = False) -> tuple[npt.NDArray[np.void], int]: ...
