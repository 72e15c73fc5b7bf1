"""The kernel's rules that hand packets to the daemon's queues: installed, found again and removed.

They are one chain of the daemon's own, and one jump to it in each of the built-in chains it takes packets from. A table
is changed in one transaction of iptables-restore, so that whoever is killed in between leaves it as it was or as it was
to be; what is left of a killed daemon is found by the chain's name.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fastfw.core.terms import Hook

CHAIN = "FASTFW"
GRANTED, WAYS = "FASTFW-GRANTED", "FASTFW-WAYS"
"""Chains of connections that may skip the queue: where a grant is saved, and where it is used."""

ANSWERS = "FASTFW-ANSWERS"
"""In table raw: hands the datagrams over that become answers (gateway/courier.py)."""

OWN = (CHAIN, GRANTED, WAYS, ANSWERS)
TABLES = ("mangle", "filter", "raw", "security")
HOOKS = ("INPUT", "FORWARD", "OUTPUT")

NAMES_OF_IPTABLES = ("iptables-legacy", "iptables", "iptables-nft")
"""In the order they are taken."""

CAP_NET_RAW = 13
NAMES = {4: "/proc/net/ip_tables_names", 6: "/proc/net/ip6_tables_names"}
QUEUES = "/proc/net/netfilter/nfnetlink_queue"
TRIES = 5
"""How often a change is tried anew because somebody else's came between reading and writing."""

TIMEOUT = 30
"""Seconds for one of iptables' programs, its wait for the lock included."""


class SteerError(RuntimeError):
    """The kernel's rules could not be read or changed; the message says what iptables had to say."""


End = tuple[int, str, str]
"""A Hook's number, the incoming interface and the outgoing one."""


def between(ends: tuple[End, End]) -> Iterator[str]:
    """What tells a way's packets by their interfaces, for each end that is there still."""
    for hook, into, onto in dict.fromkeys(ends):
        asked = {
            int(Hook.HOOK_INPUT): f'-i "{into}" -m addrtype --dst-type LOCAL',
            int(Hook.HOOK_OUTPUT): f'-o "{onto}" -m addrtype --src-type LOCAL',
        }.get(hook, f'-i "{into}" -o "{onto}"')
        if '""' not in asked:
            yield asked


@dataclass(frozen=True)
class Skip:
    """Which connections skip the queue: those whose kernel's entry has the mark of this generation and of one of these
    ways, numbered from 1, while they come and go by its interfaces. drivers/bypass.pxd says what a mark means."""

    shift: int
    generation: int
    ways: tuple[tuple[End, End], ...] = ()
    chains = (GRANTED, WAYS)
    programs: tuple[str, ...] = ()

    @property
    def mask(self) -> str:
        """All the bits that are ours."""
        return f"{0xFFFF << self.shift:#x}"

    @property
    def mine(self) -> str:
        """What a mark of this generation is asked by."""
        return f"{self.generation << 6 << self.shift:#x}/{0xFFC0 << self.shift:#x}"

    def quick(self) -> list[str]:
        """The chain's first rules, for what most packets are: whatever ends a connection is none of it. Each match of a
        rule costs a packet that skips some 20 ns, so there are no more than must be."""
        granted = f"-m mark --mark 0x0 -m conntrack --ctstate ESTABLISHED -j {WAYS}"
        return [f"-A {CHAIN} -p {what} {granted}" for what in ("udp", "tcp -m tcp --tcp-flags FIN,SYN,RST NONE")]

    def lines(self) -> list[str]:
        """The chains' other rules, as iptables-restore takes them."""
        mask = self.mask
        lines = [
            # an address that DNAT changed is none by which the kernel's entry could be asked for
            f"-A {GRANTED} -m conntrack ! --ctstate DNAT -j CONNMARK --save-mark --nfmask {mask} --ctmask {mask}",
            f"-A {GRANTED} -j MARK --set-xmark 0x0/{mask}",
            f"-A {GRANTED} -j ACCEPT",
            f"-A {CHAIN} -m mark --mark {self.mine} -j {GRANTED}",
            f"-A {CHAIN} -m mark ! --mark 0x0/{mask} -j MARK --set-xmark 0x0/{mask}",
            # what ends a connection is judged, and all that comes after it
            f"-A {CHAIN} -p tcp -m tcp ! --tcp-flags FIN,SYN,RST NONE -m connmark ! --mark 0x0/{mask} "
            f"-j CONNMARK --set-xmark 0x0/{mask}",
            f"-A {CHAIN} -p tcp -m conntrack --ctstate INVALID -j MARK --set-xmark {1 << self.shift:#x}/{mask}",
        ]
        for number, ends in enumerate(self.ways, 1):
            mark = f"{(self.generation << 6 | number) << self.shift:#x}/{mask}"
            lines += [f"-A {WAYS} {asked} -m connmark --mark {mark} -j ACCEPT" for asked in between(ends)]
        return lines


