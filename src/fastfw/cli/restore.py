"""`fastfw restore`: iptables-restore(8) for the daemon's rules; also as `fastfw iptables-restore` and
`fastfw ip6tables-restore`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fastfw.cli.daemonclient import connect, relay
from fastfw.cli.inputs import Parser, read_text, source_name
from fastfw.ruleset.model import TABLES


def main(prog: str, argv: Sequence[str]) -> int:
    """0 done, 2 unusable."""
    parser = Parser(prog, "Load rules into a running daemon as iptables-restore does: each table as a whole.")
    parser.add_argument("file", nargs="?", default="-", metavar="FILE", help="the rules; standard input without it")
    parser.add_argument("--control", metavar="SOCKET", help="the daemon's control socket")
    parser.add_argument("-c", "--counters", action="store_true", help="take the counters over")
    parser.add_argument("-n", "--noflush", action="store_true", help="add to the tables instead of replacing them")
    parser.add_argument("-t", "--test", action="store_true", help="see whether it can be done, and do nothing")
    parser.add_argument("-T", "--table", choices=TABLES, help="this table of the text alone")
    parser.add_argument("-v", "--verbose", action="store_true", help="name the tables that are loaded")
    parser.add_argument("-6", "--ipv6", action="store_true", help="they are IPv6 rules")
    parser.add_argument("-4", "--ipv4", action="store_true", help="they are IPv4 rules (the default)")
    parser.add_argument("-w", "--wait", nargs="?", metavar="SECONDS", help="taken for its sake: changes always wait")
    parser.add_argument("-W", "--wait-interval", metavar="USECONDS", help="likewise")
    parser.add_argument("-M", "--modprobe", metavar="COMMAND", help="taken for its sake; does nothing")
    args = parser.parse_args(argv)
    text = read_text(args.file)
    if args.table:
        text = only_table(text, args.table)
    options = {
        "family": 6 if args.ipv6 or "ip6tables" in prog else 4,
        "name": source_name(args.file),
        "counters": args.counters,
        "noflush": args.noflush,
        "test": args.test,
    }
    with connect(args.control) as client:
        status = relay(client, "restore", text=text, options=options)
    if args.verbose and not status:
        for name in re.findall(r"^\*(\S+)", text, re.MULTILINE):
            print(f"table {name} {'would be' if args.test else 'is'} loaded")
    return status


def only_table(text: str, table: str) -> str:
    """The text with every other table's lines empty, so that the numbers of lines stay what they are."""
    lines = []
    inside = False
    for line in text.split("\n"):
        if line.startswith("*"):
            inside = line[1:].strip() == table
        lines.append(line if inside or line.startswith("#") else "")
        if line == "COMMIT":
            inside = False
    return "\n".join(lines)
