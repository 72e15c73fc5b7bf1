import numpy as np
import numpy.typing as npt

DECISION_SIZE: int
CLASS_FIELDS: tuple[str, ...]

class Tally:
    """Counts packets by class (what was decided of them, and how) and by conversation. Internal to the command line."""

    class_count: int
    flow_count: int
    other_packets: int
    def __new__(cls, local4: bytes = b"", local6: bytes = b"") -> Tally: ...
    def hooks(
        self, data: npt.NDArray[np.uint8], offset: npt.NDArray[np.uint64], length: npt.NDArray[np.uint32]
    ) -> npt.NDArray[np.uint8]: ...
    def add(
        self,
        data: npt.NDArray[np.uint8],
        offset: npt.NDArray[np.uint64],
        length: npt.NDArray[np.uint32],
        wire_length: npt.NDArray[np.uint32],
        link_reason: npt.NDArray[np.uint8],
        hooks: npt.NDArray[np.uint8] | None,
        hook: int,
        decisions: npt.NDArray[np.uint8],
    ) -> npt.NDArray[np.uint32]: ...
    def classes_from(self, first: int) -> list[tuple[int, ...]]: ...
    def top_flows(self, count: int) -> list[tuple[int, int, bytes, int, bytes, int, int, int, int]]: ...

def numbered_lines(numbers: npt.NDArray[np.uint32], first: int, endings: list[bytes]) -> memoryview: ...
