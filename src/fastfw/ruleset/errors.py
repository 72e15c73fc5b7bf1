"""The errors of the language: `Refusal` without a place in the text, `RulesetError` with one; and a warning,
`RulesetNotice`."""

from __future__ import annotations

REASON_LIMIT = 400
"""Characters of a reason; the middle of a longer one, some endless word of the text, is left out."""


class Refusal(ValueError):
    """A value, option or rule that iptables refuses; whoever knows the place turns it into a `RulesetError`."""


class OptionRefusal(Refusal):
    """A refusal of the option itself, whatever its value."""


class RulesetError(ValueError):
    """Text that is not a ruleset, or a rule that the kernel would not load.

    `line` and `column` count from 1 (0: the rule was built by hand and has no place in a text);
    `reason` says what is wrong and what was expected; `family` whose ruleset an engine would not take (0: any's).
    """

    family = 0

    def __init__(self, reason: str, line: int = 0, column: int = 0, filename: str = "-") -> None:
        if len(reason) > REASON_LIMIT:
            reason = f"{reason[: REASON_LIMIT // 2]} ... {reason[-REASON_LIMIT // 2 :]}"
        super().__init__(reason, line, column, filename)
        self.reason = reason
        self.line = line
        self.column = column
        self.filename = filename

    def __str__(self) -> str:
        return f"{self.line}:{self.column}: {self.reason}"


class RulesetNotice(UserWarning):
    """What an engine will not do as the kernel would, though it takes the ruleset: once for each kind of it, with the
    first rule that asks for it. `line`, `column`, `reason` and `family` as in `RulesetError`."""

    def __init__(self, reason: str, line: int = 0, column: int = 0, family: int = 0) -> None:
        super().__init__(reason, line, column)
        self.family = family
        self.reason = reason
        self.line = line
        self.column = column

    def __str__(self) -> str:
        return f"{self.line}:{self.column}: {self.reason}" if self.line else self.reason
