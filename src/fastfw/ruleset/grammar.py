"""One line of iptables(8): its words become a typed `Command`.

Words are taken as getopt_long(3) takes them, because iptables does: options in any order, short ones joined, long ones
cut short where only one is meant, the extensions named so far adding theirs, the latest first. A rule's text and the
command line share this grammar.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

from fastfw.ruleset.address import Network, parse_interface, parse_network
from fastfw.ruleset.command import (
    ALLOWED,
    EXACT,
    INVERTIBLE,
    LONG,
    SHORT,
    SPELLED,
    WITH_VALUE,
    Command,
    Misplaced,
    check_chain_name,
    counter,
    rule_number,
)
from fastfw.ruleset.ctype import BLANKS, is_digits
from fastfw.ruleset.errors import OptionRefusal, Refusal
from fastfw.ruleset.ext.base import Context, Extension, Match, Option, Target
from fastfw.ruleset.ext.registry import MATCHES, OPTIONS, TARGETS
from fastfw.ruleset.ext.standard import VERDICTS, Jump
from fastfw.ruleset.ext.values import parse_protocol
from fastfw.ruleset.model import Rule
from fastfw.ruleset.names import protocol_name


@dataclass(slots=True)
class _Loaded:
    """An extension of the rule being read."""

    extension: Extension
    names: dict[str, Option]
    context: Context
    word: int


class _Reader:
    """The state of reading one line; `read` is its only use."""

    __slots__ = (
        "at",
        "chains",
        "command",
        "destinations",
        "family",
        "given",
        "invert",
        "loaded",
        "position",
        "restoring",
        "rule",
        "sources",
        "words",
    )

    def __init__(self, words: Sequence[str], family: int, chains: Container[str], restoring: bool) -> None:
        self.words = words
        self.family = family
        self.chains = chains
        self.restoring = restoring
        self.position = 0
        self.at = 0
        self.invert = False
        self.command = Command()
        self.rule = Rule()
        self.loaded: list[_Loaded] = []
        self.given: dict[str, int] = {}
        self.sources: list[Network | None] = []
        self.destinations: list[Network | None] = []

    # Words

    def peek(self) -> str | None:
        """The next word if it can be an argument: it begins with neither `-` nor `!`."""
        if self.position < len(self.words):
            word = self.words[self.position]
            if word[:1] not in ("-", "!"):
                return word
        return None

    def value(self, option: str) -> str:
        """The word after an option that needs one."""
        if self.position >= len(self.words):
            raise Refusal(f"option {option} needs a value")
        word = self.words[self.position]
        self.position += 1
        return word

    def read(self) -> Command:
        words = self.words
        count = len(words)
        at = 0
        try:
            while self.position < count:
                self.at = at = self.position
                word = words[at]
                self.position = at + 1
                exact = EXACT.get(word)
                if exact is not None:
                    self.common(exact, word, None)
                elif word[:2] == "--" and len(word) > 2:
                    self.long(word, at)
                elif word[:1] == "-" and len(word) > 1:
                    if word == "--":
                        if self.position < count:
                            raise Refusal(f"unexpected `{words[self.position]}' after --")
                        break
                    self.short(word, at)
                elif word == "!":
                    if self.invert:
                        raise Refusal("more than one ! in a row")
                    self.invert = True
                else:
                    raise Refusal(f"unexpected `{word}': expected an option")
            if self.invert:
                raise Refusal("nothing to invert after !")
            return self.finish()
        except Misplaced:
            raise
        except OptionRefusal as refusal:
            raise Misplaced(str(refusal), at) from None
        except Refusal as refusal:
            raise Misplaced(str(refusal), self.position - 1) from None

    def long(self, word: str, at: int) -> None:
        name, equals, text = word[2:].partition("=")
        given = text if equals else None
        letter = LONG.get(name)
        if letter is not None:
            self.common(letter, "--" + name, given)
            return
        for loaded in reversed(self.loaded):
            option = loaded.names.get(name)
            if option is not None:
                self.extended(loaded, option, given)
                return
        found: dict[tuple[int, str], tuple[_Loaded | None, Option | None, str]] = {}
        for full, letter in LONG.items():
            if full.startswith(name):
                found[-1, letter] = None, None, letter
        for index, loaded in enumerate(self.loaded):
            for full, option in loaded.names.items():
                if full.startswith(name):
                    found[index, option.name] = loaded, option, ""
        if len(found) > 1:
            options = sorted("--" + key[1] if key[0] >= 0 else self.spelled(key[1]) for key in found)
            raise Refusal(f"option --{name} may be {options[0]} or {options[1]}: expected more of its name")
        if not found:
            if self.load_protocol(at):
                self.long(word, at)
                return
            raise Refusal(f"unknown option --{name}" + self.hint())
        owner, option, letter = next(iter(found.values()))
        if owner is None or option is None:
            self.common(letter, "--" + name, given)
        else:
            self.extended(owner, option, given)

    @staticmethod
    def spelled(letter: str) -> str:
        return next("--" + name for name, other in LONG.items() if other == letter)

    def hint(self) -> str:
        names = [loaded.extension.name for loaded in self.loaded]
        if names:
            return f": expected an option of iptables or of {', '.join(names)}"
        return ": expected an option of iptables (extensions are named by -m or -j first)"

    def short(self, word: str, at: int) -> None:
        index = 1
        while index < len(word):
            letter = word[index]
            index += 1
            if letter not in SHORT:
                if self.load_protocol(at):
                    continue
                raise Refusal(f"unknown option -{letter}")
            if letter in WITH_VALUE or (letter in "LSFZX" and index < len(word)):
                self.common(letter, "-" + letter, word[index:] or None)
                return
            self.common(letter, "-" + letter, None)

    # Options of iptables itself

    def common(self, letter: str, spelled: str, given: str | None) -> None:
        if letter in WITH_VALUE:
            if given is None:
                text = self.value(spelled)
            elif letter in "sdpijo":
                raise Refusal(f"the value of {spelled} must be a word of its own")
            else:
                text = given
        elif given is not None and letter not in "LSFZX":
            raise Refusal(f"option {spelled} takes no value")
        else:
            text = given or ""
        invert = self.invert
        if invert:
            if letter not in INVERTIBLE:
                raise OptionRefusal(f"option {spelled} cannot be inverted")
            self.invert = False
        if letter in SPELLED:
            if letter in self.given or (letter in "jg" and self.rule.target is not None):
                raise OptionRefusal(f"option {spelled} can only be used once")
            self.given[letter] = self.at
        _COMMON[letter](self, text, invert)

    def action(self, letter: str, chain: str) -> None:
        command = self.command
        if command.action:
            if {command.action, letter} == {"L", "Z"} or {command.action, letter} == {"S", "Z"}:
                command.zero = True
                if letter == "Z":
                    command.chain = command.chain or chain
                    return
                command.chain = chain or command.chain
                command.action = letter
                return
            raise Refusal(f"command -{letter} cannot be used with -{command.action}")
        command.action = letter
        if chain:
            check_chain_name(chain, new=letter == "N")
        command.chain = chain

    def do_rules(self, letter: str, text: str) -> None:
        self.action(letter, text)
        if letter in "IDR":
            number = self.peek()
            if number is not None:
                self.position += 1
                self.command.number = rule_number(number)
            elif letter == "R":
                raise Refusal("-R needs a chain and a rule number")

    def do_listing(self, letter: str, text: str) -> None:
        chain = text or self.peek()
        if chain is not None and not text:
            self.position += 1
        self.action(letter, chain or "")
        if letter in "LSZ" and chain is not None:
            number = self.peek()
            if number is not None:
                self.position += 1
                self.command.number = rule_number(number)

    def do_pair(self, letter: str, text: str) -> None:
        self.action(letter, text)
        other = self.peek()
        if other is None:
            raise Refusal("-P needs a chain and a policy" if letter == "P" else "-E needs an old and a new chain name")
        self.position += 1
        if letter == "E":
            check_chain_name(other, new=True)
        self.command.name = other

    def do_source(self, text: str, invert: bool) -> None:
        self.sources = self.networks(text, invert)

    def do_destination(self, text: str, invert: bool) -> None:
        self.destinations = self.networks(text, invert)

    def networks(self, text: str, invert: bool) -> list[Network | None]:
        if "," not in text:
            value, mask = parse_network(text, self.family)
            return [Network(value, mask, invert) if mask or invert else None]
        if invert:
            raise Refusal("! is not allowed with several addresses")
        networks: list[Network | None] = []
        for part in text.split(","):
            value, mask = parse_network(part.lstrip(BLANKS), self.family)
            networks.append(Network(value, mask) if mask else None)
        return networks

    def do_protocol(self, text: str, invert: bool) -> None:
        protocol = parse_protocol(text)
        if invert and not protocol:
            raise Refusal("! -p all never matches")
        self.rule.protocol = protocol
        self.rule.protocol_invert = invert

    def do_in(self, text: str, invert: bool) -> None:
        interface = parse_interface(text)
        interface.invert = invert
        self.rule.in_interface = interface if interface.name else None

    def do_out(self, text: str, invert: bool) -> None:
        interface = parse_interface(text)
        interface.invert = invert
        self.rule.out_interface = interface if interface.name else None

    def do_fragment(self, text: str, invert: bool) -> None:
        if self.family == 6:
            raise Refusal("-f is not supported in IPv6: expected -m frag")
        self.rule.fragment = True
        self.rule.fragment_invert = invert

    def do_match(self, text: str, invert: bool) -> None:
        found = MATCHES[self.family].get(text)
        if found is None:
            raise Refusal(f"unknown match `{text}'" + self.elsewhere(MATCHES, text))
        self.load(found, self.at)

    @staticmethod
    def elsewhere(tables: dict[int, dict[str, type[Match]]] | dict[int, dict[str, type[Target]]], name: str) -> str:
        for family, table in tables.items():
            if name in table:
                return f": it belongs to IPv{family} alone"
        return ""

    def load(self, kind: type[Extension], word: int) -> None:
        extension = kind()
        context = Context(self.family, self.rule, set())
        self.loaded.append(_Loaded(extension, OPTIONS[kind], context, word))
        if isinstance(extension, Match):
            self.rule.matches.append(extension)
        elif isinstance(extension, Target):
            self.rule.target = extension

    def load_protocol(self, word: int) -> bool:
        """Load the match that goes by the protocol's name, as iptables does when it meets an unknown option."""
        if "p" not in self.given:
            return False
        kind = MATCHES[self.family].get(protocol_name(self.rule.protocol))
        if kind is None or any(type(loaded.extension) is kind for loaded in self.loaded):
            return False
        self.load(kind, word)
        return True

    def do_jump(self, text: str, invert: bool) -> None:
        if text in self.chains:
            self.rule.target = Jump(text)
            return
        verdict = VERDICTS.get(text)
        if verdict is not None:
            self.rule.target = verdict()
            return
        if not text:
            raise Refusal("empty target name")
        kind = TARGETS[self.family].get(text)
        if kind is None:
            raise Refusal(f"no chain or target named `{text}'" + self.elsewhere(TARGETS, text))
        self.load(kind, self.at)

    def do_goto(self, text: str, invert: bool) -> None:
        if text not in self.chains:
            raise Refusal(f"no chain named `{text}' to go to")
        self.rule.target = Jump(text)
        self.rule.goto = True

    def do_counters(self, text: str, invert: bool) -> None:
        packets, comma, count = text.partition(",")
        if not comma:
            following = self.peek()
            if following is None:
                raise Refusal("-c needs a packet and a byte counter")
            self.position += 1
            count = following
        self.command.counters = counter(packets), counter(count)

    def do_table(self, text: str, invert: bool) -> None:
        if self.restoring:
            raise Refusal("-t cannot be used here: a table begins with *NAME")
        if "t" in self.given:
            raise Refusal("option -t can only be used once")
        self.given["t"] = self.at
        self.command.table = text

    def do_verbose(self, text: str, invert: bool) -> None:
        self.command.verbose += 1
        self.given.setdefault("v", self.at)

    def do_numeric(self, text: str, invert: bool) -> None:
        self.command.numeric = True

    def do_exact(self, text: str, invert: bool) -> None:
        self.command.exact = True

    def do_line_numbers(self, text: str, invert: bool) -> None:
        self.command.line_numbers = True

    def do_ipv4(self, text: str, invert: bool) -> None:
        self.command.other_family |= self.family == 6

    def do_ipv6(self, text: str, invert: bool) -> None:
        if self.family == 4 and not self.restoring:
            raise Refusal("-6 is for ip6tables")
        self.command.other_family |= self.family == 4

    def do_wait(self, text: str, invert: bool) -> None:
        if self.restoring:
            raise Refusal("-w and -W cannot be used in a ruleset")
        word = self.peek()
        if word is not None and is_digits(word.replace(".", "", 1)):
            self.position += 1

    def do_modprobe(self, text: str, invert: bool) -> None:
        """Modules are the kernel's business."""

    def do_refused(self, text: str, invert: bool) -> None:
        raise Refusal("-h and -V are not part of a rule")

    # Options of extensions

    def extended(self, loaded: _Loaded, option: Option, given: str | None) -> None:
        if option.parse is None:
            if given is not None:
                raise Refusal(f"option --{option.name} takes no value")
            text = ""
        elif option.optional:
            text = given or self.peek() or ""
            if given is None and text:
                self.position += 1
        else:
            text = self.value("--" + option.name) if given is None else given
            if option.words == 2:
                second = self.peek()
                if second is None:
                    raise Refusal(f"option --{option.name} needs two values")
                self.position += 1
                text = f"{text}\0{second}"
        loaded.extension.read(option, text, self.invert, loaded.context)
        self.invert = False

    # The whole

    def finish(self) -> Command:
        command = self.command
        action = command.action
        if not action:
            raise Misplaced("no command given: expected -A, -I, -D, -R, ...", 0)
        target: _Loaded | None = None
        for loaded in self.loaded:
            if isinstance(loaded.extension, Target):
                target = loaded
            else:
                self.finish_extension(loaded)
        if target is not None:
            self.finish_extension(target)
        allowed = ALLOWED[action]
        for letter, word in self.given.items():
            if letter not in allowed and letter not in "tv":
                raise Misplaced(f"option {SPELLED.get(letter, '-' + letter)} cannot be used with -{action}", word)
        if self.loaded and "j" not in allowed:
            raise Misplaced(f"a match or target cannot be used with -{action}", self.loaded[0].word)
        if action in "AIRDC":
            self.finish_rules()
        elif action == "P" and not command.name:
            raise Refusal("-P needs a chain and a policy")
        return command

    @staticmethod
    def finish_extension(loaded: _Loaded) -> None:
        try:
            loaded.extension.finish(loaded.context)
        except Refusal as refusal:
            raise Misplaced(str(refusal), loaded.word) from None

    def finish_rules(self) -> None:
        command = self.command
        chain = command.chain
        rule = self.rule
        if "o" in self.given and chain in ("PREROUTING", "INPUT"):
            raise Misplaced(f"-o cannot be used in {chain}", self.given["o"])
        if "i" in self.given and chain in ("POSTROUTING", "OUTPUT"):
            raise Misplaced(f"-i cannot be used in {chain}", self.given["i"])
        if command.action == "D" and command.number and (self.loaded or self.given.keys() - {"v", "t"}):
            raise Refusal("-D takes a rule or a number, not both")
        if command.counters is not None:
            rule.packets, rule.bytes = command.counters
        if len(self.sources) < 2 and len(self.destinations) < 2:
            if self.sources:
                rule.source = self.sources[0]
            if self.destinations:
                rule.destination = self.destinations[0]
            command.rules.append(rule)
            return
        if command.action == "R":
            raise Refusal("-R cannot put several rules in the place of one")
        command.rules.extend(self.expanded())

    def expanded(self) -> Iterator[Rule]:
        """A rule for each pair of addresses."""
        for source, destination in product(self.sources or [None], self.destinations or [None]):
            rule = copy.deepcopy(self.rule)
            rule.source = copy.copy(source)
            rule.destination = copy.copy(destination)
            yield rule


