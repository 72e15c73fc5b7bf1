"""The compiled ruleset as the engine takes it."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt

from fastfw.core.amounts import Kept
from fastfw.core.setstore import SetStore

class Rules:
    """A compiled ruleset of one family; fastfw.ruleset.compile makes it, one Engine at a time uses it."""

    chains: tuple[tuple[str, str, int, int], ...]
    """(table, chain, index of its first rule, index of its end), in order."""

    wants_accounting: bool
    """Whether a rule asks what connections have carried."""

    wants_labels: bool
    """Whether a rule asks for connections' labels."""

    reads_payload: bool
    """Whether a rule looks beyond the transport header."""

    source: object
    """What its maker wants to keep beside it."""

    notices: tuple[tuple[str, int, int], ...]
    """(reason, line, column) of what is not done as the kernel would do it."""

    def __new__(
        cls,
        family: int,
        rules: bytes | bytearray,
        predicates: bytes | bytearray,
        counters: npt.NDArray[np.uint8],
        words: npt.NDArray[np.uint8],
        numbers: npt.NDArray[np.uint8],
        limits: npt.NDArray[np.uint64],
        registers: npt.NDArray[np.uint8],
        recents: npt.NDArray[np.uint64],
        stages: Sequence[tuple[int, int, int, int, str]],
        chains: tuple[tuple[str, str, int, int], ...],
        patterns: Sequence[tuple[str, bool]],
        status_mask: int,
        looks_at_connmark: bool,
        traces: bool,
        rewrites: bool,
        remember: bool = True,
        classify: bool = True,
    ) -> Self: ...
    def keep(self, kept: Kept) -> None:
        """Take over the tables that the rules remember in."""

    def use(self, store: SetStore) -> None:
        """The sets that rules name by number."""

    def bind_interface(self, number: int, name: str) -> None:
        """Tell which of the rules' interface patterns a name meets, before any packet carries its number."""

    def unbind_interface(self, number: int) -> None:
        """Take back what was told of a name that could not be told everywhere: its number is free for another."""

    def rule_name(self, index: int) -> str:
        """`table:chain:rule:N` or `table:chain:policy:N` (`return` at a user chain's end); N counts from 1."""

    def counters(self) -> npt.NDArray[np.uint64]:
        """Packets and bytes of every rule and policy, by index: an array of shape (rules, 2). Nobody else may run."""

    @property
    def path_count(self) -> int:
        """Paths remembered now."""