@dataclass(frozen=True)
class MapSkip:
    """Which connections skip the queue: those that these programs (flowmap.py), one a way, find in their map, while
    they come and go by the way's interfaces."""

    ways: tuple[tuple[End, End], ...] = ()
    programs: tuple[str, ...] = ()
    chains = (WAYS,)

    def quick(self) -> list[str]:
        """The chain's first rule."""
        return [f"-A {CHAIN} -m mark --mark 0x0 -j {WAYS}"]

    def lines(self) -> list[str]:
        """The other chain's rules."""
        return [
            f"-A {WAYS} {asked} -m bpf --object-pinned {program} -j ACCEPT"
            for ends, program in zip(self.ways, self.programs, strict=True)
            for asked in between(ends)
        ]


@dataclass(frozen=True)
class Plan:
    """Which packets go to which queues. `answer_mark`: what the daemon's own answers carry, which are not queued, but
    for one of their own, `answer_queue`, if they are sent by a Courier."""

    first: int = 0
    last: int = 0
    table: str = "mangle"
    hooks: tuple[str, ...] = HOOKS
    families: tuple[int, ...] = (4, 6)
    fail_open: bool = False
    except_interfaces: tuple[str, ...] = ()
    answer_mark: int = 0
    answer_queue: int | None = None
    program: str = ""
    skip: Skip | MapSkip | None = None
    """None: every packet is queued."""

    def chain(self) -> list[str]:
        """The chain's rules, as iptables-restore takes them."""
        lines = [] if self.skip is None else self.skip.quick()
        if self.answer_mark:
            lines.append(f"-A {CHAIN} -m mark --mark {self.answer_mark:#x} -j RETURN")
        for name in self.except_interfaces:
            lines += [f'-A {CHAIN} -{way} "{name}" -j RETURN' for way in "io"]
        if self.skip is not None:
            lines += self.skip.lines()
        queue = f"--queue-num {self.first}"
        if self.last > self.first:
            queue = f"--queue-balance {self.first}:{self.last}"
        bypass = " --queue-bypass" if self.fail_open else ""
        return [*lines, f"-A {CHAIN} -j NFQUEUE {queue}{bypass}"]

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that have rules of it."""
        return (self.table,) if self.answer_queue is None or self.table == "raw" else (self.table, "raw")

    def rules(self, table: str) -> tuple[tuple[str, ...], list[str]]:
        """Of one of these tables its chains, and the rules that fill them and lead to them."""
        chains: tuple[str, ...] = ()
        lines = []
        if table == self.table:
            chains = (CHAIN,) if self.skip is None else (CHAIN, *self.skip.chains)
            lines = [*self.chain(), *(f"-I {hook} -j {CHAIN}" for hook in self.hooks)]
        if table == "raw" and self.answer_queue is not None:
            chains += (ANSWERS,)
            lines += [
                f"-A {ANSWERS} -m mark --mark {self.answer_mark:#x} -j NFQUEUE --queue-num {self.answer_queue}",
                f"-I OUTPUT -j {ANSWERS}",
            ]
        return chains, lines


def may_open_raw() -> bool:
    """Whether this process has CAP_NET_RAW, without which iptables-legacy reads nothing."""
    status = Path("/proc/self/status").read_text()
    return bool(int(status.split("CapEff:")[1].split()[0], 16) >> CAP_NET_RAW & 1)


@functools.cache
def legacy(base: str) -> bool:
    """Whether iptables of this name keeps its rules in x_tables, apart from those that nf_tables has."""
    return "legacy" in run([program(4, base=base), "--version"])


def bases(chosen: str = "") -> list[str]:
    """Names of iptables, the one to install rules with first, then one that sees what the first does not. SteerError:
    none is installed."""
    names = [name for name in NAMES_OF_IPTABLES if shutil.which(name)]
    if not may_open_raw():
        names = [name for name in names if not legacy(name)] or names[:1]
    names = [chosen, *names] if chosen else names
    if not names:
        raise SteerError("iptables is not installed: neither iptables-legacy nor iptables is found")
    kinds = [legacy(name) for name in names]
    return [name for at, name in enumerate(names) if kinds.index(kinds[at]) == at]


def program(family: int, kind: str = "", *, base: str) -> str:
    """The path of an iptables for a family, or of its -save or -restore. SteerError: it is not installed."""
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


def loaded(family: int, base: str) -> tuple[str, ...]:
    """The tables the kernel has of a family; reading one that it has not would make it."""
    if not legacy(base):
        saved = run([program(family, "-save", base=base)]).splitlines()
        return tuple(name for name in TABLES if f"*{name}" in saved)
    try:
        names = Path(NAMES[family]).read_text().split()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise SteerError(f"{NAMES[family]}: {error.strerror}") from None
    return tuple(name for name in TABLES if name in names)


@dataclass(frozen=True)
class Found:
    """What a table has of a daemon's: the chain, the rules that lead to it, the queues it hands packets to, and the
    programs on a BPF file system that it names."""

    chains: tuple[str, ...] = ()
    jumps: tuple[str, ...] = ()
    queues: range = range(0)
    programs: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.chains or self.jumps)


def find(saved: str) -> Found:
    """What iptables-save's text of a table tells of a daemon's rules."""
    chains = []
    jumps = []
    queues = range(0)
    programs = []
    for line in saved.splitlines():
        if line.startswith(":") and (name := line[1:].split()[0]) in OWN:
            chains.append(name)
        elif line.startswith("-A "):
            words = shlex.split(line)
            given = dict(itertools.pairwise(words))
            if words[1] == CHAIN:
                numbers = given.get("--queue-balance") or given.get("--queue-num") or ""
                low, _, high = numbers.partition(":")
                if low.isdecimal():
                    queues = range(int(low), int(high or low) + 1)
            elif words[1] == WAYS and "--object-pinned" in given:
                programs.append(given["--object-pinned"])
            elif words[1] not in OWN and (given.get("-j") in OWN or given.get("-g") in OWN):
                jumps.append(line)
    return Found(tuple(chains), tuple(jumps), queues, tuple(programs))


def look(family: int, table: str, base: str) -> Found:
    """What a table has of a daemon's now. SteerError."""
    return find(run([program(family, "-save", base=base), "-t", table]))


