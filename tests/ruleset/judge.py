"""The real iptables, asked in a network namespace of its own."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

CLONE_NEWNET = 0x40000000
NAMES = {4: "iptables", 6: "ip6tables"}

_libc = ctypes.CDLL(None, use_errno=True)


def unavailable() -> str:
    """Why the real tool cannot be asked here, or ""."""
    if os.geteuid() != 0:
        return "needs root"
    for name in NAMES.values():
        if not shutil.which(f"{name}-legacy-restore"):
            return f"needs {name}-legacy-restore"
    return ""


@cache
def namespace() -> int:
    """A descriptor of a fresh network namespace, which lives as long as this process."""
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import ctypes,sys;ctypes.CDLL(None).unshare(0x40000000);print(1,flush=True);sys.stdin.read()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    child.stdout.readline()
    descriptor = os.open(f"/proc/{child.pid}/ns/net", os.O_RDONLY)
    child.stdin.close()
    child.wait()
    child.stdout.close()
    return descriptor


def run(*command: str, text: str = "") -> subprocess.CompletedProcess[bytes]:
    """Run a program in the namespace."""
    descriptor = namespace()

    def enter() -> None:
        if _libc.setns(descriptor, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")

    return subprocess.run(
        command,
        input=text.encode("utf-8", "surrogateescape"),
        capture_output=True,
        preexec_fn=enter,
        check=False,
        timeout=120,
    )


def restore(text: str, family: int) -> str:
    """Load a ruleset; "" or what the tool says against it."""
    done = run(f"{NAMES[family]}-legacy-restore", "-c", text=text)
    return "" if done.returncode == 0 else done.stderr.decode("utf-8", "replace").strip() or f"status {done.returncode}"


_EACH = 'for i in $(seq 0 $2); do "$1" -c "$3/$i" 2>"$3/$i.said" || echo "status $?" >>"$3/$i.said"; done'


def restore_each(texts: Sequence[str], family: int) -> list[str]:
    """Load rulesets one after the other; for each "" or what the tool says against it."""
    with tempfile.TemporaryDirectory() as directory:
        for index, text in enumerate(texts):
            Path(directory, str(index)).write_text(text, encoding="utf-8", errors="surrogateescape")
        run("sh", "-c", _EACH, "sh", f"{NAMES[family]}-legacy-restore", str(len(texts) - 1), directory)
        said = [Path(directory, f"{index}.said").read_text(errors="replace") for index in range(len(texts))]
    return [words if "status " in words else "" for words in said]


def save(table: str, family: int, counters: bool = False) -> str:
    """A table as the tool prints it, without the comment lines."""
    done = run(f"{NAMES[family]}-legacy-save", "-t", table, *(["-c"] if counters else []))
    assert done.returncode == 0, done.stderr
    return without_comments(done.stdout.decode("utf-8", "surrogateescape"))


def without_comments(text: str) -> str:
    """A saved text without its dates."""
    return "\n".join(line for line in text.split("\n") if not line.startswith("#"))


def ruleset(table: str, chain: str, rules: Iterable[str]) -> str:
    """Rules in one chain as a text; the chains u1 and u2 are there to jump to."""
    lines = "".join(f"-A {chain} {rule}\n" for rule in rules)
    return f"*{table}\n:u1 - [0:0]\n:u2 - [0:0]\n{lines}COMMIT\n"


def accepted(table: str, chain: str, rules: Sequence[str], family: int) -> dict[int, str]:
    """Ask about many rules: for each, "" or the tool's complaint. Cut in halves where a batch is refused."""
    answers: dict[int, str] = {}

    def ask(first: int, last: int) -> None:
        complaint = restore(ruleset(table, chain, rules[first:last]), family)
        if not complaint:
            answers.update((index, "") for index in range(first, last))
        elif last - first == 1:
            answers[first] = complaint
        else:
            middle = (first + last) // 2
            ask(first, middle)
            ask(middle, last)

    if rules:
        ask(0, len(rules))
    return answers


ESTIMATORS = "".join(
    f"-A OUTPUT -j RATEEST --rateest-name {name} --rateest-interval 250ms --rateest-ewmalog 0.5s\n"
    for name in ("e0", "e1")
)


@cache
def prepare() -> tuple[str, ...]:
    """Make what the rules name: sets, accounts and, in a table no test uses, estimators. The words of rules that cannot
    be asked since one of these could not be made."""
    absent: list[str] = []
    if restore(f"*security\n{ESTIMATORS}COMMIT\n", 6):
        absent.append("-m rateest")
    shapes = ("foo hash:ip counters timeout 60 skbinfo", "p hash:ip,port")
    shapes += tuple(f"{words.replace(' ', '6 ', 1)} family inet6" for words in shapes)
    made = [("-set ", "ipset", "create", words) for words in shapes]
    for words, tool, verb, what in (
        *made,
        ("-m nfacct", "nfacct", "add", "foo"),
        ("-m nfacct", "nfacct", "add", "a b"),
    ):
        names = what.split() if tool == "ipset" else [what]
        if not shutil.which(tool) or run(tool, verb, *names).returncode:
            absent.append(words)
    return tuple(absent)


def parsed(text: str, family: int) -> bool:
    """Whether the tool alone, without the kernel, takes a ruleset."""
    return run(f"{NAMES[family]}-legacy-restore", "--test", text=text).returncode == 0
