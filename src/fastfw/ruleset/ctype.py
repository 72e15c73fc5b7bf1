"""Characters as ctype(3) knows them in the C locale, in which iptables and ipset read: str's own methods know more
blanks, digits and letters. In patterns re.ASCII does the same for `\\s`."""

from __future__ import annotations

BLANKS = " \t\n\v\f\r"
"""To strip and split by."""


def is_digits(text: str) -> bool:
    """Whether there are digits, and nothing else."""
    return text.isascii() and text.isdecimal()


def lower(text: str) -> str:
    """In small letters; a text with other letters than A to Z as it is, as it is no word of anybody's."""
    return text.lower() if text.isascii() else text


def upper(text: str) -> str:
    """In capitals, likewise."""
    return text.upper() if text.isascii() else text
