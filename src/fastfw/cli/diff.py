"""`fastfw diff`: which packets and connections of a capture two rulesets decide differently."""

from __future__ import annotations

import argparse
import contextlib
import json
import secrets
import sys
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from fastfw.cli import inputs
from fastfw.cli.errors import CliError
from fastfw.cli.frames import Frames
from fastfw.cli.headers import Headers
from fastfw.cli.names import ABSENT, VERDICTS
from fastfw.cli.outputs import open_outputs
from fastfw.cli.progress import Progress
from fastfw.cli.render import Section, render
from fastfw.cli.replay import quoted, steps
from fastfw.cli.rulenames import RuleNames
from fastfw.cli.tally import Tally
from fastfw.core.explain import keys
from fastfw.drivers.capture import Capture
from fastfw.engine import Engine
from fastfw.ruleset import Ruleset

CHANGED = 1

SEED_SIZE = 88
"""Bytes of an engine's seed."""

SHOWN = 10
"""Connections shown of each group."""

PACKETS = "--packets"
HEADER = b"packet,old_verdict,new_verdict,old_rule,new_rule\n"

Pair = tuple[int, int, int, int, int]
"""Family, the old verdict and rule, the new verdict and rule."""


def arguments(prog: str) -> inputs.Parser:
    parser = inputs.Parser(
        prog=prog,
        description="Replays a capture through two rulesets, each with connections of its own, and shows which packets "
        "and connections get another verdict, grouped by the rules responsible. "
        "Exit status: 0 nothing changes, 1 something does, 2 unusable input.",
    )
    parser.add_argument("old", metavar="OLD.rules", help="rules, as iptables-save prints them")
    parser.add_argument("new", metavar="NEW.rules", help="the rules that would take their place")
    parser.add_argument("capture", metavar="CAPTURE", help="pcap or pcapng file; - is standard input")
    parser.add_argument("--family", type=int, choices=(4, 6), default=4, help="6 for ip6tables' rules (default 4)")
    inputs.add_setting_options(parser.add_argument_group("the firewall"))
    group = parser.add_argument_group("what is written (- is standard output)")
    group.add_argument("--packets", metavar="OUT.csv", help="one line for each packet whose verdict changes")
    group.add_argument("--json", action="store_true", help="the changes as JSON")
    return parser


def main(prog: str, argv: list[str]) -> int:
    args = arguments(prog).read(argv)
    if [args.old, args.new, args.capture].count("-") > 1:
        raise CliError("only one input can be read from standard input")
    if args.packets == "-" and args.json:
        raise CliError("--packets -: standard output is taken by --json")
    inputs.check_options(args)
    tally = Tally(*inputs.read_addresses(args.local))
    seed = secrets.token_bytes(SEED_SIZE)  # one for both: what is left to chance must not differ
    sides = [Side.of(path, args, seed) for path in (args.old, args.new)]
    changes: dict[Pair, Group] = {}
    with contextlib.ExitStack() as stack:
        output = open_outputs({PACKETS: args.packets}, (args.old, args.new, args.capture), stack).get(PACKETS)
        if output is not None:
            output.write(HEADER)
        progress = stack.enter_context(Progress())
        capture = stack.enter_context(inputs.open_capture(args.capture, progress.reading(args.capture)))
        for warning in capture.warnings:
            progress.say(f"{inputs.source_name(args.capture)}: {warning}")
        for side in sides:
            side.frames.warn(capture, inputs.source_name(args.capture))
        for part in steps(len(capture)):
            old, new = _judge(capture, part, sides, tally, args)
            _collect(capture, part, old, new, changes, sides, output)
            progress.judged(part.stop, len(capture))
        records = len(capture)
    told = summary(args, records, changes, sides)
    target = sys.stderr if args.packets == "-" else sys.stdout
    if args.json:
        print(json.dumps(told, indent=2))
    else:
        show(told, target)
    return CHANGED if told["packets"] else 0


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two rulesets, with an engine that judges by it."""

    path: str
    engine: Engine
    names: RuleNames
    frames: Frames

    @classmethod
    def of(cls, path: str, args: argparse.Namespace, seed: bytes) -> Side:
        """The ruleset in a file, in force. CliError: it cannot be."""
        rules = inputs.read_rules(path, args.family)
        engine = inputs.bare_engine(args, seed)
        inputs.put_in_force(engine, rules, path)
        both: dict[int, Ruleset | None] = {4: None, 6: None, args.family: rules}
        return cls(path, engine, RuleNames(engine, both[4], both[6]), Frames((rules, path)))


@dataclass(slots=True)
class Group:
    """Packets whose verdict one pair of rules changes. `connections` counts packets by key, `ends` names the keys."""

    example: int
    packets: int = 0
    octets: int = 0
    connections: dict[bytes, int] = field(default_factory=dict)
    ends: dict[bytes, str] = field(default_factory=dict)


def _judge(
    capture: Capture, part: slice, sides: list[Side], tally: Tally, args: argparse.Namespace
) -> list[npt.NDArray[np.void]]:
    """Both engines' decisions of some packets."""
    offset, length = capture.offset[part], capture.length[part]
    hooks = tally.hooks(capture.data, offset, length) if args.local else None
    return [
        side.engine.process(
            capture.data,
            offset,
            length,
            capture.time_ns[part],
            hook=(args.hook or "FORWARD") if hooks is None else hooks,
            iif=args.in_interface,
            oif=args.out_interface,
            wire_length=capture.wire_length[part],
            link=side.frames.of(capture, part),
        )
        for side in sides
    ]


