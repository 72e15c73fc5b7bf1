"""The one form of every extension: a slotted dataclass and a table of its options.

An extension is found by name (`-m NAME`, `-j NAME`) and family. Reading makes an instance with its defaults, then sets
a field for every option met; `finish` checks what only the whole can tell; `check` is what the kernel would refuse when
the rule is loaded; `save` prints the options as iptables-save does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from fastfw.ruleset.errors import OptionRefusal, Refusal
from fastfw.ruleset.names import protocol_name

if TYPE_CHECKING:
    from fastfw.ruleset.model import Rule

BOTH = (4, 6)

_USED = "option --{} can only be used once"


@dataclass(slots=True)
class Context:
    """What an option's value may depend on while it is read: the family, the rule so far, this extension's options."""

    family: int
    rule: Rule
    seen: set[str]


@dataclass(slots=True)
class Site:
    """Where a rule stands when the kernel is asked to load it: `hooks` are the built-in chains that can reach it."""

    family: int
    table: str
    hooks: frozenset[str]
    rule: Rule


Parser = Callable[[str, Context], Any]
Printer = Callable[[Any, int], str]


@dataclass(frozen=True, slots=True)
class Option:
    """One option of an extension.

    `field` receives what `parse` makes of the value; without `parse` the option takes none and sets `value`. An option
    whose `field` is "" is left to the extension's own `read`.
    `negate` names the boolean field of `!`; "" refuses it. Printing leaves the option out where the field equals
    `hide` and is not inverted, and always when `silent`. `show` gets the value and the family. `words` counts its
    values: two reach `parse` joined by NUL; `optional` ones may be left out, and then `parse` gets "".
    """

    name: str
    field: str
    parse: Parser | None = None
    show: Printer | None = None
    negate: str = ""
    aliases: tuple[str, ...] = ()
    required: bool = False
    repeat: bool = False
    excludes: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    words: int = 1
    optional: bool = False
    value: Any = True
    hide: Any = None
    silent: bool = False


@dataclass(slots=True)
class Extension:
    """What matches and targets share. Subclasses are dataclasses whose fields all have defaults."""

    name: ClassVar[str] = ""
    families: ClassVar[tuple[int, ...]] = BOTH
    aliases: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[tuple[Option, ...]] = ()
    tables: ClassVar[tuple[str, ...]] = ()
    """The tables that take it; empty: all."""
    hooks: ClassVar[tuple[str, ...]] = ()
    """The built-in chains that may lead to it; empty: all."""
    protocols: ClassVar[tuple[int, ...]] = ()
    """The protocols one of which the rule must ask for, without `!`; empty: none needed."""

    def read(self, option: Option, text: str, invert: bool, context: Context) -> None:
        """Take one option. Refusal: it may not stand here, or its value is not one."""
        seen = context.seen
        if option.name in seen and not option.repeat:
            raise OptionRefusal(_USED.format(option.name))
        if invert:
            if not option.negate:
                raise OptionRefusal(f"option --{option.name} cannot be inverted")
            setattr(self, option.negate, True)
        setattr(self, option.field, option.value if option.parse is None else option.parse(text, context))
        seen.add(option.name)

    def finish(self, context: Context) -> None:
        """After the last option: what must be there is, what excludes each other is not."""
        seen = context.seen
        for option in self.options:
            if option.name not in seen:
                if option.required:
                    raise Refusal(f"{self.name} needs option --{option.name}")
                continue
            for other in option.excludes:
                if other in seen:
                    raise Refusal(f"option --{option.name} cannot be used together with --{other}")
            for other in option.requires:
                if other not in seen:
                    raise Refusal(f"option --{option.name} also needs --{other}")

    def check(self, site: Site) -> None:
        """What the kernel refuses of this extension at this place: Refusal."""
        if self.tables and site.table not in self.tables:
            raise Refusal(f"{self.name} is valid only in table {' and '.join(self.tables)}, not {site.table}")
        if self.hooks and not site.hooks.issubset(self.hooks):
            wrong = sorted(site.hooks.difference(self.hooks))
            raise Refusal(f"{self.name} is valid only in {', '.join(self.hooks)}, and {wrong[0]} leads here")
        if self.protocols and (site.rule.protocol not in self.protocols or site.rule.protocol_invert):
            raise Refusal(f"{self.name} needs -p {' or '.join(protocol_name(p) for p in self.protocols)}")

    def save(self, family: int) -> str:
        """The options as iptables-save prints them, each with a space in front."""
        out = ""
        for option in self.options:
            if option.silent:
                continue
            value = getattr(self, option.field)
            invert = bool(option.negate) and getattr(self, option.negate)
            if option.parse is None:
                if value == option.value:
                    out += f" {'! ' * invert}--{option.name}"
            elif option.show is not None and (value != option.hide or invert):
                out += f" {'! ' * invert}--{option.name} {option.show(value, family)}"
        return out


@dataclass(slots=True)
class Match(Extension):
    """A condition: `-m NAME`."""


@dataclass(slots=True)
class Target(Extension):
    """What is done with a packet that meets a rule: `-j NAME`."""
