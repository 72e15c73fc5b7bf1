"""`fastfw replay`: captures through a ruleset, with the decisions as a table, CSV or JSON."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from fastfw.cli import inputs
from fastfw.cli.errors import CliError
from fastfw.cli.frames import Frames
from fastfw.cli.names import ABSENT, STATES, VERDICTS, direction_name, why
from fastfw.cli.outputs import open_outputs
from fastfw.cli.progress import Progress
from fastfw.cli.report import Report, sections
from fastfw.cli.rulenames import RuleNames
from fastfw.cli.tally import Tally, numbered_lines
from fastfw.drivers.capture import Capture
from fastfw.engine import Engine, hook_code
from fastfw.ruleset import Ruleset

STEP = 1 << 17
"""Packets between two turns of the progress bar and two writes."""

OUTPUTS = ("packets", "conntrack", "counters", "counters6")
"""Options that name a file to write."""

HEADER = b"packet,verdict,state,direction,assured,seen_reply,expected,rule,reason\n"


def arguments(prog: str) -> inputs.Parser:
    parser = inputs.Parser(
        prog=prog,
        description="Decides every packet of the captures as Linux would with these rules, and shows the result. "
        "Nothing is loaded, nothing is sent, and no privilege is needed.",
    )
    parser.add_argument(
        "captures", metavar="CAPTURE", nargs="+", help="pcap or pcapng files, one after the other; - is standard input"
    )
    inputs.add_engine_options(parser)
    group = parser.add_argument_group("what is written (- is standard output)")
    group.add_argument("--packets", metavar="OUT.csv", help="one line a capture record: verdict, state, rule, reason")
    group.add_argument("--conntrack", metavar="OUT", help="the connection table afterwards, as /proc/net/nf_conntrack")
    group.add_argument("--counters", metavar="OUT", help="the rules' counters, as iptables-save -c -t filter")
    group.add_argument("--counters6", metavar="OUT", help="those of the IPv6 rules, as ip6tables-save -c -t filter")
    group.add_argument("--json", action="store_true", help="the summary as JSON instead of tables")
    return parser


def main(prog: str, argv: list[str]) -> int:
    args = arguments(prog).read(argv)
    if args.captures.count("-") + [args.rules, args.rules6].count("-") > 1:
        raise CliError("only one input can be read from standard input")
    local4, local6 = inputs.read_addresses(args.local)
    engine, rules4, rules6 = inputs.make_engine(args)
    if args.counters6 and rules6 is None:
        raise CliError("--counters6: there are no IPv6 rules (--rules6)")
    if args.counters and rules4 is rules6 is None:
        rules4 = Ruleset(4)
        inputs.put_in_force(engine, rules4, "")
    names = RuleNames(engine, rules4, rules6)
    frames = Frames((rules4, args.rules), (rules6, args.rules6))
    tally = Tally(local4, local6)
    report = Report()
    with contextlib.ExitStack() as stack:
        wanted = {f"--{name}": getattr(args, name) for name in OUTPUTS}
        if args.json and "-" in wanted.values():
            option = next(name for name, path in wanted.items() if path == "-")
            raise CliError(f"{option} -: standard output is taken by --json")
        outputs = open_outputs(wanted, (*args.captures, args.rules, args.rules6), stack)
        progress = stack.enter_context(Progress())
        writer = PacketWriter(outputs["--packets"], tally, names) if "--packets" in outputs else None
        for path in args.captures:
            with inputs.open_capture(path, progress.reading(path)) as capture:
                for warning in capture.warnings:
                    progress.say(f"{inputs.source_name(path)}: {warning}")
                frames.warn(capture, inputs.source_name(path))
                judge(capture, engine, frames, tally, writer, args, progress)
                if capture.lost:
                    capture.warnings.append("the file was cut while it was read; what is gone read as zeros")
                    progress.say(f"{inputs.source_name(path)}: {capture.warnings[-1]}")
                report.add_capture(inputs.source_name(path), capture)
        progress.done()
        if "--conntrack" in outputs:
            for connection in engine.connections():
                outputs["--conntrack"].write(f"{connection}\n".encode())
        if "--counters" in outputs:
            for rules in filter(None, (rules4, None if args.counters6 else rules6)):
                outputs["--counters"].write(engine.counters_text(rules.family).encode("utf-8", "surrogateescape"))
        if "--counters6" in outputs:
            outputs["--counters6"].write(engine.counters_text(6).encode("utf-8", "surrogateescape"))
    summary = report.summary(engine, tally, names)
    target = sys.stderr if "-" in (getattr(args, name) for name in OUTPUTS) else sys.stdout
    if args.json:
        print(json.dumps(summary, indent=2), file=target)
    else:
        from fastfw.cli.render import render

        render(sections(summary), summary["hints"], target)
    return 0


def judge(
    capture: Capture,
    engine: Engine,
    frames: Frames,
    tally: Tally,
    writer: PacketWriter | None,
    args: argparse.Namespace,
    progress: Progress,
) -> None:
    """One capture through the engine, in steps."""
    hook = args.hook or "FORWARD"
    for part in steps(len(capture)):
        offset, length = capture.offset[part], capture.length[part]
        hooks = tally.hooks(capture.data, offset, length) if args.local else None
        decisions = engine.process(
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
        numbers = tally.add(
            capture.data,
            offset,
            length,
            capture.wire_length[part],
            capture.link_reason[part],
            hooks,
            hook_code(hook),
            decisions.view("u1"),
        )
        if writer is not None:
            writer.write(numbers)
        progress.judged(part.stop, len(capture))


def steps(count: int) -> Iterator[slice]:
    for start in range(0, count, STEP):
        yield slice(start, min(start + STEP, count))


class PacketWriter:
    """Writes one CSV line a packet. Whatever follows the packet's number is made once for each class of packets."""

    def __init__(self, file: BinaryIO, tally: Tally, names: RuleNames) -> None:
        self._file = file
        self._tally = tally
        self._names = names
        self._endings: list[bytes] = []
        self._packet = 0
        file.write(HEADER)

    def write(self, numbers: npt.NDArray[np.uint32]) -> None:
        """The lines of the next packets, whose classes have these numbers."""
        for row in self._tally.classes_from(len(self._endings)):
            self._endings.append(self._ending(row))
        self._file.write(numbered_lines(numbers, self._packet, self._endings))
        self._packet += len(numbers)

    def _ending(self, row: tuple[int, ...]) -> bytes:
        verdict, state, direction, assured, seen_reply, expected, reason, rule, family, _, _, link, *_ = row
        ip = family != 0 or not link
        fields = (
            VERDICTS.get(verdict, str(verdict)) if ip else ABSENT,
            STATES.get(state, str(state)) if ip else ABSENT,
            direction_name(state, direction),
            str(assured),
            str(seen_reply),
            str(expected),
            self._names.name(family, rule),
            why(reason, link),
        )
        return f",{','.join(map(quoted, fields))}\n".encode("utf-8", "surrogateescape")


def quoted(field: str) -> str:
    """A CSV field (RFC 4180): chain names may hold commas and quotes."""
    return f'"{field.replace(chr(34), chr(34) * 2)}"' if any(c in field for c in ',"\r\n') else field
