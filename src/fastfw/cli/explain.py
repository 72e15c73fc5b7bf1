"""`fastfw explain`: why one packet of a capture was decided as it was."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from fastfw.cli import inputs
from fastfw.cli.errors import CliError, printable
from fastfw.cli.frames import Frames
from fastfw.cli.headers import Headers
from fastfw.cli.names import ABSENT, HOOK_NAMES, LINK_MEANINGS
from fastfw.cli.progress import Progress
from fastfw.cli.tally import Tally
from fastfw.cli.walk import Step, Walk
from fastfw.connection import Connection, from_entry
from fastfw.core.explain import Watched, watched
from fastfw.core.snapshot import entries
from fastfw.drivers.capture import LINK_REASONS, Capture
from fastfw.engine import Engine, hook_code
from fastfw.ruleset import Ruleset

STEP = 1 << 17
"""Packets between two turns of the progress bar."""

KEY_SIZE = 40
MASTER = "master"


def arguments(prog: str) -> inputs.Parser:
    parser = inputs.Parser(
        prog=prog,
        description="Replays a capture up to one packet and shows every rule that it came to, each of their conditions "
        "with the value it met, and what connection tracking made of it.",
    )
    parser.add_argument("capture", metavar="CAPTURE", help="pcap or pcapng file; - is standard input")
    parser.add_argument(
        "--packet", metavar="N", required=True, type=_number, help="the record's number, counted from 0 as in --packets"
    )
    inputs.add_engine_options(parser)
    parser.add_argument("--json", action="store_true", help="everything as JSON")
    return parser


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise argparse.ArgumentTypeError(f"a whole number from 0 on expected, not `{text}'")
    return int(text)


def main(prog: str, argv: list[str]) -> int:
    args = arguments(prog).read(argv)
    if [args.capture, args.rules, args.rules6].count("-") > 1:
        raise CliError("only one input can be read from standard input")
    local4, local6 = inputs.read_addresses(args.local)
    engine, rules4, rules6 = inputs.make_engine(args)
    with Progress() as progress, inputs.open_capture(args.capture, progress.reading(args.capture)) as capture:
        name = inputs.source_name(args.capture)
        for warning in capture.warnings:
            progress.say(f"{name}: {warning}")
        if args.packet >= len(capture):
            raise CliError(f"--packet {args.packet}: {name} has {len(capture)} records, counted from 0")
        frames = Frames((rules4, args.rules), (rules6, args.rules6))
        frames.warn(capture, name)
        hooks = replay_up_to(capture, args.packet, engine, frames, args, Tally(local4, local6), progress)
        found = look(capture, args.packet, hooks, engine, args)
    rules = {4: rules4, 6: rules6}.get(found.watched.family)
    steps = []
    if rules is not None:
        program = engine._rules(found.watched.family)
        interfaces = args.in_interface, args.out_interface
        walk = Walk(rules, program, found.watched, found.hook, interfaces, engine.declared, engine._sets, found.link)
        steps = list(walk.steps())
    told = explanation(name, found, steps, rules, args)
    if args.json:
        print(json.dumps(told, indent=2))
    else:
        print("\n".join(lines(told)))
    return 0


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of the packet besides the rules it met. `before` and `after` are its connection in the table."""

    number: int
    time_ns: int
    link_reason: int
    captured: int
    hook: int
    watched: Watched
    link: np.void
    before: Connection | None
    after: Connection | None
    master: Connection | None


def replay_up_to(
    capture: Capture,
    number: int,
    engine: Engine,
    frames: Frames,
    args: argparse.Namespace,
    tally: Tally,
    progress: Progress,
) -> int:
    """Lets the engine judge every packet before one; returns that one's hook."""
    hook = args.hook or "FORWARD"
    for start in range(0, number, STEP):
        part = slice(start, min(start + STEP, number))
        offset, length = capture.offset[part], capture.length[part]
        hooks = tally.hooks(capture.data, offset, length) if args.local else None
        engine.process(
            capture.data,
            offset,
            length,
            capture.time_ns[part],
            hook=hook if hooks is None else hooks,
            iif=args.in_interface,
            oif=args.out_interface,
            wire_length=capture.wire_length[part],
            link=frames.of(capture, part),
        )
        progress.judged(part.stop, number)
    if not args.local:
        return hook_code(hook)
    one = slice(number, number + 1)
    return int(tally.hooks(capture.data, capture.offset[one], capture.length[one])[0])


def look(capture: Capture, number: int, hook: int, engine: Engine, args: argparse.Namespace) -> Found:
    """The packet through the engine, watched, and its connection before and after."""
    start, size = int(capture.offset[number]), int(capture.length[number])
    packet = bytes(capture.data[start : start + size])
    time_ns = int(capture.time_ns[number])
    before = entries(engine)
    link = capture.links(slice(number, number + 1))
    seen = watched(
        engine,
        packet,
        int(capture.wire_length[number]),
        hook,
        args.in_interface,
        args.out_interface,
        time_ns,
        link.view(np.uint8),
    )
    after = entries(engine)
    return Found(
        number=number,
        time_ns=time_ns,
        link_reason=int(capture.link_reason[number]),
        captured=size,
        hook=hook,
        watched=seen,
        link=link[0],
        before=_connection(engine, before, seen.key, seen.now),
        after=_connection(engine, after, seen.key, seen.now),
        master=_master(engine, after, seen.key, seen.now) if seen.decision.expected else None,
    )


Table = tuple[Any, Any, Any]


