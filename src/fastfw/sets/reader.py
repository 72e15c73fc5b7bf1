"""Reading what `ipset save` prints."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from fastfw.ruleset.address import FULL_MASK, parse_host, prefix_mask
from fastfw.ruleset.ctype import BLANKS
from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.numbers import UINT16, UINT32, UINT64, parse_number
from fastfw.sets.elements import elements, range_of
from fastfw.sets.model import Element, IpSet, Kept, SetError, Sets
from fastfw.sets.types import MASKED, NAMES, TYPES

NAME_LIMIT = 31
COMMENT_LIMIT = 255
TIMEOUT_LIMIT = 2_147_483
"""Seconds."""

BITMAP_LIMIT = 65536
BY_ADDRESS = "bitmap:ip,mac"
"""The type that has each address once, with or without a hardware address."""

# Only in front of a line are other blanks than these passed over.
_WORD = re.compile(r'"[^"]*"?|[^ \t\r"]+')
_MARK = re.compile(r"(0x[0-9a-fA-F]{1,8})(?:/(0x[0-9a-fA-F]{1,8}))?")
_PRIORITY = re.compile(r"([0-9a-fA-F]{1,4}):([0-9a-fA-F]{1,4})")

COMMANDS = {"create": "create", "n": "create", "-N": "create", "--create": "create",
            "add": "add", "-A": "add", "--add": "add",
            "del": "del", "-D": "del", "--del": "del",
            "flush": "flush", "-F": "flush", "--flush": "flush"}  # fmt: skip
IGNORES = ("-exist", "-!", "--exist")
PAST = ("probes", "resize", "gc")
"""Options of create that mean nothing any more; each has a number."""


class Words:
    """The words of a line, taken one after another. `place` is the last one's column, from 1."""

    def __init__(self, line: str) -> None:
        first = len(line) - len(line.lstrip(BLANKS))
        self.items = [(found[0], found.start() + 1) for found in _WORD.finditer(line, first)]
        self.next = 0
        self.place = 1
        self.end = len(line.rstrip(" \t\r")) + 1

    def more(self) -> bool:
        """Whether there is another."""
        return self.next < len(self.items)

    def take(self, what: str) -> str:
        """The next word. Refusal: there is none."""
        if not self.more():
            self.place = self.end
            raise Refusal(f"{what} expected")
        word, self.place = self.items[self.next]
        self.next += 1
        return word


def read(text: str, sets: Sets) -> None:
    """Carry out a text's lines. SetError: the first of them that cannot be."""
    for number, line in enumerate(text.split("\n"), 1):
        words = Words(line)
        if not words.more() or line.lstrip(BLANKS).startswith("#") or line.strip(BLANKS) == "COMMIT":
            continue
        try:
            _carry_out(words, sets)
        except Refusal as refusal:
            raise SetError(str(refusal), number, words.place) from None


def _carry_out(words: Words, sets: Sets) -> None:
    exist = False
    word = words.take("a command")
    while word in IGNORES:
        exist = True
        word = words.take("a command")
    command = COMMANDS.get(word)
    if command is None:
        raise Refusal(f"`{word}': expected create, add, del or flush")
    if words.items[-1][0] in IGNORES:
        exist = True
        words.items.pop()
    if command == "create":
        _create(words, sets, exist)
        return
    if command == "flush" and not words.more():
        for each in sets:
            each.elements.clear()
        return
    name = words.take("a set's name")
    one = sets.by_name.get(name)
    if one is None:
        raise Refusal(f"set `{name}' has not been created")
    if command == "flush":
        one.elements.clear()
    elif command == "add":
        _add(words, sets, one, exist)
    else:
        _delete(words, one, exist)
    if words.more():
        raise Refusal(f"`{words.take('')}': nothing more was expected")


# -- create -----------------------------------------------------------------------------------------------------------


def _create(words: Words, sets: Sets, exist: bool) -> None:
    name = words.take("a set's name")
    if len(name.encode("utf-8", "surrogateescape")) > NAME_LIMIT:
        raise Refusal(f"set name `{name}' must have 1 to {NAME_LIMIT} bytes")
    place = words.place
    word = words.take("a set's type")
    if word not in TYPES:
        raise Refusal(f"`{word}' is no type of set: expected one of {', '.join(NAMES)}")
    one = IpSet(name, TYPES[word])
    if one.type.has_family or (one.type.method == "bitmap" and one.type.parts != ("port",)):
        one.family = 4
    ranged = False
    masks: list[tuple[str, str, int]] = []
    while words.more():
        option = words.take("an option")
        if option == "range" and one.type.method == "bitmap":
            one.low, one.high = range_of(words.take("a range"), one.type.parts)
            ranged = True
        elif option in ("netmask", "bitmask"):
            masks.append((option, words.take(f"the {option}"), words.place))
        else:
            _create_option(option, words, one)
    words.place = place
    for option, value, column in masks:
        words.place = column
        _mask(one, option, value)
    if one.type.method == "bitmap":
        _check_range(one, ranged)
    known = sets.by_name.get(name)
    if known is not None:
        if exist and known.type is one.type:
            return
        raise Refusal(f"set `{name}' is there already")
    sets.by_name[name] = one


