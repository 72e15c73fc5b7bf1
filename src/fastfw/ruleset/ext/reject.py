"""REJECT: drop the packet and say so to its sender."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.ctype import lower
from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Option, Site, Target
from fastfw.ruleset.ext.values import show_plain

TCP_RESET = "tcp-reset"

# What may be answered, with its other name, in the order in which the beginning of a name is looked for.
ANSWERS: dict[int, dict[str, str]] = {
    4: {
        "icmp-net-unreachable": "net-unreach",
        "icmp-host-unreachable": "host-unreach",
        "icmp-proto-unreachable": "proto-unreach",
        "icmp-port-unreachable": "port-unreach",
        "icmp-net-prohibited": "net-prohib",
        "icmp-host-prohibited": "host-prohib",
        TCP_RESET: "tcp-rst",
        "icmp-admin-prohibited": "admin-prohib",
    },
    6: {
        "icmp6-no-route": "no-route",
        "icmp6-adm-prohibited": "adm-prohibited",
        "icmp6-addr-unreachable": "addr-unreach",
        "icmp6-port-unreachable": "port-unreach",
        TCP_RESET: TCP_RESET,
        "icmp6-policy-fail": "policy-fail",
        "icmp6-reject-route": "reject-route",
    },
}
DEFAULT = {4: "icmp-port-unreachable", 6: "icmp6-port-unreachable"}


def _answer(text: str, context: Context) -> str:
    low = lower(text)
    answers = ANSWERS[context.family]
    for name, other in answers.items():
        if name.startswith(low) or other.startswith(low):
            return name
    raise Refusal(f"unknown answer `{text}': expected {', '.join(answers)}")


@dataclass(slots=True)
class Reject(Target):
    """`answer` is a name of `ANSWERS`; "" is the family's default."""

    name: ClassVar[str] = "REJECT"
    tables: ClassVar[tuple[str, ...]] = ("filter",)
    hooks: ClassVar[tuple[str, ...]] = ("INPUT", "FORWARD", "OUTPUT")

    answer: str = ""

    options: ClassVar[tuple[Option, ...]] = (Option("reject-with", "answer", _answer, show_plain),)

    def finish(self, context: Context) -> None:
        """Without an option the family's default answers."""
        self.answer = self.answer or DEFAULT[context.family]

    def check(self, site: Site) -> None:
        """A reset answers TCP alone."""
        Target.check(self, site)
        if self.answer == TCP_RESET and (site.rule.protocol != 6 or site.rule.protocol_invert):
            raise Refusal("REJECT --reject-with tcp-reset needs -p tcp")

    def save(self, family: int) -> str:
        """The answer, always."""
        return f" --reject-with {self.answer or DEFAULT[family]}"