def served(queues: range) -> int | None:
    """The first of these queues that some program serves; None: none is."""
    try:
        lines = Path(QUEUES).read_text().splitlines()
    except OSError:
        return None
    return next((number for line in lines if (number := int(line.split()[0])) in queues), None)


def _change(family: int, table: str, plan: Plan | None, base: str, left: set[str]) -> bool:
    """Put a table's own rules in the plan's form, or take them away; whether anything was to be done. `left`: programs
    that rules named which have gone."""
    restore = [program(family, "-restore", base=base), "--noflush", "-w", "10"]
    for attempt in range(TRIES):
        found = look(family, table, base)
        if plan is None and not found:
            return False
        lines = [f"*{table}"]
        wanted, rules = ((), []) if plan is None else plan.rules(table)
        lines += [f":{name} - [0:0]" for name in wanted]
        lines += ["-D" + line[2:] for line in found.jumps]
        lines += rules
        unwanted = [name for name in found.chains if name not in wanted]
        lines += [f"-F {name}" for name in unwanted] + [f"-X {name}" for name in unwanted]
        try:
            run(restore, "\n".join([*lines, "COMMIT", ""]))
        except SteerError:
            # somebody may have changed the table between our look and our word
            if attempt + 1 == TRIES or look(family, table, base) == found:
                raise
            continue
        left.update(found.programs)
        return True
    raise AssertionError("unreachable")


def everywhere(chosen: str) -> list[tuple[str, int, str]]:
    """Every table there is: name of iptables, family, table. SteerError."""
    first, *others = bases(chosen)
    found = [(first, family, table) for family in (4, 6) for table in loaded(family, first)]
    for base in others:
        for family in (4, 6):
            try:
                found += [(base, family, table) for table in loaded(family, base)]
            except SteerError:  # a kernel that knows one kind of tables alone
                continue
    return found


def install(plan: Plan) -> None:
    """Put the plan's rules in force, instead of what an earlier daemon left. SteerError: one family's rules may be in
    force then: call `remove`."""
    first = bases(plan.program)[0]
    left: set[str] = set()
    for base, family, table in everywhere(plan.program):
        if base != first or family not in plan.families or table not in plan.tables:
            _change(family, table, None, base, left)
    for family, table in itertools.product(plan.families, plan.tables):
        _change(family, table, plan, first, left)
    unlink(left, plan)


def change(plan: Plan) -> None:
    """Put another plan in force for what is installed; its tables and families are those it was installed with.
    SteerError: one family's rules may be in force then."""
    base = bases(plan.program)[0]
    left: set[str] = set()
    for family in plan.families:
        _change(family, plan.table, plan, base, left)
    unlink(left, plan)


def remove(chosen: str = "") -> list[str]:
    """Take every rule and chain of the daemon's away, in every table and family; which tables had some, as
    `ipv4 mangle`. SteerError."""
    left: set[str] = set()
    places = everywhere(chosen)
    removed = [f"ipv{family} {table}" for base, family, table in places if _change(family, table, None, base, left)]
    unlink(left)
    return removed


def unlink(programs: set[str], plan: Plan | None = None) -> None:
    """Forget programs that no rule names any more. While a rule does they stay: iptables looks each up at any change of
    the rule's table."""
    for path in programs.difference(plan.skip.programs if plan is not None and plan.skip is not None else ()):
        with contextlib.suppress(OSError):
            os.unlink(path)
            os.rmdir(os.path.dirname(path))


def in_use(chosen: str = "", *, besides: range = range(0)) -> int | None:
    """A queue that the rules in force lead to and that some program serves, other than `besides`: another daemon runs.
    SteerError."""
    for base, family, table in everywhere(chosen):
        number = served(look(family, table, base).queues)
        if number is not None and number not in besides:
            return number
    return None
