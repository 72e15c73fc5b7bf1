"""`fastfw save`: iptables-save(8) for the daemon's rules; also `fastfw iptables-save` and `fastfw ip6tables-save`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from fastfw.cli.daemonclient import connect, relay
from fastfw.cli.inputs import Parser
from fastfw.ruleset.model import TABLES


def main(prog: str, argv: Sequence[str]) -> int:
    """0 done, 2 unusable."""
    parser = Parser(prog, "Print a running daemon's rules as iptables-save does.")
    parser.add_argument("--control", metavar="SOCKET", help="the daemon's control socket")
    parser.add_argument("-c", "--counters", action="store_true", help="with the counters of every rule")
    parser.add_argument("-t", "--table", choices=TABLES, help="one table alone")
    parser.add_argument("-f", "--file", metavar="FILE", help="where to print; it is replaced as a whole")
    parser.add_argument("-6", "--ipv6", action="store_true", help="the IPv6 rules")
    parser.add_argument("-4", "--ipv4", action="store_true", help="the IPv4 rules (the default)")
    parser.add_argument("-M", "--modprobe", metavar="COMMAND", help="taken for iptables-save's sake; does nothing")
    parser.add_argument(
        "--persist", action="store_true", help="have the daemon write its rules to the files of its configuration"
    )
    args = parser.parse_args(argv)
    family = 6 if args.ipv6 or "ip6tables" in prog else 4
    with connect(args.control) as client:
        if args.persist:
            only = family if args.ipv6 or args.ipv4 or "tables" in prog else 0
            for reply in client.ask("persist", options={"family": only}):
                if reply.err:
                    sys.stderr.write(reply.err)
                for path in reply.data or ():
                    print(path)
            return int(reply.status or 0)
        options = {"family": family, "counters": args.counters, "table": args.table or ""}
        if not args.file:
            return relay(client, "save", options=options)
        parts = []
        for reply in client.ask("save", options=options):
            parts.append(reply.out)
            sys.stderr.write(reply.err)
        if not reply.status:
            from fastfw.gateway.rulebook import write_whole

            write_whole(args.file, "".join(parts))
        return int(reply.status or 0)