def _rules(letter: str, reader: _Reader, text: str, invert: bool) -> None:
    reader.do_rules(letter, text)


def _listing(letter: str, reader: _Reader, text: str, invert: bool) -> None:
    reader.do_listing(letter, text)


def _pair(letter: str, reader: _Reader, text: str, invert: bool) -> None:
    reader.do_pair(letter, text)


_COMMON: dict[str, Callable[[_Reader, str, bool], None]] = {
    **{letter: partial(_rules, letter) for letter in "AIRDC"},
    **{letter: partial(_listing, letter) for letter in "LSFZX"},
    **{letter: partial(_pair, letter) for letter in "PE"},
    "N": lambda self, text, invert: self.action("N", text),
    "s": _Reader.do_source,
    "d": _Reader.do_destination,
    "p": _Reader.do_protocol,
    "i": _Reader.do_in,
    "o": _Reader.do_out,
    "f": _Reader.do_fragment,
    "m": _Reader.do_match,
    "j": _Reader.do_jump,
    "g": _Reader.do_goto,
    "c": _Reader.do_counters,
    "t": _Reader.do_table,
    "v": _Reader.do_verbose,
    "n": _Reader.do_numeric,
    "x": _Reader.do_exact,
    "0": _Reader.do_line_numbers,
    "4": _Reader.do_ipv4,
    "6": _Reader.do_ipv6,
    "w": _Reader.do_wait,
    "W": _Reader.do_wait,
    "M": _Reader.do_modprobe,
    "h": _Reader.do_refused,
    "V": _Reader.do_refused,
    "b": _Reader.do_refused,
}


def parse(words: Sequence[str], family: int, chains: Container[str] = (), restoring: bool = False) -> Command:
    """One line's words as a command. `chains` are the user's chains that may be jumped to. Misplaced: it is none."""
    return _Reader(words, family, chains, restoring).read()
