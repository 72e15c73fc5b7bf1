"""`fastfw rules`: reads a ruleset, says what is wrong with it, or prints it as iptables-save would."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from fastfw.cli import inputs
from fastfw.cli.errors import CliError, printable
from fastfw.helpers import HelperError, parse_spec
from fastfw.ruleset import Ruleset, RulesetError
from fastfw.ruleset.compile import compile_ruleset
from fastfw.ruleset.lint import FAULT, NOTE, Finding, lint

FAULTS = 1
UNUSABLE = 2

SHOWN = 200
"""Characters of a faulty line that are shown around the place."""


def check_arguments(prog: str) -> argparse.ArgumentParser:
    parser = inputs.Parser(
        prog=prog,
        description="Says what is wrong with rules: text that iptables-restore would refuse, rules that can never "
        "match, rules that change nothing, connections that could not begin or go on. "
        "Exit status: 0 nothing is, 1 faults were found (notes do not count), 2 the text cannot be read.",
    )
    _add_common(parser)
    parser.add_argument(
        "--helper",
        metavar="NAME[:PROTO:PORT]",
        action="append",
        default=[],
        help="a helper that is attached by other means than the rules' own CT targets, such as ftp",
    )
    parser.add_argument("--json", action="store_true", help="the findings as JSON")
    return parser


def save_arguments(prog: str) -> argparse.ArgumentParser:
    parser = inputs.Parser(prog=prog, description="Prints rules in the form in which iptables-save would print them.")
    _add_common(parser)
    parser.add_argument("--counters", action="store_true", help="with the counters of the text, as iptables-save -c")
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="rules, as iptables-save prints them; - is standard input")
    parser.add_argument("--family", type=int, choices=(4, 6), default=4, help="6 for ip6tables' rules (default 4)")


VERBS = {"check": check_arguments, "save": save_arguments}

USAGE = """usage: {prog} check FILE [--family 4|6] [--helper NAME]... [--json]
       {prog} save FILE [--family 4|6] [--counters]

check says what is wrong with rules, save prints them as iptables-save would. Nothing is loaded.
`{prog} check --help' and `{prog} save --help' tell the options."""


def main(prog: str, argv: list[str]) -> int:
    if argv and argv[0] in ("-h", "--help"):
        print(USAGE.format(prog=prog))
        return 0
    if not argv or argv[0] not in VERBS:
        given = f", not `{argv[0]}'" if argv else ""
        raise CliError(f"check or save expected{given}; see `{prog} --help'")
    verb, *rest = argv
    args = VERBS[verb](f"{prog} {verb}").parse_args(rest)
    return check(args) if verb == "check" else save(args)


def save(args: argparse.Namespace) -> int:
    """Prints the canonical text."""
    name = inputs.source_name(args.file)
    given = inputs.read_text(args.file)
    try:
        text = Ruleset.parse(given, family=args.family, filename=name).save(counters=args.counters)
    except RulesetError as error:
        return _refused(error, given, name)
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
    return 0


def check(args: argparse.Namespace) -> int:
    """Prints what is wrong."""
    helpers = set()
    for item in args.helper:
        try:
            helpers.add(parse_spec(item).helper.name)
        except HelperError as error:
            raise CliError(f"--helper {error}") from None
    name = inputs.source_name(args.file)
    text = inputs.read_text(args.file)
    try:
        ruleset = Ruleset.parse(text, family=args.family, filename=name)
    except RulesetError as error:
        return _refused(error, text, name, args.json)
    findings = lint(ruleset, helpers) + _not_evaluated(ruleset)
    faults = sum(f.level == FAULT for f in findings)
    if args.json:
        _print_json(name, None, findings)
    else:
        for finding in findings:
            print(_line(finding, name))
        print(f"{name}: {_total(ruleset)}, {_count(faults, 'fault')}, {_count(len(findings) - faults, 'note')}")
    return FAULTS if faults else 0


def _refused(error: RulesetError, text: str, name: str, as_json: bool = False) -> int:
    """Text that is no ruleset: the place and the reason; on a terminal also the line with a caret under the column."""
    if as_json:
        place = {"line": error.line, "column": error.column, "reason": printable(error.reason)}
        _print_json(name, place, [])
        return UNUSABLE
    print(printable(inputs.located(error, name)), file=sys.stderr)
    lines = text.split("\n")
    if sys.stderr.isatty() and 1 <= error.line <= len(lines):
        print(*source_and_caret(lines[error.line - 1], error.column), sep="\n", file=sys.stderr)
    return UNUSABLE


def source_and_caret(line: str, column: int) -> tuple[str, str]:
    """A line of a file, or what of it stands around the column (from 1), and a line with a caret under the column."""
    at = max(0, min(column - 1, len(line)))
    start = max(0, at - SHOWN // 2) if len(line) > SHOWN else 0
    before = printable(line[start:at].replace("\t", " "))
    after = printable(line[at : start + SHOWN].replace("\t", " "))
    dots = "..." if start else ""
    return f"  {dots}{before}{after}", f"  {' ' * len(dots + before)}^"


def _not_evaluated(ruleset: Ruleset) -> list[Finding]:
    """The first rule that can be kept and written, but not evaluated."""
    try:
        compile_ruleset(ruleset)
    except RulesetError as error:
        text = f"replay, explain and diff refuse this ruleset: {error.reason}"
        return [Finding("not-evaluated", NOTE, "", "", 0, error.line, error.column, text)]
    return []


def _line(finding: Finding, name: str) -> str:
    place = f"{name}:{finding.line}:{finding.column}" if finding.line else name
    where = ""
    if finding.chain:
        where = f"{finding.table}:{finding.chain}{f':rule:{finding.rule}' if finding.rule else ''}: "
    return printable(f"{place}: {finding.level}: {finding.kind}: {where}{finding.text}")


def _print_json(name: str, error: dict[str, Any] | None, findings: list[Finding]) -> None:
    found = [
        {
            "level": f.level,
            "kind": f.kind,
            "line": f.line,
            "column": f.column,
            "table": f.table,
            "chain": f.chain,
            "rule": f.rule or None,
            "text": printable(f.text),
        }
        for f in findings
    ]
    faults = sum(f.level == FAULT for f in findings)
    counts = {"faults": faults, "notes": len(findings) - faults}
    print(json.dumps({"file": name, "error": error, **counts, "findings": found}, indent=2))


def _total(ruleset: Ruleset) -> str:
    chains = [chain for table in ruleset.tables.values() for chain in table.chains.values()]
    return f"{_count(sum(len(c.rules) for c in chains), 'rule')} in {_count(len(chains), 'chain')}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
