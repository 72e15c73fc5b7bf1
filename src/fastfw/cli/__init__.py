"""The command line: `fastfw VERB ...`, one module a verb."""

from __future__ import annotations

import difflib
import importlib
import io
import os
import sys
from collections.abc import Sequence

from fastfw._version import __version__
from fastfw.cli.errors import CliError, printable

__all__ = ["VERBS", "CliError", "main"]

#: Verb -> (module below fastfw.cli, what it does). A verb's module has main(prog, argv) -> exit status; it raises
#: CliError, or lets an OSError through, for what cannot be used.
VERBS = {
    "replay": ("replay", "what a ruleset does to the packets of captures"),
    "explain": ("explain", "every rule that one packet of a capture came to, and why it was decided so"),
    "diff": ("diff", "which packets and connections of a capture two rulesets decide differently"),
    "rules": ("rules", "what is wrong with a ruleset, or its canonical text"),
    "run": ("run", "the gateway daemon on NFQUEUE"),
    "reload": ("reload", "have the daemon read its configuration and rules anew"),
    "top": ("top", "a running daemon's packets, losses, drops and connections, second after second"),
    "conntrack": ("conntrack", "conntrack(8) for the daemon's connections"),
    "iptables": ("iptables", "iptables(8) for the daemon's IPv4 rules"),
    "ip6tables": ("iptables", "ip6tables(8) for the daemon's IPv6 rules"),
    "save": ("save", "iptables-save(8) for the daemon's rules"),
    "restore": ("restore", "iptables-restore(8) for the daemon's rules"),
    "iptables-save": ("save", "likewise, by its own name"),
    "iptables-restore": ("restore", "likewise"),
    "ip6tables-save": ("save", "likewise, for IPv6"),
    "ip6tables-restore": ("restore", "likewise, for IPv6"),
}

#: Modules that are not part of the core installation -> the extra that brings them.
EXTRAS = {"rich": "cli", "msgspec": "gateway", "prometheus_client": "gateway", "netfilterqueue": "netfilterqueue"}

#: Environment variable that lets a fault of the program itself show its traceback.
TRACEBACK = "FASTFW_TRACEBACK"

UNUSABLE = 2
INTERRUPTED = 128 + 2
PIPE_CLOSED = 128 + 13


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status: 0 done, 1 the answer is no, 2 unusable input."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        _open_standard_streams()
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        status = _run(arguments)
        sys.stdout.flush()
    except CliError as error:
        return _fail(str(error))
    except BrokenPipeError:
        # Whoever read our output has seen enough. What is still buffered must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        return _fail(": ".join(str(part) for part in (error.filename, error.strerror or error) if part))
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        return _fail(f"this needs the package {error.name}: pip install 'fastfw[{extra}]'")
    except MemoryError as error:
        return _fail(f"not enough memory{f': {error}' if str(error) else ''}")
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        return _fail(f"a fault in fastfw itself: {type(error).__name__}: {error}; {TRACEBACK}=1 shows where")
    return status


def _open_standard_streams() -> None:
    """Puts /dev/null where a standard stream was closed before we began: no file of ours may take its descriptor."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - for as long as the process lives


def _fail(message: str) -> int:
    print(f"fastfw: {printable(' '.join(message.splitlines()))}", file=sys.stderr)
    return UNUSABLE


def _run(argv: list[str]) -> int:
    if not argv:
        raise CliError(f"a verb is expected: {', '.join(VERBS)}; see `fastfw --help'")
    verb, *rest = argv
    if verb in ("-h", "--help", "help"):
        print(_usage())
        return 0
    if verb in ("-V", "--version"):
        print(f"fastfw {__version__}")
        return 0
    if verb not in VERBS:
        near = difflib.get_close_matches(verb, VERBS, 1)
        hint = f"; did you mean {near[0]}?" if near else f": one of {', '.join(VERBS)} expected"
        raise CliError(f"no verb `{verb}'{hint}")
    module = importlib.import_module(f"fastfw.cli.{VERBS[verb][0]}")
    try:
        return int(module.main(f"fastfw {verb}", rest))
    except SystemExit as done:  # argparse, after printing its help
        return int(done.code or 0)


def _usage() -> str:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:<{width}}  {text}" for verb, (_, text) in VERBS.items())
    return (
        "usage: fastfw VERB ...\n\n"
        f"Linux's stateful firewall as a library and a command.\n\n{verbs}\n\n"
        "`fastfw VERB --help' tells each verb's options; `fastfw --version' the version.\n"
        "Exit status: 0 done, 1 the answer is no, 2 unusable input."
    )
