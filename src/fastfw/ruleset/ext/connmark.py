"""connmark and CONNMARK: the connection's mark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option, Site, Target
from fastfw.ruleset.ext.mark import Masked, and_mark, or_mark, set_mark, xor_mark
from fastfw.ruleset.ext.values import masked, number, show_masked
from fastfw.ruleset.numbers import UINT32


@dataclass(slots=True)
class ConnMark(Match):
    """`mark` is (value, mask): connection mark & mask == value."""

    name: ClassVar[str] = "connmark"

    mark: Masked = (0, UINT32)
    invert: bool = False

    options: ClassVar[tuple[Option, ...]] = (Option("mark", "mark", masked(), show_masked, "invert", required=True),)


_SETTING = ("set-xmark", "set-mark", "and-mark", "or-mark", "xor-mark")
_MODES = (*_SETTING, "save-mark", "restore-mark")


def _others(name: str) -> tuple[str, ...]:
    return tuple(mode for mode in _MODES if mode != name)


@dataclass(slots=True)
class SetConnMark(Target):
    """`mode` is set, save or restore.

    set: ctmark = ctmark & ~ctmask ^ value. save: ctmark = ctmark & ~ctmask ^ shifted(nfmark & nfmask).
    restore: nfmark = nfmark & ~nfmask ^ shifted(ctmark & ctmask). `shift` is to the left, negative to the right.
    """

    name: ClassVar[str] = "CONNMARK"

    mode: str = ""
    value: int = 0
    ctmask: int = UINT32
    nfmask: int = UINT32
    shift: int = 0

    options: ClassVar[tuple[Option, ...]] = (
        Option("set-xmark", "mode", masked(), excludes=_others("set-xmark")),
        Option("set-mark", "mode", set_mark, excludes=_others("set-mark")),
        Option("and-mark", "mode", and_mark, excludes=_others("and-mark")),
        Option("or-mark", "mode", or_mark, excludes=_others("or-mark")),
        Option("xor-mark", "mode", xor_mark, excludes=_others("xor-mark")),
        Option("save-mark", "mode", value="save", excludes=("restore-mark",)),
        Option("restore-mark", "mode", value="restore"),
        Option("left-shift-mark", "shift", number(UINT32), excludes=("right-shift-mark",)),
        Option("right-shift-mark", "shift", number(UINT32)),
        Option("ctmask", "ctmask", number(UINT32), excludes=("mask",)),
        Option("nfmask", "nfmask", number(UINT32), excludes=("mask",)),
        Option("mask", "ctmask", number(UINT32)),
    )

    def read(self, option: Option, text: str, invert: bool, context: Context) -> None:
        """The setting forms hold a value and a mask; `--mask` is both masks."""
        Target.read(self, option, text, invert, context)
        if option.name in _SETTING:
            assert option.parse is not None
            self.value, self.ctmask = option.parse(text, context)
            self.mode = "set"
        elif option.name == "mask":
            self.nfmask = self.ctmask
        elif option.name == "right-shift-mark":
            self.shift = -self.shift

    def finish(self, context: Context) -> None:
        """One operation must be given."""
        if not self.mode:
            raise Refusal("CONNMARK needs --set-xmark, --save-mark, --restore-mark or one of their forms")
        Target.finish(self, context)

    def check(self, site: Site) -> None:
        """A mark has 32 bits to shift by."""
        if abs(self.shift) > 31:
            raise Refusal("CONNMARK cannot shift a mark by more than 31 bits")

    def save(self, family: int) -> str:
        """One operation, its masks always."""
        if self.mode == "set":
            out = f" --set-xmark {self.value:#x}/{self.ctmask:#x}"
        else:
            out = f" --{self.mode}-mark --nfmask {self.nfmask:#x} --ctmask {self.ctmask:#x}"
        if self.shift:
            out += f" --{'left' if self.shift > 0 else 'right'}-shift-mark {abs(self.shift)}"
        return out