def _collect(
    capture: Capture,
    part: slice,
    old: npt.NDArray[np.void],
    new: npt.NDArray[np.void],
    changes: dict[Pair, Group],
    sides: list[Side],
    output: BinaryIO | None,
) -> None:
    """Notes the packets of one step that are decided differently."""
    places = np.flatnonzero(old["verdict"] != new["verdict"])
    if not len(places):
        return
    numbers = places + part.start
    offset, length = capture.offset[numbers], capture.length[numbers]
    wire_length = capture.wire_length[numbers]
    named = keys(capture.data, offset, length, wire_length)
    for place, number, key in zip(places.tolist(), numbers.tolist(), named, strict=True):
        start = int(capture.offset[number])
        family = int(capture.data[start]) >> 4
        a, b = old[place], new[place]
        pair = (family, int(a["verdict"]), int(a["rule"]), int(b["verdict"]), int(b["rule"]))
        group = changes.setdefault(pair, Group(number))
        group.packets += 1
        group.octets += max(int(capture.length[number]), int(capture.wire_length[number]))
        connection = key.tobytes()
        if any(connection):
            group.connections[connection] = group.connections.get(connection, 0) + 1
            if connection not in group.ends:
                group.ends[connection] = _ends(capture, number)
        if output is not None:
            fields = (str(number), *_words(pair, sides))
            output.write(f"{','.join(map(quoted, fields))}\n".encode("utf-8", "surrogateescape"))


def _ends(capture: Capture, number: int) -> str:
    """A packet's protocol and ends, in its own direction."""
    start, size = int(capture.offset[number]), int(capture.length[number])
    return str(Headers.of(bytes(capture.data[start : start + min(size, 256)]), size).conversation())


def _words(pair: Pair, sides: list[Side]) -> tuple[str, str, str, str]:
    family, old_verdict, old_rule, new_verdict, new_rule = pair
    return (
        VERDICTS[old_verdict],
        VERDICTS[new_verdict],
        sides[0].names.name(family, old_rule),
        sides[1].names.name(family, new_rule),
    )


def summary(args: argparse.Namespace, records: int, changes: dict[Pair, Group], sides: list[Side]) -> dict[str, Any]:
    """Everything that changes, as plain data; the groups with the most packets first."""
    groups = []
    connections: set[bytes] = set()
    for pair, group in sorted(changes.items(), key=lambda item: (-item[1].packets, item[1].example)):
        old_verdict, new_verdict, old_rule, new_rule = _words(pair, sides)
        connections |= group.connections.keys()
        most = sorted(group.connections.items(), key=lambda item: -item[1])[:SHOWN]
        groups.append(
            {
                "family": pair[0],
                "old": {"verdict": old_verdict, "rule": old_rule, "text": sides[0].names.text(pair[0], pair[2])},
                "new": {"verdict": new_verdict, "rule": new_rule, "text": sides[1].names.text(pair[0], pair[4])},
                "packets": group.packets,
                "bytes": group.octets,
                "connections": len(group.connections),
                "example": group.example,
                "top": [{"connection": group.ends[key], "packets": packets} for key, packets in most],
            }
        )
    return {
        "old": inputs.source_name(args.old),
        "new": inputs.source_name(args.new),
        "capture": inputs.source_name(args.capture),
        "records": records,
        "packets": sum(group.packets for group in changes.values()),
        "connections": len(connections),
        "groups": groups,
    }


def show(told: dict[str, Any], target: Any) -> None:
    """The same for people."""
    groups = told["groups"]
    if not groups:
        print(f"no verdict changes: {told['records']:,} packets are decided alike", file=target)
        return
    rows = []
    for group in groups:
        old, new = group["old"], group["new"]
        verdicts = f"{old['verdict']} -> {new['verdict']}"
        counts = group["packets"], group["bytes"], group["connections"], group["example"]
        rows.append((verdicts, _rule(old), _rule(new), *counts))
    total = f"{told['packets']:,} of {told['records']:,} packets, {told['connections']:,} connections"
    columns = ("verdict", "old rule", "new rule", "packets", "bytes", "connections", "example")
    sections = [Section("Changed verdicts", columns, rows, total)]
    texts = {(side["rule"], which, side["text"]) for g in groups for which in ("old", "new") for side in [g[which]]}
    sections.append(
        Section("Rules", ("rule", "of", "text"), [t for t in sorted(texts) if t[0] != ABSENT]),
    )
    listed = [
        (f"{g['old']['verdict']} -> {g['new']['verdict']}", top["connection"], top["packets"])
        for g in groups
        for top in g["top"]
    ]
    sections.append(Section("Connections", ("verdict", "connection", "packets"), listed))
    hint = f"`fastfw explain CAPTURE --packet {groups[0]['example']} --rules FILE ...' tells why, with either ruleset"
    render(sections, [hint], target)


def _rule(side: dict[str, str]) -> str:
    return side["rule"] if side["rule"] != ABSENT else "no rule"
