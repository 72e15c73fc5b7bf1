"""`fastfw run`: the gateway daemon."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastfw.cli.errors import CliError
from fastfw.cli.inputs import Parser

if TYPE_CHECKING:
    import argparse

    from fastfw.gateway.config import Config

DESCRIPTION = """Judge the packets of the kernel's queues: installs its own NFQUEUE rules, keeps connections across
restarts, listens to `fastfw conntrack', `fastfw iptables' and the others. SIGHUP reads configuration and rules anew;
SIGTERM stops. docs/gateway.md tells the rest. Options override the configuration file."""


def main(prog: str, argv: Sequence[str]) -> int:
    """Runs until stopped; 0, or an error."""
    parser = Parser(prog, DESCRIPTION)
    parser.add_argument("-c", "--config", metavar="FILE", help="configuration, TOML")
    parser.add_argument("--rules", metavar="FILE", help="IPv4 rules, as iptables-save prints them")
    parser.add_argument("--rules6", metavar="FILE", help="IPv6 rules, as ip6tables-save prints them")
    parser.add_argument(
        "--sets", metavar="FILE", action="append", help="sets that rules name, as ipset save prints them"
    )
    parser.add_argument("--queue", metavar="N[:M]", help="NFQUEUE queue, or the first and last of several")
    parser.add_argument("--state", metavar="FILE", help="where connections are kept between runs")
    parser.add_argument("--control", metavar="SOCKET", help="the control socket (default /run/fastfw/control)")
    parser.add_argument("--check", action="store_true", help="check configuration and rules, and do nothing")
    parser.add_argument("--clean", action="store_true", help="remove what a killed daemon left in the kernel's rules")
    args = parser.parse_args(argv)

    from fastfw.gateway.config import ConfigError
    from fastfw.gateway.daemon import Daemon, StartError, clean
    from fastfw.gateway.steer import SteerError

    try:
        config = read(args)
        if args.clean:
            removed = clean(config.steering.iptables)
            print(f"removed the rules in {', '.join(removed)}" if removed else "there was nothing to remove")
            return 0
        daemon = Daemon(config, reread=lambda: read(args))
        if args.check:
            daemon.check()
            return 0
        daemon.serve()
    except (ConfigError, StartError, SteerError) as error:
        raise CliError(str(error)) from None
    return 0


def read(args: argparse.Namespace) -> Config:
    """The file's configuration with the options' over it. ConfigError, CliError; OSError: there is no such file."""
    from fastfw.gateway.config import Config, changed, check, read_config
    from fastfw.gateway.daemon import absolute

    for option, given in (
        ("config", [args.config]),
        ("rules", [args.rules]),
        ("rules6", [args.rules6]),
        ("sets", args.sets or []),
    ):
        if "" in given:  # of a variable that is not set: no rules at all is nothing to guess
            raise CliError(f"--{option} '': a file's name expected")
    config = read_config(args.config) if args.config else Config()
    first = count = None
    if args.queue is not None:
        found = re.fullmatch(r"(\d{1,5})(?::(\d{1,5}))?", args.queue, re.ASCII)
        low = int(found[1]) if found else -1
        high = int(found[2] or found[1]) if found else -1
        if not 0 <= low <= high <= 65535 or high - low > 255:
            raise CliError(f"--queue {args.queue}: a queue from 0 to 65535, or FIRST:LAST of up to 256, expected")
        first, count = low, high - low + 1
    config = changed(
        config,
        rules=changed(
            config.rules,
            ipv4=absolute(args.rules),
            ipv6=absolute(args.rules6),
            sets=tuple(str(absolute(path)) for path in args.sets) if args.sets else None,
        ),
        queue=changed(config.queue, first=first, count=count),
        state=changed(config.state, file=absolute(args.state)),
        control=changed(config.control, socket=absolute(args.control)),
    )
    check(config, name=args.config or "options")
    return config
