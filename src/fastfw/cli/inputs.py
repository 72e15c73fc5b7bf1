"""What the verbs take from their arguments: captures, rulesets, settings, addresses. Each fault is one CliError."""

from __future__ import annotations

import argparse
import difflib
import ipaddress
import re
import sys
import warnings
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from fastfw.cli.errors import CliError, printable
from fastfw.core.settings import LOWEST
from fastfw.core.settings import TABLE as SETTINGS
from fastfw.declared import DeclarationError
from fastfw.drivers.capture import Capture, CaptureError
from fastfw.engine import HOOKS, Engine, SettingError, check_setting
from fastfw.ruleset import Ruleset, RulesetError, RulesetNotice
from fastfw.ruleset.reader import read_file
from fastfw.sets import SetError, Sets

SYSCTL_PREFIX = "net.netfilter."
STANDARD_INPUT = 0
"""Its descriptor: a name such as /dev/stdin cannot be opened where it is a socket or another user's."""
INTERFACE_LIMIT = 15
"""Bytes of an interface's name in Linux."""


class Parser(argparse.ArgumentParser):
    """argparse without abbreviations, with its errors as one line."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False)

    def read(self, argv: list[str]) -> argparse.Namespace:
        """The arguments, options and files in any order; behind `--` all are files, which argparse forgets here."""
        end = argv.index("--") if "--" in argv else len(argv)
        files = [f"./{name}" if name[0:1] == "-" != name else name for name in argv[end + 1 :]]
        return self.parse_intermixed_args([*argv[:end], *files])

    def error(self, message: str) -> NoReturn:
        raise CliError(f"{message}; see `{self.prog} --help'")


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """The options that say what firewall the packets meet."""
    group = parser.add_argument_group("the firewall")
    group.add_argument("--rules", metavar="FILE", help="IPv4 rules, as iptables-save prints them; - is standard input")
    group.add_argument("--rules6", metavar="FILE", help="IPv6 rules, as ip6tables-save prints them")
    add_setting_options(group)


def add_setting_options(group: argparse._ArgumentGroup) -> None:
    """Those of them that are not rules."""
    group.add_argument("--hook", choices=sorted(HOOKS), help="chain that all packets meet (default FORWARD)")
    group.add_argument(
        "--local",
        metavar="ADDR",
        action="append",
        default=[],
        help="an address of the firewall itself: packets to it meet INPUT, from it OUTPUT, all others FORWARD; "
        "its network's length and its interface may follow: ADDR/LEN%%DEV",
    )
    group.add_argument(
        "--route", metavar="ROUTE", action="append", default=[], help="a route of its own, as `ip route' prints it"
    )
    group.add_argument("--group", metavar="DEV=N", action="append", default=[], help="the group an interface is in")
    group.add_argument("--time-zone", metavar="MINUTES", type=int, help="its kernel's time zone, minutes east of UTC")
    group.add_argument(
        "--assume",
        metavar="MATCH=yes|no",
        action="append",
        default=[],
        help="whether a match holds that only its kernel can answer, such as owner (default no)",
    )
    group.add_argument("--sets", metavar="FILE", help="the sets that rules name, as ipset save prints them")
    group.add_argument("--in-interface", metavar="NAME", default="", help="interface the packets come in by")
    group.add_argument("--out-interface", metavar="NAME", default="", help="interface the packets leave by")
    group.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a setting by its sysctl name, such as nf_conntrack_tcp_loose=0",
    )
    group.add_argument(
        "--helper",
        metavar="NAME[:PROTO:PORT]",
        action="append",
        default=[],
        help="attach a helper, such as ftp or ftp:tcp:2121",
    )


def make_engine(args: argparse.Namespace) -> tuple[Engine, Ruleset | None, Ruleset | None]:
    """The engine that add_engine_options' arguments describe, and its rulesets."""
    check_options(args)
    rules4 = read_rules(args.rules, 4) if args.rules is not None else None
    rules6 = read_rules(args.rules6, 6) if args.rules6 is not None else None
    engine = bare_engine(args)
    for rules in filter(None, (rules4, rules6)):
        forget_counters(rules)
    if rules4 is not None:
        put_in_force(engine, rules4, args.rules)
    if rules6 is not None:
        put_in_force(engine, rules6, args.rules6)
    return engine, rules4, rules6


def check_options(args: argparse.Namespace) -> None:
    """Refuses options that cannot stand together, and what is no interface's name."""
    if args.hook and args.local:
        raise CliError("--hook and --local exclude each other: --local tells each packet's hook")
    for option in ("in_interface", "out_interface"):
        name = getattr(args, option)
        if len(name.encode("utf-8", "surrogateescape")) > INTERFACE_LIMIT or re.search(r"[\s/]", name, re.ASCII):
            raise CliError(
                f"--{option.replace('_', '-')} {name!r}: an interface name of up to {INTERFACE_LIMIT} bytes expected"
            )


def bare_engine(args: argparse.Namespace, seed: bytes | None = None) -> Engine:
    """An engine with add_setting_options' settings and helpers, and no rules yet; `seed` as in Engine."""
    settings = read_settings(args.set)
    told = read_declared(args) | {"sets": read_sets(args.sets) if args.sets is not None else None}
    try:
        return Engine(settings=settings, helpers=args.helper, seed=seed, **told)
    except DeclarationError as error:
        raise CliError(str(error)) from None
    except ValueError as error:
        raise CliError(f"--helper {error}") from None


