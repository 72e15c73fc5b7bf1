"""The engine: packets in, decisions out."""

from __future__ import annotations

import mmap
import operator
import os
import pickle
import secrets
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fastfw import state
from fastfw.connection import (
    SCTP,
    TCP,
    Connection,
    Event,
    Expectation,
    ExpectationEvent,
    from_entry,
    from_event,
    from_expect,
    from_expectation_event,
)
from fastfw.core.engine import DECISION, LINK, Core
from fastfw.core.reasons import SCTP_STATES, TCP_STATES
from fastfw.core.rules import Rules
from fastfw.core.settings import LOWEST
from fastfw.core.settings import TABLE as SETTINGS
from fastfw.core.snapshot import entries, entry_of, expectations, put_entries, remove, take_events, watch
from fastfw.core.terms import Hook, Reason
from fastfw.declared import declare
from fastfw.helpers import KERNELS, Helper, Spec, find, parse_spec
from fastfw.logs import LogRecord, log_records
from fastfw.ruleset import Ruleset
from fastfw.ruleset.collector import no_collection
from fastfw.ruleset.compile import compile_ruleset, write_counters
from fastfw.ruleset.errors import RulesetError, RulesetNotice
from fastfw.ruleset.ext.ct import MARK as ZONE_OF_MARK
from fastfw.ruleset.ext.ct import Ct
from fastfw.ruleset.lower.program import Assembly
from fastfw.sets import Sets
from fastfw.sets.store import TICK_NS, Store
from fastfw.timeouts import TimeoutPolicy

# What packets may lie in.
Bytes = npt.NDArray[np.uint8] | bytes | bytearray | memoryview | mmap.mmap

COUNT = "nf_conntrack_count"
"""The sysctl that tells how many connections there are, and that nobody sets."""

LOG_ROOM, LOG_SNAP = 1 << 24, 65_535
"""Records that may be kept, and bytes of each packet."""

HOOKS = {"FORWARD": int(Hook.HOOK_FORWARD), "INPUT": int(Hook.HOOK_INPUT), "OUTPUT": int(Hook.HOOK_OUTPUT)}

UINT8, UINT32, UINT64, INT64 = (np.dtype(name) for name in ("uint8", "uint32", "uint64", "int64"))

C_CONTIGUOUS, ALIGNED, WRITEABLE = 1, 0x100, 0x400
"""Bits of an array's flags, as NumPy's C interface names and numbers them."""

READABLE, WRITABLE = C_CONTIGUOUS | ALIGNED, C_CONTIGUOUS | WRITEABLE

ALL_EVENTS = 0xFFFF

COUNTERS = (
    "found",
    "invalid",
    "insert",
    "insert_failed",
    "drop",
    "early_drop",
    "icmp_error",
    "expired",
    "delete",
    "untracked",
)


class SettingError(ValueError):
    """A setting that does not exist or cannot have that value."""


class Settings(MutableMapping[str, int]):
    """An engine's settings by the kernel's sysctl names; assigning one takes effect at the next packet.

    `nf_conntrack_count` can be read, but is no setting to be listed or assigned.
    """

    def __init__(self, core: Core) -> None:
        self._core = core

    def __getitem__(self, name: str) -> int:
        if name == COUNT:
            return self._core.conntrack_count
        if name not in SETTINGS:
            raise KeyError(name)
        return self._core._get(name)

    def __setitem__(self, name: str, value: int) -> None:
        self._core._set(name, check_setting(name, value))

    def __delitem__(self, name: str) -> None:
        raise SettingError(f"{name}: a setting cannot be deleted")

    def __iter__(self) -> Iterator[str]:
        return iter(SETTINGS)

    def __len__(self) -> int:
        return len(SETTINGS)

    def __repr__(self) -> str:
        return f"Settings({dict(self)})"


