"""The kernel's rules that hand packets to the daemon's queues: installed, found again and removed.

They are one chain of the daemon's own, and one jump to it in each of the built-in chains it takes packets from. A table
is changed in one transaction of iptables-restore, so that whoever is killed in between leaves it as it was or as it was
to be; what is left of a killed daemon is found by the chain's name.
"""

from __future__ import annotations

import itertools
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

CHAIN = "FASTFW"
COMMENT = "fastfw"
TABLES = ("mangle", "filter", "raw", "security")
HOOKS = ("INPUT", "FORWARD", "OUTPUT")

PROGRAMS = {4: "iptables", 6: "ip6tables"}
NAMES = {4: "/proc/net/ip_tables_names", 6: "/proc/net/ip6_tables_names"}
QUEUES = "/proc/net/netfilter/nfnetlink_queue"
TRIES = 5
"""How often a change is tried anew because somebody else's came between reading and writing."""

TIMEOUT = 30
"""Seconds for one of iptables' programs, its wait for the lock included."""


class SteerError(RuntimeError):
    """The kernel's rules could not be read or changed; the message says what iptables had to say."""


@dataclass(frozen=True)
class Plan:
    """Which packets go to which queues. `answer_mark`: what the daemon's own answers carry, which are not queued."""

    first: int = 0
    last: int = 0
    table: str = "mangle"
    hooks: tuple[str, ...] = HOOKS
    families: tuple[int, ...] = (4, 6)
    fail_open: bool = False
    except_interfaces: tuple[str, ...] = ()
    answer_mark: int = 0
    program: str = ""
    extra: tuple[str, ...] = field(default=())
    """Rules of the chain in front of the queue's, as iptables-save prints what follows `-A CHAIN `."""

    def chain(self) -> list[str]:
        """The chain's rules, as iptables-restore takes them."""
        mine = f'-m comment --comment "{COMMENT}"'
        lines = []
        if self.answer_mark:
            lines.append(f"-A {CHAIN} -m mark --mark {self.answer_mark:#x} {mine} -j RETURN")
        for name in self.except_interfaces:
            lines += [f'-A {CHAIN} -{way} "{name}" {mine} -j RETURN' for way in "io"]
        lines += [f"-A {CHAIN} {rule}" for rule in self.extra]
        queue = f"--queue-num {self.first}"
        if self.last > self.first:
            queue = f"--queue-balance {self.first}:{self.last}"
        bypass = " --queue-bypass" if self.fail_open else ""
        return [*lines, f"-A {CHAIN} {mine} -j NFQUEUE {queue}{bypass}"]

    def jump(self) -> str:
        """What stands behind `-I HOOK `."""
        return f'-m comment --comment "{COMMENT}" -j {CHAIN}'


def program(family: int, kind: str = "", chosen: str = "") -> str:
    """The path of iptables for a family, or of its -save or -restore. SteerError: it is not installed."""
    base = chosen or next((name for name in (f"{PROGRAMS[4]}-legacy", PROGRAMS[4]) if shutil.which(name)), "")
    if not base:
        raise SteerError("iptables is not installed: neither iptables-legacy nor iptables is found")
    if family == 6:
        head, slash, name = base.rpartition("/")
        base = head + slash + name.replace("iptables", "ip6tables", 1)
    path = shutil.which(base + kind)
    if path is None:
        raise SteerError(f"{base + kind} is not installed")
    return path


def run(arguments: list[str], text: str | None = None) -> str:
    """One of iptables' programs and what it prints. SteerError: it failed."""
    try:
        done = subprocess.run(
            arguments, input=text, capture_output=True, text=True, errors="replace", timeout=TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SteerError(f"{arguments[0]}: {error}") from None
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise SteerError(f"{Path(arguments[0]).name}: {said}")
    return done.stdout


def loaded(family: int) -> tuple[str, ...]:
    """The tables the kernel has of a family; reading one that it has not would make it."""
    try:
        names = Path(NAMES[family]).read_text().split()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise SteerError(f"{NAMES[family]}: {error.strerror}") from None
    return tuple(name for name in TABLES if name in names)


@dataclass(frozen=True)
class Found:
    """What a table has of a daemon's: the chain, the rules that lead to it, the queues it hands packets to."""

    chain: bool = False
    jumps: tuple[str, ...] = ()
    queues: range = range(0)

    def __bool__(self) -> bool:
        return self.chain or bool(self.jumps)


def find(saved: str) -> Found:
    """What iptables-save's text of a table tells of a daemon's rules."""
    has = False
    jumps = []
    queues = range(0)
    for line in saved.splitlines():
        if line.startswith(f":{CHAIN} "):
            has = True
        elif line.startswith("-A "):
            words = shlex.split(line)
            given = dict(itertools.pairwise(words))
            if words[1] == CHAIN:
                numbers = given.get("--queue-balance") or given.get("--queue-num") or ""
                low, _, high = numbers.partition(":")
                if low.isdecimal():
                    queues = range(int(low), int(high or low) + 1)
            elif CHAIN in (given.get("-j"), given.get("-g")):
                jumps.append(line)
    return Found(has, tuple(jumps), queues)


def look(family: int, table: str, chosen: str = "") -> Found:
    """What a table has of a daemon's now. SteerError."""
    return find(run([program(family, "-save", chosen), "-t", table]))


def served(queues: range) -> int | None:
    """The first of these queues that some program serves; None: none is."""
    try:
        lines = Path(QUEUES).read_text().splitlines()
    except OSError:
        return None
    return next((number for line in lines if (number := int(line.split()[0])) in queues), None)


def _change(family: int, table: str, plan: Plan | None, chosen: str) -> bool:
    """Put a table's own rules in the plan's form, or take them away; whether anything was to be done."""
    restore = [program(family, "-restore", chosen), "--noflush", "-w", "10"]
    for attempt in range(TRIES):
        found = look(family, table, chosen)
        if plan is None and not found:
            return False
        lines = [f"*{table}"]
        if plan is not None:
            lines.append(f":{CHAIN} - [0:0]")
        lines += ["-D" + line[2:] for line in found.jumps]
        if plan is not None:
            lines += plan.chain()
            lines += [f"-I {hook} {plan.jump()}" for hook in plan.hooks]
        elif found.chain:
            lines += [f"-F {CHAIN}", f"-X {CHAIN}"]
        try:
            run(restore, "\n".join([*lines, "COMMIT", ""]))
        except SteerError:
            # somebody may have changed the table between our look and our word
            if attempt + 1 == TRIES or look(family, table, chosen) == found:
                raise
            continue
        return True
    raise AssertionError("unreachable")


def install(plan: Plan) -> None:
    """Put the plan's rules in force, instead of what an earlier daemon left. SteerError: one family's rules may be in
    force then: call `remove`."""
    for family in (4, 6):
        for table in loaded(family):
            if family not in plan.families or table != plan.table:
                _change(family, table, None, plan.program)
    for family in plan.families:
        _change(family, plan.table, plan, plan.program)


def remove(chosen: str = "") -> list[str]:
    """Take every rule and chain of the daemon's away, in every table and family; which tables had some, as
    `ipv4 mangle`. SteerError."""
    return [
        f"ipv{family} {table}" for family in (4, 6) for table in loaded(family) if _change(family, table, None, chosen)
    ]


def in_use(chosen: str = "", *, besides: range = range(0)) -> int | None:
    """A queue that the rules in force lead to and that some program serves, other than `besides`: another daemon runs.
    SteerError."""
    for family in (4, 6):
        for table in loaded(family):
            number = served(look(family, table, chosen).queues)
            if number is not None and number not in besides:
                return number
    return None
