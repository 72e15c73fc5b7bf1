"""`fastfw iptables` and `fastfw ip6tables`: iptables(8)'s words, for the daemon's rules."""

from __future__ import annotations

from collections.abc import Sequence

from fastfw._version import __version__
from fastfw.cli.daemonclient import connect, relay, take_socket
from fastfw.cli.errors import CliError

USAGE = """usage: fastfw {name} [--control SOCKET] COMMAND ...

Changes and lists the rules of a running daemon, in the words of {name}(8).

  -A, --append CHAIN RULE          -I, --insert CHAIN [NUMBER] RULE
  -D, --delete CHAIN RULE|NUMBER   -R, --replace CHAIN NUMBER RULE
  -C, --check CHAIN RULE           -L, --list [CHAIN [NUMBER]]
  -S, --list-rules [CHAIN [NUMBER]]  -F, --flush [CHAIN]
  -N, --new-chain CHAIN            -X, --delete-chain [CHAIN]
  -P, --policy CHAIN ACCEPT|DROP   -E, --rename-chain OLD NEW
  -Z, --zero [CHAIN [NUMBER]]
with -t TABLE (default filter), and for -L -v -n -x --line-numbers. Addresses and ports are never looked up by name.

Exit status: 0 done, 1 it cannot be done (-C: no such rule), 2 no such command.
"""


def main(prog: str, argv: Sequence[str]) -> int:
    """0 done, 1 the answer is no, 2 unusable."""
    name = prog.split()[-1]
    socket, words = take_socket(argv)
    if not words:
        raise CliError(f"a command is expected, such as -L; see `{prog} --help'")
    if words in (["-h"], ["--help"]):
        print(USAGE.format(name=name), end="")
        return 0
    if words in (["-V"], ["--version"]):
        print(f"{name} of fastfw v{__version__}")
        return 0
    with connect(socket) as client:
        return relay(client, name, *words)