def check_setting(name: str, value: int) -> int:
    """The value, if `name` is a setting and may have it; SettingError otherwise."""
    if name == COUNT:
        raise SettingError(f"{name} is read only")
    if name not in SETTINGS:
        raise SettingError(f"{name}: no such setting; known are {', '.join(SETTINGS)}")
    lowest, highest = LOWEST.get(name, 0), SETTINGS[name][2]
    expected = f"{name}: a whole number from {lowest} to {highest} expected"
    try:
        number = operator.index(value)
    except TypeError:
        raise SettingError(f"{expected}, not {value!r}") from None
    if not lowest <= number <= highest:
        raise SettingError(f"{expected}, not {number}")
    return number


class Engine(Core):
    """Linux's stateful firewall.

    `rules4` and `rules6` are Rulesets or None (everything is accepted). `settings` carries sysctl names without the
    `net.netfilter.` prefix; what is not given has the kernel's default. `helpers` are names (`"ftp"`,
    `"ftp:tcp:2121"`) or Helper objects attached to their ports.

    The rest tells of the host whose firewall this is (docs/matches.md): `local` its addresses
    (`"192.0.2.1/24%eth0"`, length and interface as they are known), `routes` as `ip route` prints them, `groups` its
    interfaces' groups by name, `time_zone` its kernel's, in minutes east of UTC; `assume` says of matches that only its
    kernel could answer, by name, whether they hold: what is not there does not, and a RulesetNotice tells of it.
    DeclarationError, a ValueError: one of these cannot be. `sets` are the sets that rules name, as Sets or as text of
    `ipset save` (SetError, a ValueError: it is none); those that elements leave after a time do so by the packets'
    clock, from the first packet on that asks for one. `seed` fixes the table's hash (88 bytes) for
    tests; it is random by default, which is what keeps an attacker from choosing colliding connections. `timeouts`
    are the policies that rules may name with `-j CT --timeout`. `queues` are the numbers of the queues somebody reads
    (None: all of them): a packet that a rule hands to another is dropped, or with `--queue-bypass` accepted, as the
    kernel does.
    """

    def __init__(
        self,
        rules4: Ruleset | None = None,
        rules6: Ruleset | None = None,
        settings: Mapping[str, int] | None = None,
        helpers: Iterable[str | Helper | Spec] = (),
        *,
        local: Iterable[str] = (),
        routes: Iterable[str] | str = (),
        groups: Mapping[str, int] | None = None,
        assume: Mapping[str, bool] | None = None,
        time_zone: int | None = None,
        sets: Sets | str | None = None,
        queues: Iterable[int] | None = None,
        seed: bytes | None = None,
        timeouts: Mapping[str, TimeoutPolicy] | None = None,
    ) -> None:
        for name, given in (("helpers", helpers), ("local", local)):
            if isinstance(given, str):
                raise TypeError(f"{name}: a list of them expected, not {given!r}")
        self._made_with: dict[str, Any] = {
            "local": tuple(local),
            "routes": routes if isinstance(routes, str) else tuple(routes),
            "groups": dict(groups or {}),
            "assume": dict(assume or {}),
            "time_zone": time_zone,
            "queues": None if queues is None else tuple(queues),
            "timeouts": dict(timeouts or {}),
        }
        self._helpers: list[str | Helper | Spec] = []
        self._found: dict[str, Helper] = {}
        self._attaches = False  # every helper of the kernel's to its own ports
        told = self._made_with
        self.declared = declare(told["local"], told["routes"], groups, assume, time_zone)
        self._sets = Store(Sets.parse(sets) if isinstance(sets, str) else sets or Sets())
        values = {name: entry[1] for name, entry in SETTINGS.items()}
        for name, value in (settings or {}).items():
            values[name] = check_setting(name, value)
        super().__init__(values, seed if seed is not None else secrets.token_bytes(88), time.time_ns)
        self._read_queues(told["queues"])
        self._declare(self.declared.broadcasts)
        for helper in helpers:
            self.attach(helper)
        self._policies = {name: (policy, policy.by_slot(values)) for name, policy in told["timeouts"].items()}
        self._rulesets: dict[int, bytes] = {}
        self._put_in_force(rules4, rules6, 3, self._sets)

    _unset = object()

    @property
    def settings(self) -> Settings:
        """The settings in force; assign to change one while running."""
        return Settings(self)

    @property
    def counters(self) -> dict[str, int]:
        """conntrack -S's counters, and packets by reason."""
        counts, reasons = self._counters()
        named = dict(zip(COUNTERS, counts, strict=True))
        named.update((reason.name.lower(), reasons[reason]) for reason in Reason if reason and reasons[reason])
        return named

    def replace(
        self,
        rules4: Ruleset | object | None = _unset,
        rules6: Ruleset | object | None = _unset,
        *,
        sets: Sets | str | None = None,
    ) -> None:
        """Put new rulesets in force between two packets; what is not named stays. No connection is lost. With `sets`
        rules ask those from then on: all that packets did to the ones before is forgotten.

        The engine keeps a copy: changing a Ruleset afterwards changes nothing here. RulesetError: the kernel would
        refuse a ruleset, or a rule asks for what cannot be evaluated; then all stays as it was, as with SetError. What
        is taken but not done as the kernel would do it is told as a warning, a RulesetNotice.
        """
        store = self._sets
        if sets is not None:
            store = Store(Sets.parse(sets) if isinstance(sets, str) else sets)
            rules4 = self.ruleset(4) if rules4 is Engine._unset else rules4
            rules6 = self.ruleset(6) if rules6 is Engine._unset else rules6
        self._put_in_force(rules4, rules6, 3, store)

    def twin(self, rules4: Ruleset | None, rules6: Ruleset | None, room: int) -> Engine:
        """An engine with other rules and an empty table of `room` connections that was told all that this one was: of
        its host, settings, helpers, policies and the sets as they are now. RulesetError: as for `replace`."""
        settings = dict(self.settings) | {"nf_conntrack_max": room}
        return Engine(rules4, rules6, settings, tuple(self._helpers), sets=self.sets, **self._made_with)

    def _put_in_force(
        self, rules4: Ruleset | object | None, rules6: Ruleset | object | None, caller: int, store: Store
    ) -> None:
        """`replace`, for whoever is `caller` frames up: where its warnings point to."""
        program: Rules | None
        compiled: list[tuple[int, Rules | None, bytes]] = []
        for family, rules in ((4, rules4), (6, rules6)):
            if rules is None:
                compiled.append((family, None, b""))
            elif rules is not Engine._unset:
                if not isinstance(rules, Ruleset) or rules.family != family:
                    raise TypeError(f"rules{family}: a Ruleset of family {family} or None expected, not {rules!r:.60}")
                try:
                    program = compile_ruleset(
                        rules,
                        helper_number=self._helper_number,
                        template=self._ct_template,
                        declared=self.declared,
                        sets=store,
                    )
                except RulesetError as error:
                    error.family = family
                    raise
                with no_collection():
                    program.source = pickle.dumps(rules, pickle.HIGHEST_PROTOCOL)
                compiled.append((family, program, program.source))
        self._sets = store
        for family, program, copy in compiled:
            if program is not None and program.wants_accounting and not self.settings["nf_conntrack_acct"]:
                self.settings["nf_conntrack_acct"] = 1  # as the kernel does when such a rule is loaded
            if program is not None and program.wants_labels:
                self._want_labels(True)
            self._replace(family, program)
            self._rulesets[family] = copy
            for notice in program.notices if program is not None else ():
                warnings.warn(RulesetNotice(*notice, family), stacklevel=caller)
        self._want_labels(any(rules is not None and rules.wants_labels for rules in map(self._rules, (4, 6))))

    def _ct_template(self, target: Ct, assembly: Assembly) -> int:
        """The number of what a CT rule asks for, 0: nothing. ValueError: the kernel would refuse the rule."""
        timeouts: dict[int, int] = {}
        if target.timeout:
            if target.timeout not in self._policies:
                raise ValueError(f"CT --timeout: no timeout policy `{target.timeout}'; an engine is made with them")
            policy, timeouts = self._policies[target.timeout]
            if policy.family != assembly.family or not assembly.protocol or not policy.serves(assembly.protocol):
                raise ValueError(
                    f"CT --timeout {target.timeout} needs -p {policy.protocol} and a ruleset of IPv{policy.family}"
                )
        # to name events of one kind is to name none of the other
        named = target.events or target.expectation_events
        events, expectations = (target.events, target.expectation_events) if named else (ALL_EVENTS, ALL_EVENTS)
        helper = self._helper_number(target.helper) if target.helper else 0
        if not (target.zone or helper or timeouts or named):
            return 0
        return self._template(max(target.zone, 0), target.zone == ZONE_OF_MARK, helper, timeouts, events, expectations)

    def _helper_number(self, name: str) -> int:
        """The number of a helper by name; one that is not known yet is attached to no port."""
        names = self.helper_names()
        if name not in names:
            self._attach(self._found.setdefault(name, find(name)), ())
            names = self.helper_names()
        return names.index(name)

    @property
    def sets(self) -> Sets:
        """A copy of the sets as they are now."""
        content: Sets = self._held(lambda: self._sets.content(self.now // TICK_NS))
        return content

    def ruleset(self, family: int = 4) -> Ruleset | None:
        """A copy of the ruleset in force with its counters as they are now; None where everything is accepted."""
        counters = self._rule_counters(family)
        if counters is None:
            return None
        rules: Ruleset = pickle.loads(self._rulesets[family])
        write_counters(rules, self._rules(family), counters)
        return rules

    def counters_text(self, family: int = 4, table: str = "filter") -> str:
        """What `iptables-save -c -t TABLE` prints of the ruleset in force; empty without one."""
        rules = self.ruleset(family)
        if rules is None or table not in rules.tables:
            return ""
        return Ruleset(family, {table: rules.tables[table]}).save(counters=True)

    def rule_name(self, family: int, index: int) -> str:
        """A decision's `rule` as TRACE names it: `filter:FORWARD:rule:3`, `filter:INPUT:policy:7`; "" for -1."""
        rules = self._rules(family)
        return "" if index < 0 or rules is None else str(rules.rule_name(index))

    def _set(self, name: str, value: int) -> None:
        super()._set(name, value)
        if name == "nf_conntrack_helper" and (value or self._attaches):
            self._attaches = bool(value)
            self._attach_unasked([self._found.setdefault(each, find(each)) for each in KERNELS] if value else [])

    def attach(self, helper: str | Helper | Spec) -> None:
        """Let a helper read connections that begin from now on: `"NAME[:PROTO:PORT]"`, a Helper for its own ports, or a
        Spec. Raises HelperError for a name or port that cannot be.
        """
        given = helper
        if isinstance(helper, str):
            helper = parse_spec(helper)
            helper = Spec(self._found.setdefault(helper.helper.name, helper.helper), helper.ports)
        if isinstance(helper, Helper):
            helper = Spec(helper, helper.ports)
        if not isinstance(helper, Spec):
            raise TypeError(f"a helper's name, a Helper or a Spec expected, not {helper!r}")
        self._attach(helper.helper, helper.ports)
        self._helpers.append(given)
        for name in helper.helper.companions:
            self._helper_number(name)

    def process(
        self,
        data: Bytes,
        offset: npt.ArrayLike,
        length: npt.ArrayLike,
        time_ns: npt.ArrayLike,
        hook: str | npt.NDArray[np.uint8] = "FORWARD",
        iif: str = "",
        oif: str = "",
        wire_length: npt.ArrayLike | None = None,
        out: npt.NDArray[np.void] | None = None,
        link: npt.NDArray[np.void] | None = None,
    ) -> npt.NDArray[np.void]:
        """Judge a batch of packets.

        `data` is one contiguous buffer of bytes; `offset` (uint64) and `length` (uint32) address packets that begin
        at the IP header; `time_ns` (int64) is the clock, which never goes back. `wire_length` (uint32) says how long
        packets were that a capture cut short. `hook` is one of FORWARD, INPUT, OUTPUT, or an array of Hook codes.
        `link`, of dtype LINK, says of each packet what its frame said; without it packets came
        in no frames.
        Returns an array of dtype DECISION, one record a packet: `out`, if that is given. ValueError: `out` is no
        contiguous, aligned and writable array of that dtype with one record a packet, or a number does not fit;
        TypeError: something is no array of whole numbers.
        """
        starts = column("offset", offset, UINT64)
        if out is None:
            out = np.empty(len(starts), DECISION)
        elif not fits(out, len(starts)):
            raise ValueError(f"out: an aligned, writable array of {len(starts)} records of DECISION expected")
        hooks = None
        code = 0
        if isinstance(hook, str):
            code = hook_code(hook)
        else:
            hooks = column("hook", hook, UINT8)
            if len(hooks) and hooks.max() > max(HOOKS.values()):
                raise ValueError(f"hook: codes from 0 to {max(HOOKS.values())} expected")
        self._process(
            data if isinstance(data, np.ndarray) else np.frombuffer(data, UINT8),
            starts,
            column("length", length, UINT32),
            column("time_ns", time_ns, INT64),
            None if wire_length is None else column("wire_length", wire_length, UINT32),
            hooks,
            code,
            iif,
            oif,
            out.view(UINT8) if len(out) else np.empty(0, UINT8),
            None if link is None else np.ascontiguousarray(link, LINK).view(np.uint8).reshape(-1, LINK.itemsize),
        )
        return out

    def connections(self) -> Iterator[Connection]:
        """The live connections, as they are now; in no particular order."""
        yield from self._told(*entries(self))

    def _told(
        self,
        table: npt.NDArray[np.void],
        indices: npt.NDArray[np.uint32],
        extras: npt.NDArray[np.void] | None,
    ) -> Iterator[Connection]:
        now = self.now
        counts = [None] * len(table) if extras is None else extras.tolist()
        names = self.helper_names()
        for row, index, counted in zip(table.tolist(), indices.tolist(), counts, strict=True):
            yield from_entry(row, index, now, names, counted)

    def insert(self, connection: Connection) -> bool:
        """Enter a connection that no packet made, as conntrack -I does; False where it is known already or the table is
        full. TCP's windows are learned from the packets that come.
        """
        states = {TCP: TCP_STATES, SCTP: SCTP_STATES}.get(connection.protocol, ())
        row = entry_of(connection, self.now, {name: number for number, name in enumerate(states)})
        return put_entries(self, row, np.zeros(1, np.uint32), None, np.zeros(1, np.uint8))[0] == 1

    def delete(self, wanted: Callable[[Connection], bool]) -> list[Connection]:
        """Take the connections for which `wanted` holds out of the table, with what they announced; returns them."""
        table, indices, extras = entries(self)
        listed = list(self._told(table, indices, extras))
        chosen = np.fromiter((wanted(connection) for connection in listed), bool, len(listed))
        remove(self, table[chosen], indices[chosen])
        return [connection for connection, gone in zip(listed, chosen.tolist(), strict=True) if gone]

    def expectations(self) -> Iterator[Expectation]:
        """The connections that helpers have announced and that have not come yet, oldest first."""
        now = self.now
        names, classes = self.helper_names(), self.helper_classes()
        for row in expectations(self).tolist():
            yield from_expect(row, now, names, classes)

    def watch(self, room: int = 65536) -> None:
        """Begin to note what happens to connections, `room` events at most until they are taken; 0: no longer."""
        watch(self, room)

    def events(self) -> tuple[list[Event], int]:
        """What happened since the last call, oldest first, and how many events came to be forgotten unread."""
        table, lost = take_events(self)
        names = self.helper_names()
        return [from_event(row, names) for row in table.tolist()], lost

    def watch_expectations(self, room: int = 4096) -> None:
        """Begin to note what happens to expectations, `room` events at most until they are taken; 0: no longer."""
        watch(self, room, True)

    def expectation_events(self) -> tuple[list[ExpectationEvent], int]:
        """What happened to expectations since the last call, oldest first, and how many events came to be forgotten
        unread."""
        table, lost = take_events(self, True)
        names, classes = self.helper_names(), self.helper_classes()
        return [from_expectation_event(row, names, classes) for row in table.tolist()], lost

    def watch_logs(self, room: int = 4096, snap: int = 128) -> None:
        """Begin to note the packets that LOG, NFLOG and TRACE rules tell of, `room` records at most until they are
        taken, with up to `snap` bytes of each packet; 0: no longer."""
        if not 0 <= room <= LOG_ROOM or not 0 <= snap <= LOG_SNAP:
            raise ValueError(f"room: 0 to {LOG_ROOM}, snap: 0 to {LOG_SNAP} expected, not {room}, {snap}")
        self._open_logs(room, snap)

    def logs(self) -> tuple[list[LogRecord], int]:
        """What rules told of since the last call, oldest first, and how many records came to be forgotten unread."""
        parts, lost = self._take_logs()
        return log_records(parts, self._interface_names()), lost

    def save_state(self, path: str | os.PathLike[str]) -> int:
        """Write the table to a file, whole or not at all; returns how many connections. OSError where it cannot be."""
        return state.save(self, path)

    def load_state(self, path: str | os.PathLike[str], *, behind: bool = False) -> state.Loaded:
        """Take over a table that `save_state` wrote; connections already known stay as they are. `behind`: traffic went
        on since, so the next segments of a TCP connection teach it windows before it is held to them. Raises
        StateError."""
        return state.load(self, path, behind)

    def expire(self, now: int | None = None) -> None:
        """Let time pass to `now` (ns, the wall clock by default) and drop every connection whose time is up."""
        self._sweep(time.time_ns() if now is None else operator.index(now))

    def flush(self) -> None:
        """Forget every connection and expectation."""
        self._flush()


def column(name: str, values: npt.ArrayLike, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Whole numbers as a contiguous array of one type; TypeError or ValueError where that would round or wrap one."""
    given = np.asarray(values)
    if given.dtype is dtype and given.ndim == 1 and given.flags.num & READABLE == READABLE:
        return given  # as drivers have them: with few packets a call, every check counts
    if given.ndim != 1:
        raise ValueError(f"{name}: one row of numbers expected, not {given.ndim} dimensions")
    if given.dtype != dtype and given.size:
        if given.dtype.kind not in "iu":
            raise TypeError(f"{name}: whole numbers expected, not {given.dtype}")
        lowest, highest = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
        for number in (int(given.min()), int(given.max())):
            if not lowest <= number <= highest:
                raise ValueError(f"{name}: numbers from {lowest} to {highest} expected, not {number}")
    return np.require(given, dtype, ["C", "A"])


def fits(out: object, count: int) -> bool:
    """Whether decisions of so many packets can be written into an array as it lies."""
    return (
        isinstance(out, np.ndarray)
        and (out.dtype is DECISION or out.dtype == DECISION)
        and out.shape == (count,)
        and out.flags.num & WRITABLE == WRITABLE
    )


def hook_code(name: str) -> int:
    """The Hook of a name; ValueError for any other."""
    code = HOOKS.get(name)
    if code is None:
        raise ValueError(f"hook: one of {', '.join(HOOKS)} expected, not {name!r}")
    return code