def _place(table: Table, key: bytes) -> int:
    """Where the connection of a key stands; -1: it is not there."""
    rows = table[0]
    if not key or not len(rows):
        return -1
    heads = rows.view(np.uint8).reshape(len(rows), -1)[:, :KEY_SIZE]
    places = np.flatnonzero((heads == np.frombuffer(key, np.uint8)).all(axis=1))
    return int(places[0]) if len(places) else -1


def _connection(engine: Engine, table: Table, key: bytes, now: int) -> Connection | None:
    """The connection of a key as it is at `now`; None where its time is up."""
    rows, indices, extras = table
    place = _place(table, key)
    if place < 0 or rows[place]["expires"] <= now:
        return None
    counted = None if extras is None else extras[place].tolist()
    return from_entry(rows[place].tolist(), int(indices[place]), now, engine.helper_names(), counted)


def _master(engine: Engine, table: Table, key: bytes, now: int) -> Connection | None:
    """The connection whose helper announced this one."""
    rows, indices, extras = table
    place = _place(table, key)
    if place < 0:
        return None
    places = np.flatnonzero(indices == rows[place][MASTER])
    if not rows[place][MASTER] or not len(places):
        return None
    master = int(places[0])
    counted = None if extras is None else extras[master].tolist()
    return from_entry(rows[master].tolist(), int(indices[master]), now, engine.helper_names(), counted)


def explanation(
    name: str, found: Found, steps: list[Step], rules: Ruleset | None, args: argparse.Namespace
) -> dict[str, Any]:
    """Everything there is to say, as plain data."""
    seen = found.watched
    decision = seen.decision
    headers = Headers(seen.family, seen.protocol, seen.length, seen.fragment, seen.ip, seen.transport)
    link = LINK_REASONS[found.link_reason] if found.link_reason else None
    return {
        "packet": {
            "source": name,
            "number": found.number,
            "time_ns": found.time_ns,
            "hook": HOOK_NAMES[found.hook],
            "in_interface": args.in_interface or None,
            "out_interface": args.out_interface or None,
            "captured": found.captured,
            "link": link and {"reason": link, "meaning": LINK_MEANINGS[link]},
            "summary": str(headers),
        },
        "tracking": {
            "state": decision.state,
            "direction": decision.direction,
            "assured": decision.assured,
            "seen_reply": decision.seen_reply,
            "expected": decision.expected,
            "reason": decision.reason,
            "explanation": decision.explanation or None,
            "before": found.before and str(found.before),
            "after": found.after and str(found.after),
            "master": found.master and str(found.master),
        },
        "rules": rules is not None,
        "walk": [
            {
                "table": step.table,
                "chain": step.chain,
                "kind": step.kind,
                "number": step.number,
                "line": step.line or None,
                "depth": step.depth,
                "text": printable(step.text),
                "held": step.held,
                "checks": [asdict(check) | {"text": printable(check.text)} for check in step.checks],
                "then": step.then,
            }
            for step in steps
        ],
        "decision": {"verdict": decision.verdict, "rule": decision.rule, "mark": decision.mark},
    }


def lines(told: dict[str, Any]) -> list[str]:
    """The same for people."""
    packet = told["packet"]
    out = [
        f"packet {packet['number']} of {printable(packet['source'])}, {_clock(packet['time_ns'])}",
        f"  {packet['link']['meaning'] if packet['link'] else packet['summary']}",
        f"  hook {packet['hook']}, in {packet['in_interface'] or ABSENT}, out {packet['out_interface'] or ABSENT}",
        "",
        *_tracking(told["tracking"]),
    ]
    last = None
    for step in told["walk"]:
        if (step["table"], step["chain"]) != last:
            last = step["table"], step["chain"]
            out += ["", f"{'  ' * step['depth']}table {step['table']}, chain {step['chain']}"]
        out += _step(step)
    decision = told["decision"]
    if not told["walk"]:
        out += ["", "it came to no rule" if told["rules"] else "no rules are given for it"]
    by = f" by {decision['rule']}" if decision["rule"] else ""
    mark = f", mark {decision['mark']:#x}" if decision["mark"] else ""
    out += ["", printable(f"verdict {decision['verdict']}{by}{mark}")]
    return out


def _clock(time_ns: int) -> str:
    seconds, rest = divmod(time_ns, 1_000_000_000)
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{rest:09} UTC"
    except (OverflowError, ValueError, OSError):
        return f"{seconds}.{rest:09} s"


def _tracking(tracking: dict[str, Any]) -> list[str]:
    out = ["connection tracking"]
    if tracking["state"] == ABSENT:
        out.append("  not reached")
    else:
        out.append(f"  state   {tracking['state']}, direction {tracking['direction']}")
    if tracking["explanation"]:
        out.append(f"  reason  {tracking['reason']}: {tracking['explanation']}")
    out.append(f"  before  {tracking['before'] or 'no connection'}")
    out.append(f"  after   {tracking['after'] or 'no connection'}")
    if tracking["expected"]:
        out.append(f"  announced on  {tracking['master'] or 'a connection that is gone'}")
    return out


def _step(step: dict[str, Any]) -> list[str]:
    """A rule's line, a line for each of its conditions, and what followed."""
    margin = "  " * (step["depth"] + 1)
    if step["kind"] != "rule":
        return [f"{margin}{step['text']}: {step['then']}"]
    line = f" (line {step['line']})" if step["line"] else ""
    out = [f"{margin}{step['number']}{line}  {step['text']}"]
    width = max((len(check["text"]) for check in step["checks"]), default=0)
    for check in step["checks"]:
        answer = {True: "yes", False: "no ", None: "-  "}[check["held"]]
        values = check["values"] if check["held"] is not None else "not asked"
        out.append(f"{margin}      {answer}  {check['text']:<{width}}  {values}".rstrip())
    out.append(f"{margin}      => {step['then']}")
    return out
