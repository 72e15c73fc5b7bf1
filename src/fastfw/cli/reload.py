"""`fastfw reload`: has the daemon read its configuration and rules anew."""

from __future__ import annotations

from collections.abc import Sequence

from fastfw.cli.daemonclient import connect, relay
from fastfw.cli.inputs import Parser


def main(prog: str, argv: Sequence[str]) -> int:
    """0 done, 2 the old configuration stays in force."""
    parser = Parser(prog, "Have the daemon read its configuration and rules anew; no connection is lost.")
    parser.add_argument("--control", metavar="SOCKET", help="the daemon's control socket")
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--rejudge", action="store_true", default=None, help="forget the connections that the new rules refuse"
    )
    group.add_argument("--keep", dest="rejudge", action="store_false", help="keep them, whatever is configured")
    args = parser.parse_args(argv)
    options = {} if args.rejudge is None else {"rejudge": args.rejudge}
    with connect(args.control) as client:
        return relay(client, "reload", options=options)