def _create_option(option: str, words: Words, one: IpSet) -> None:
    hashed = one.type.method == "hash"
    if option == "timeout":
        one.timeout = parse_number(words.take("seconds"), TIMEOUT_LIMIT)
    elif option == "counters":
        one.counters = True
    elif option == "comment":
        one.comments = True
    elif option == "skbinfo":
        one.info = True
    elif option == "size" and one.type.method == "list":
        one.list_size = parse_number(words.take("a size"), UINT32)
    elif option in PAST:
        parse_number(words.take("a number"), UINT32)
    elif option == "family" and one.type.has_family:
        word = words.take("inet or inet6")
        if word not in ("inet", "inet6"):
            raise Refusal(f"`{word}': inet or inet6 expected")
        one.family = 6 if word == "inet6" else 4
    elif option in ("-4", "-6") and one.type.has_family:
        one.family = int(option[1])
    elif option == "hashsize" and hashed:
        one.hash_size = 1 << max(6, (parse_number(words.take("a size"), UINT32) - 1).bit_length())
    elif option == "maxelem" and hashed:
        one.most = parse_number(words.take("a number"), UINT32)
    elif option == "bucketsize" and hashed:
        one.bucket_size = min(max(2, parse_number(words.take("a number"), 255) & ~1), 12)
    elif option == "initval" and hashed:
        one.initval = parse_number(words.take("a number"), UINT32)
    elif option == "forceadd" and hashed:
        one.forces = True
    elif option == "markmask" and "mark" in one.type.parts:
        one.mark_mask = parse_number(words.take("a mask"), UINT32, 1)
    else:
        raise Refusal(f"`{option}' is no option of {one.type.name}")


def _mask(one: IpSet, option: str, text: str) -> None:
    """A netmask or bitmask, read once the family is known."""
    family = one.family
    if option == "netmask" and (one.type.name in (*MASKED, "bitmap:ip")):
        one.netmask = parse_number(text, FULL_MASK[family].bit_length(), 1)
    elif option == "bitmask" and one.type.name in MASKED:
        one.bitmask = parse_host(text, family)
        if not one.bitmask:
            raise Refusal("a mask of zeros leaves no address")
    else:
        raise Refusal(f"`{option}' is no option of {one.type.name}")
    if one.netmask is not None and one.bitmask is not None:
        raise Refusal("netmask and bitmask exclude each other")


def _check_range(one: IpSet, ranged: bool) -> None:
    if not ranged:
        raise Refusal(f"{one.type.name} needs a range")
    if one.netmask is not None:
        mask = prefix_mask(one.netmask, 4)
        one.low &= mask
        size = (one.high - one.low + 1) >> 32 - one.netmask
    else:
        size = one.high - one.low + 1
    if size > BITMAP_LIMIT:
        raise Refusal(f"a range of {size} elements: at most {BITMAP_LIMIT} expected")


# -- add and del ------------------------------------------------------------------------------------------------------


def _add(words: Words, sets: Sets, one: IpSet, exist: bool) -> None:
    word = words.take("an element")
    column = words.place
    kept = Kept(timeout=one.timeout or 0)
    given: set[str] = set()
    beginning = False
    beside: tuple[str, str] | None = None
    while words.more():
        option = words.take("an option")
        if option == "nomatch" and one.type.has_networks:
            kept.nomatch = True
        elif option == "wildcard" and "iface" in one.type.parts:
            beginning = True
        elif option in ("before", "after") and one.type.method == "list":
            beside = option, words.take("a set's name")
        elif option in KEPT:
            has, what, take = KEPT[option]
            if not has(one):
                raise Refusal(f"`{option}': set `{one.name}' was created without {what}")
            take(words, kept)
            given.add(option)
        else:
            raise Refusal(f"`{option}' is no option of an element of {one.type.name}")
    words.place = column
    for found in elements(word, one):
        element = found._replace(beginning=beginning) if beginning else found
        if one.type.method == "list":
            _check_member(sets, element.set_name)
        if one.type.name == BY_ADDRESS:
            kept.mac, element = element.mac, element._replace(mac=b"")
        there = same(one, element)
        fresh = replace(kept)
        if there is not None:
            if not exist:
                raise Refusal("the element is there already")
            element = there
            known = one.elements[element]
            fresh.mac = kept.mac or known.mac
            # what is entered anew keeps its counters alone
            fresh.packets = kept.packets if "packets" in given else known.packets
            fresh.bytes = kept.bytes if "bytes" in given else known.bytes
        elif len(one.elements) >= one.most and one.type.method == "hash":
            raise Refusal(f"set `{one.name}' is full: maxelem is {one.most}")
        one.elements[element] = fresh
        if beside is not None:
            _move(one, element, *beside)


