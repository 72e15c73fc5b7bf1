"""ICMP messages as elements name them: a type and a code."""

from __future__ import annotations

from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.icmp import ANY_CODE, ICMP, ICMPV6, Message
from fastfw.ruleset.numbers import parse_number

PROTOCOLS = {1: ICMP, 58: ICMPV6}

_NOT_NAMED = {"any", "beyond-scope", "failed-policy", "reject-route"}


def _messages(known: dict[str, Message]) -> dict[str, int]:
    """Names of one message each; the name of a type that has names of its codes is none."""
    divided = {kind for kind, codes in known.values() if codes != ANY_CODE}
    return {
        name: kind << 8 | (codes[0] if codes != ANY_CODE else 0)
        for name, (kind, codes) in known.items()
        if name not in _NOT_NAMED and (codes != ANY_CODE or kind not in divided)
    }


NUMBERS = {protocol: _messages(known) for protocol, known in PROTOCOLS.items()}
_TEXTS: dict[int, dict[int, str]] = {protocol: {} for protocol in PROTOCOLS}
for _protocol, _known in NUMBERS.items():
    for _name, _number in _known.items():
        _TEXTS[_protocol].setdefault(_number, _name)


def parse_message(text: str, protocol: int) -> int:
    """`name` or `type/code`, as type << 8 | code. Refusal: neither."""
    number = NUMBERS[protocol].get(text)
    if number is not None:
        return number
    kind, slash, code = text.partition("/")
    if not slash:
        raise Refusal(f"`{text}' is no ICMP message: expected its name or type/code")
    return parse_number(kind, 255) << 8 | parse_number(code, 255)


def message_text(protocol: int, number: int) -> str | None:
    """The name of a message, or its type/code; None of another protocol."""
    known = _TEXTS.get(protocol)
    if known is None:
        return None
    return known.get(number) or f"{number >> 8}/{number & 255}"
