"""What a replay found: one summary, plain data, from which both the tables and the JSON come."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from fastfw.cli.names import (
    ABSENT,
    HOOK_NAMES,
    STATES,
    VERDICTS,
    meaning,
    protocol_name,
    why,
)
from fastfw.cli.render import Section
from fastfw.cli.rulenames import RuleNames
from fastfw.cli.tally import CLASS_FIELDS, Tally
from fastfw.connection import IP_PROTOCOL_NAMES
from fastfw.core.terms import Reason, State, Verdict
from fastfw.drivers.capture import LINK_TYPES, Capture
from fastfw.engine import Engine

TOP = 10
"""Conversations shown."""

CHECKSUM_REASONS = {int(Reason.TCP_CHECKSUM), int(Reason.UDP_CHECKSUM), int(Reason.ICMP_CHECKSUM)}
REFUSED = {int(Verdict.VERDICT_DROP), int(Verdict.VERDICT_REJECT)}

#: Captures taken on the sender with checksum offload show bad checksums in one direction: about half of all packets.
OFFLOAD_SHARE = 0.25


class Class(NamedTuple):
    """Packets decided alike: fastfw.cli.tally.CLASS_FIELDS with names."""

    verdict: int
    state: int
    direction: int
    assured: int
    seen_reply: int
    expected: int
    reason: int
    rule: int
    family: int
    protocol: int
    hook: int
    link_reason: int
    packets: int
    bytes: int


assert Class._fields == CLASS_FIELDS


class Report:
    """Collects what the captures were; the rest comes from the tally and the engine."""

    def __init__(self) -> None:
        self._captures: list[dict[str, Any]] = []

    def add_capture(self, source: str, capture: Capture) -> None:
        """Notes a capture that has been judged; keeps nothing of its arrays."""
        times = capture.time_ns
        self._captures.append(
            {
                "source": source,
                "records": len(capture),
                "bytes": len(capture.data),
                "first_ns": int(times.min()) if len(times) else None,
                "last_ns": int(times.max()) if len(times) else None,
                "link_types": sorted({_link(i.link_type) for i in capture.interfaces}),
                "warnings": list(capture.warnings),
            }
        )

    def summary(self, engine: Engine, tally: Tally, names: RuleNames) -> dict[str, Any]:
        """Everything there is to say, as plain data."""
        engine.expire(engine.now)
        classes = [Class(*row) for row in tally.classes_from(0)]
        packets = [c for c in classes if not c.link_reason]
        return {
            "captures": self._captures,
            "packets": {
                "records": sum(c.packets for c in classes),
                "ip": sum(c.packets for c in packets),
                "bytes": sum(c.bytes for c in packets),
            },
            "verdicts": _sums(packets, lambda c: VERDICTS[c.verdict]),
            "states": _sums(packets, lambda c: STATES[c.state]),
            "hooks": _sums(packets, lambda c: HOOK_NAMES[c.hook]),
            "protocols": _protocols(packets),
            "rules": _rules(packets, names),
            "reasons": _reasons(classes),
            "connections": {
                "tracked": engine.conntrack_count,
                "limit": engine.settings["nf_conntrack_max"],
            },
            "conversations": {
                "seen": tally.flow_count,
                "packets_of_others": tally.other_packets,
                "top": [_conversation(row) for row in tally.top_flows(TOP)],
            },
            "counters": engine.counters,
            "hints": _hints(packets, engine),
        }


def _link(number: int) -> str:
    return LINK_TYPES.get(number, str(number))


def _sums(classes: Iterable[Class], key: Callable[[Class], str]) -> dict[str, dict[str, int]]:
    """Packets and bytes by `key`, the most packets first."""
    packets: Counter[str] = Counter()
    octets: Counter[str] = Counter()
    for c in classes:
        packets[key(c)] += c.packets
        octets[key(c)] += c.bytes
    return {name: {"packets": count, "bytes": octets[name]} for name, count in packets.most_common()}


def _protocols(classes: list[Class]) -> list[dict[str, Any]]:
    found: dict[tuple[int, int], Counter[str]] = {}
    for c in classes:
        counts = found.setdefault((c.family, c.protocol), Counter())
        counts["packets"] += c.packets
        counts["bytes"] += c.bytes
        counts["refused"] += c.packets * (c.verdict in REFUSED)
        counts["invalid"] += c.packets * (c.state == State.STATE_INVALID)
    return [
        {
            "family": family or None,
            "protocol": protocol_name(protocol) if family else ABSENT,
            **{name: counts[name] for name in ("packets", "bytes", "refused", "invalid")},
        }
        for (family, protocol), counts in sorted(found.items(), key=lambda item: (-item[1]["packets"], item[0]))
    ]


def _rules(classes: list[Class], names: RuleNames) -> list[dict[str, Any]]:
    """What each rule or policy decided, in the rulesets' order."""
    found: dict[tuple[int, int, int], Counter[str]] = {}
    for c in classes:
        if names.name(c.family, c.rule) != ABSENT:
            counts = found.setdefault((c.family, c.rule, c.verdict), Counter())
            counts["packets"] += c.packets
            counts["bytes"] += c.bytes
    return [
        {
            "family": family,
            "rule": names.name(family, rule),
            "verdict": VERDICTS[verdict],
            "packets": counts["packets"],
            "bytes": counts["bytes"],
            "text": names.text(family, rule),
        }
        for (family, rule, verdict), counts in sorted(found.items())
    ]