def same(one: IpSet, element: Element) -> Element | None:
    """The element that a set takes for one and the same, None: it has none. An interface is that whose beginning
    another element of its network has."""
    if element in one.elements:
        return element
    if "iface" in one.type.parts:
        for length in range(len(element.interface), 0, -1):
            known = element._replace(interface=element.interface[:length], beginning=True)
            if known in one.elements:
                return known
    return None


def _check_member(sets: Sets, name: str) -> None:
    known = sets.by_name.get(name)
    if known is None:
        raise Refusal(f"set `{name}' has not been created")
    if known.type.method == "list":
        raise Refusal(f"`{name}' is a list: lists are no elements of lists")


def _move(one: IpSet, element: Element, where: str, name: str) -> None:
    """Put a list's new member before or after another."""
    other = Element(set_name=name)
    if other not in one.elements or other == element:
        raise Refusal(f"`{name}' is not in the list")
    order = [known for known in one.elements if known != element]
    order.insert(order.index(other) + (where == "after"), element)
    one.elements = {known: one.elements[known] for known in order}


def _delete(words: Words, one: IpSet, exist: bool) -> None:
    for element in elements(words.take("an element"), one):
        if one.type.name == BY_ADDRESS:
            element = element._replace(mac=b"")
        there = same(one, element)
        if there is not None:
            del one.elements[there]
        elif not exist:
            raise Refusal("the element is not there")


# -- what is kept of an element ---------------------------------------------------------------------------------------


def _timeout(words: Words, kept: Kept) -> None:
    kept.timeout = parse_number(words.take("seconds"), TIMEOUT_LIMIT)


def _packets(words: Words, kept: Kept) -> None:
    kept.packets = parse_number(words.take("a number of packets"), UINT64)


def _bytes(words: Words, kept: Kept) -> None:
    kept.bytes = parse_number(words.take("a number of bytes"), UINT64)


def _comment(words: Words, kept: Kept) -> None:
    text = words.take("a comment")
    if text.startswith('"'):
        if len(text) < 2 or text[-1] != '"':
            raise Refusal("the comment has no closing quotation mark")
        text = text[1:-1]
    if len(text.encode("utf-8", "surrogateescape")) > COMMENT_LIMIT:
        raise Refusal(f"a comment has at most {COMMENT_LIMIT} bytes")
    kept.comment = text


def _mark(words: Words, kept: Kept) -> None:
    text = words.take("mark[/mask]")
    found = _MARK.fullmatch(text)
    if found is None:
        raise Refusal(f"`{text}' is no mark: expected mark[/mask], hexadecimal numbers that begin with 0x")
    kept.mark, kept.mask = int(found[1], 16), int(found[2], 16) if found[2] else UINT32


def _priority(words: Words, kept: Kept) -> None:
    text = words.take("major:minor")
    found = _PRIORITY.fullmatch(text)
    if found is None:
        raise Refusal(f"`{text}' is no priority: expected major:minor, two hexadecimal numbers")
    kept.priority = int(found[1], 16) << 16 | int(found[2], 16)


def _queue(words: Words, kept: Kept) -> None:
    kept.queue = parse_number(words.take("a queue's number"), UINT16)


KEPT: dict[str, tuple[Callable[[IpSet], bool], str, Callable[[Words, Kept], None]]] = {
    "timeout": (lambda one: one.timeout is not None, "timeout", _timeout),
    "packets": (lambda one: one.counters, "counters", _packets),
    "bytes": (lambda one: one.counters, "counters", _bytes),
    "comment": (lambda one: one.comments, "comment", _comment),
    "skbmark": (lambda one: one.info, "skbinfo", _mark),
    "skbprio": (lambda one: one.info, "skbinfo", _priority),
    "skbqueue": (lambda one: one.info, "skbinfo", _queue),
}
"""Options of elements: what a set must have, by what name, and who reads them."""