def read_declared(args: argparse.Namespace) -> dict[str, Any]:
    """What the options tell of the firewall's host, as the engine's arguments; it checks what is more than form."""
    groups, assume = {}, {}
    for item in args.group:
        name, equals, number = item.partition("=")
        if not (name and equals and re.fullmatch("[0-9]{1,10}", number, re.ASCII)):
            raise CliError(f"--group {item}: DEV=N expected")
        groups[name] = int(number)
    for item in args.assume:
        name, _, answer = item.partition("=")
        if answer not in ("yes", "no"):
            raise CliError(f"--assume {item}: MATCH=yes or MATCH=no expected")
        assume[name] = answer == "yes"
    told = {"local": args.local, "routes": args.route, "groups": groups, "assume": assume}
    return told | {"time_zone": args.time_zone}


def forget_counters(rules: Ruleset) -> None:
    """Lets every counter begin at zero, as iptables-restore does unless it is asked otherwise: what is counted is the
    captures' packets alone."""
    for table in rules.tables.values():
        for chain in table.chains.values():
            chain.zero()


def put_in_force(engine: Engine, rules: Ruleset, path: str) -> None:
    """Makes a ruleset the engine's for its family. Rules that cannot be evaluated are a CliError; of those that are not
    evaluated as the kernel would, a line on standard error tells."""
    # As in the kernel, there is always a filter table.
    rules.table("filter")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", RulesetNotice)
        try:
            given: dict[str, Any] = {f"rules{rules.family}": rules}
            engine.replace(**given)
        except RulesetError as error:
            raise CliError(located(error, source_name(path))) from None
    for one in told:
        if isinstance(one.message, RulesetNotice):
            print(f"fastfw: {printable(located(one.message, source_name(path)))}", file=sys.stderr)


def source_name(path: str) -> str:
    """What messages call a file that was given by this name."""
    return "standard input" if path == "-" else path or repr(path)


def read_rules(path: str, family: int) -> Ruleset:
    """The ruleset in a file; `-` is standard input."""
    name = source_name(path)
    try:
        return Ruleset.parse(read_text(path), family=family, filename=name)
    except RulesetError as error:
        raise CliError(located(error, name)) from None


def read_sets(path: str) -> Sets:
    """The sets in a file; `-` is standard input."""
    try:
        return Sets.parse(read_text(path))
    except SetError as error:
        raise CliError(f"{printable(source_name(path))}:{error}") from None


def read_text(path: str) -> str:
    """The text of rules or sets; `-` is standard input. Bytes that are no UTF-8 survive as surrogates."""
    name = source_name(path)
    try:
        if path == "-":
            return read_file(sys.stdin.buffer, name)
        with open(path, "rb") as file:
            return read_file(file, name)
    except OSError as error:
        raise CliError(f"{name}: {error.strerror}") from None
    except RulesetError as error:
        raise CliError(located(error, name)) from None


def located(error: RulesetError | RulesetNotice, name: str) -> str:
    """FILE:LINE:COLUMN: reason."""
    reason = error.reason.encode("utf-8", "backslashreplace").decode()
    return f"{name}:{error.line}:{error.column}: {reason}"


def read_settings(items: Iterable[str]) -> dict[str, int]:
    """NAME=VALUE items; a later one overrides an earlier one of the same name."""
    settings = {}
    for item in items:
        name, equals, text = item.partition("=")
        name = name.strip().removeprefix(SYSCTL_PREFIX)
        if not equals:
            raise CliError(f"--set {item}: NAME=VALUE expected")
        if name == "nf_conntrack_count":
            raise CliError(f"--set {item}: {name} is read only")
        if name not in SETTINGS:
            near = difflib.get_close_matches(name, SETTINGS, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise CliError(f"--set {item}: no setting `{name}'{hint}")
        if not re.fullmatch(r"\s*[+-]?[0-9]{1,40}\s*", text, re.ASCII):
            between = f"from {LOWEST.get(name, 0)} to {SETTINGS[name][2]}"
            raise CliError(f"--set {item}: a whole number {between} expected, not `{text}'")
        try:
            settings[name] = check_setting(name, int(text))
        except SettingError as error:
            raise CliError(f"--set {error}") from None
    return settings


def read_addresses(items: Iterable[str]) -> tuple[bytes, bytes]:
    """The IPv4 and the IPv6 addresses among `items`, each packed one after the other in network order."""
    packed = {4: b"", 6: b""}
    for item in items:
        try:
            address = ipaddress.ip_interface(item.partition("%")[0]).ip
        except ValueError:
            raise CliError(f"--local {item}: an IPv4 or IPv6 address expected, with /LEN or not") from None
        packed[address.version] += address.packed
    return packed[4], packed[6]


def open_capture(path: str, progress: Callable[[int, int], object] | None = None) -> Capture:
    """A capture file; `-` is standard input."""
    name = source_name(path)
    try:
        return Capture(STANDARD_INPUT if path == "-" else path, progress=progress)
    except CaptureError as error:
        raise CliError(f"{name}: {error}") from None
    except OSError as error:
        raise CliError(f"{name}: {error.strerror}") from None
