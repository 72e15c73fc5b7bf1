"""What LOG, NFLOG and TRACE rules tell of packets, as records and as the kernel's lines of text."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import numpy as np
import numpy.typing as npt

from fastfw.core.logs import LogKind
from fastfw.core.rules import Rules
from fastfw.core.terms import State
from fastfw.logtext import packet_text
from fastfw.ruleset import Ruleset
from fastfw.ruleset.ext.log import LEVELS, Log
from fastfw.ruleset.ext.nflog import NfLog

KINDS = {int(LogKind.LOG_RULE): "LOG", int(LogKind.LOG_PACKET): "NFLOG", int(LogKind.LOG_TRACE): "TRACE"}


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One packet that a rule told of.

    `time_ns` is the packet's clock in ns; `kind` LOG, NFLOG or TRACE; `rule` names the rule as TRACE does
    (`filter:INPUT:rule:3`). `prefix` is LOG's or NFLOG's; `level` (0 to 7, syslog's) LOG's; `group`, `threshold` and
    `size`, the bytes of the packet that it asks for (None: all of them), NFLOG's. `length` is the packet's in bytes,
    `packet` its first bytes as rules and forwarding have left them, `mark` its mark, `state` what connection tracking
    called it. `options` are the names of LOG's options in force (`tcp-sequence`, `tcp-options`, `ip-options`, `uid`,
    `macdecode`). Users and MAC addresses are not known here.
    """

    time_ns: int
    kind: str
    family: int
    rule: str
    prefix: str
    level: int
    group: int
    threshold: int
    in_interface: str
    out_interface: str
    length: int
    mark: int
    state: str
    packet: bytes = field(repr=False)
    size: int | None = None
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The line that the kernel writes for it, its prefix first."""
        head = f"TRACE: {self.rule} " if self.kind == "TRACE" else self.prefix
        text = f"{head}IN={self.in_interface} OUT={self.out_interface} "
        text += packet_text(self.packet, self.length, self.options)
        return text + f"MARK=0x{self.mark:x} " * bool(self.mark)

    def as_dict(self) -> dict[str, Any]:
        """The record's fields by name, for structured logs; addresses as text, without the packet's bytes."""
        at = (12, 16, 20) if self.family == 4 else (8, 24, 40)
        found = {name: getattr(self, name) for name in self.__slots__ if name not in ("packet", "options")}
        found["source"] = str(ip_address(self.packet[at[0] : at[1]]))
        found["destination"] = str(ip_address(self.packet[at[1] : at[2]]))
        found["text"] = str(self)
        return found


def log_records(
    parts: Iterable[tuple[npt.NDArray[np.void], list[bytes], Rules | None, Rules | None]], names: list[str]
) -> list[LogRecord]:
    """Records as the core keeps them, put in words; `names` are the interfaces'."""
    found = []
    for records, packets, rules4, rules6 in parts:
        programs: Mapping[int, Rules | None] = {4: rules4, 6: rules6}
        models = {
            family: _model(p.source) for family, p in programs.items() if p is not None and isinstance(p.source, bytes)
        }
        for record, packet in zip(records.tolist(), packets, strict=True):
            time, rule, mark, length, _have, iif, oif, kind, family, _point, state = record
            program = programs[family]
            place = program.rule_name(rule) if program is not None else ""
            target = _target(models[family], place) if kind != LogKind.LOG_TRACE else None
            found.append(
                LogRecord(
                    time_ns=time,
                    kind=KINDS[kind],
                    family=family,
                    rule=place,
                    prefix=target.prefix if target is not None else "",
                    level=target.level if isinstance(target, Log) else LEVELS["warning"],
                    group=target.group if isinstance(target, NfLog) else 0,
                    threshold=target.threshold if isinstance(target, NfLog) else 0,
                    in_interface=names[iif],
                    out_interface=names[oif],
                    length=length,
                    mark=mark,
                    state=State(state).name.removeprefix("STATE_") if state else "-",
                    packet=packet,
                    size=target.size if isinstance(target, NfLog) else None,
                    options=_options(target),
                )
            )
    return found


@functools.lru_cache(maxsize=2)
def _model(source: bytes) -> Ruleset:
    """A ruleset as its program keeps it: of those in force many records are asked for."""
    rules: Ruleset = pickle.loads(source)
    return rules


def _target(rules: Ruleset, place: str) -> Log | NfLog | None:
    table, rest = place.split(":", 1)
    chain, _rule, number = rest.rsplit(":", 2)
    target = rules.tables[table].chains[chain].rules[int(number) - 1].target
    return target if isinstance(target, Log | NfLog) else None


def _options(target: Log | NfLog | None) -> tuple[str, ...]:
    if not isinstance(target, Log):
        return ()
    names = ("tcp_sequence", "tcp_options", "ip_options", "uid", "macdecode")
    return tuple(name.replace("_", "-") for name in names if getattr(target, name))