def _reasons(classes: list[Class]) -> list[dict[str, Any]]:
    found: dict[tuple[int, int, int, int], Counter[str]] = {}
    for c in classes:
        if c.reason or c.link_reason:
            counts = found.setdefault((c.reason, c.link_reason, c.verdict, c.state), Counter())
            counts["packets"] += c.packets
            counts["bytes"] += c.bytes
    return [
        {
            "reason": why(reason, link_reason),
            "verdict": VERDICTS[verdict],
            "state": STATES[state],
            "packets": counts["packets"],
            "bytes": counts["bytes"],
            "meaning": meaning(reason, link_reason),
        }
        for (reason, link_reason, verdict, state), counts in sorted(
            found.items(), key=lambda item: (-item[1]["packets"], item[0])
        )
    ]


def _conversation(row: tuple[int, int, bytes, int, bytes, int, int, int, int]) -> dict[str, Any]:
    family, protocol, source, source_port, destination, destination_port, packets, octets, refused = row
    return {
        "family": family,
        "protocol": protocol_name(protocol),
        "source": str(ipaddress.ip_address(source)),
        "source_port": source_port,
        "destination": str(ipaddress.ip_address(destination)),
        "destination_port": destination_port,
        "packets": packets,
        "bytes": octets,
        "refused": refused,
    }


def _hints(classes: list[Class], engine: Engine) -> list[str]:
    hints = []
    judged = sum(c.packets for c in classes if IP_PROTOCOL_NAMES.get(c.protocol) in ("tcp", "udp", "icmp", "icmpv6"))
    wrong = sum(c.packets for c in classes if c.reason in CHECKSUM_REASONS)
    if wrong > OFFLOAD_SHARE * judged and engine.settings["nf_conntrack_checksum"]:
        hints.append(
            f"{wrong:,} of {judged:,} packets ({100 * wrong // judged} %) fail their checksum: the capture was taken "
            "with checksum offload; judge them all the same with --set nf_conntrack_checksum=0"
        )
    full = sum(c.packets for c in classes if c.reason == Reason.TABLE_FULL)
    if full:
        hints.append(
            f"{full:,} packets found the table full: raise it with --set nf_conntrack_max=N (now "
            f"{engine.settings['nf_conntrack_max']})"
        )
    return hints


def sections(summary: dict[str, Any]) -> list[Section]:
    """The summary as tables for people."""
    conversations = summary["conversations"]
    others = conversations["packets_of_others"]
    shown = conversations["top"]
    connections = summary["connections"]
    notes = []
    if len(shown) < conversations["seen"]:
        notes.append(f"{len(shown)} of {conversations['seen']:,}")
    if others:
        notes.append(f"{others:,} packets of further ones are not told apart")
    return [
        Section(
            "Captures",
            ("file", "records", "seconds", "link types"),
            [(c["source"], c["records"], _span(c), ", ".join(c["link_types"])) for c in summary["captures"]],
        ),
        Section("Verdicts", ("verdict", "packets", "bytes"), _named(summary["verdicts"])),
        Section(
            "Verdicts by rule",
            ("rule", "verdict", "packets", "bytes", "text"),
            [(_family(r) + r["rule"], r["verdict"], r["packets"], r["bytes"], r["text"]) for r in summary["rules"]],
        ),
        Section(
            "States",
            ("state", "packets", "bytes"),
            _named(summary["states"]),
            f"{connections['tracked']:,} connections in the table afterwards, of at most {connections['limit']:,}"
            if connections["limit"]
            else f"{connections['tracked']:,} connections in the table afterwards",
        ),
        Section(
            "Protocols",
            ("protocol", "packets", "bytes", "dropped", "invalid"),
            [
                (
                    f"IPv{p['family']} {p['protocol']}" if p["family"] else "not IP",
                    p["packets"],
                    p["bytes"],
                    p["refused"],
                    p["invalid"],
                )
                for p in summary["protocols"]
            ],
        ),
        Section(
            "Refused, INVALID or remarkable",
            ("why", "verdict", "state", "packets", "meaning"),
            [(r["reason"], r["verdict"], r["state"], r["packets"], r["meaning"]) for r in summary["reasons"]],
        ),
        Section(
            "Top connections",
            ("protocol", "from", "to", "packets", "bytes", "dropped"),
            [
                (
                    c["protocol"],
                    _end(c["source"], c["source_port"]),
                    _end(c["destination"], c["destination_port"]),
                    c["packets"],
                    c["bytes"],
                    c["refused"],
                )
                for c in shown
            ],
            "; ".join(notes),
        ),
    ]


def _named(sums: dict[str, dict[str, int]]) -> list[tuple[str, int, int]]:
    return [(name, counts["packets"], counts["bytes"]) for name, counts in sums.items()]


def _family(row: dict[str, Any]) -> str:
    return "IPv6 " if row["family"] == 6 else ""


def _span(capture: dict[str, Any]) -> str:
    if capture["first_ns"] is None:
        return ABSENT
    return f"{(capture['last_ns'] - capture['first_ns']) / 1e9:.3f}"


def _end(address: str, port: int) -> str:
    if not port:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
