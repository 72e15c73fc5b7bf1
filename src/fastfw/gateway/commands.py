"""What the control socket's clients can ask for. Rows of the table go over as they are: the client filters and prints,
so that a long listing costs the daemon a copy and no more."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from fastfw._version import __version__
from fastfw.core.snapshot import (
    ENTRY,
    EVENT,
    EXPECT,
    EXTRA,
    change,
    entries,
    expectations,
    forget_expectations,
    put_entries,
    remove,
)
from fastfw.engine import SettingError, check_setting
from fastfw.gateway.config import ConfigError
from fastfw.gateway.events import Hub
from fastfw.gateway.protocol import Reply, Request
from fastfw.gateway.rulebook import RulesError
from fastfw.gateway.status import status
from fastfw.ruleset.errors import Refusal

if TYPE_CHECKING:
    from fastfw.gateway.daemon import Daemon

CHUNK = 2048
"""Records in one reply."""

LAYOUT = [ENTRY.itemsize, EXTRA.itemsize, EXPECT.itemsize, EVENT.itemsize]

Answer = Iterator[Reply | None]


class Refused(ValueError):
    """A request that cannot be done; `status` as in Reply."""

    def __init__(self, reason: str, status: int = 2) -> None:
        super().__init__(reason)
        self.status = status


class Commands:
    """The verbs of one daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.engine = daemon.engine
        self.hubs = {name: Hub(daemon.engine, name == "expect") for name in ("conntrack", "expect")}
        self.verbs: dict[str, Callable[[Request], Answer]] = {
            "hello": self._hello,
            "status": self._status,
            "reload": self._reload,
            "stop": self._stop,
            "iptables": self._iptables,
            "ip6tables": self._iptables,
            "save": self._save,
            "restore": self._restore,
            "persist": self._persist,
            "save-state": self._save_state,
            "settings": self._settings,
            "table": self._table,
            "expectations": self._expectations,
            "delete": self._delete,
            "insert": self._insert,
            "change": self._change,
            "flush": self._flush,
            "flush-expectations": self._flush_expectations,
            "events": self._events,
        }

    def handle(self, request: Request) -> Answer:
        """The replies to a request."""
        verb = self.verbs.get(request.verb)
        if verb is None:
            yield Reply(err=f"fastfw: no verb {request.verb!r}: one of {', '.join(self.verbs)} expected\n", status=2)
            return
        try:
            yield from verb(request)
        except Refused as error:
            yield Reply(err=f"fastfw: {error}\n", status=error.status)
        except (ConfigError, RulesError, SettingError) as error:
            yield Reply(err=f"fastfw: {error}\n", status=2)
        except OSError as error:
            said = ": ".join(str(part) for part in (error.filename, error.strerror or error) if part)
            yield Reply(err=f"fastfw: {said}\n", status=2)

    # -- the daemon -----------------------------------------------------------------------------------------------

    def _hello(self, request: Request) -> Answer:
        yield Reply(
            data={"release": __version__, "layout": LAYOUT, "helpers": self.engine.helper_names(), "pid": os.getpid()},
            status=0,
        )

    def _status(self, request: Request) -> Answer:
        yield Reply(data=status(self.daemon), status=0)

    def _reload(self, request: Request) -> Answer:
        rejudge = option(request, "rejudge", bool, None)
        notes = self.daemon.reload(rejudge)
        yield Reply(err="".join(f"fastfw: {note}\n" for note in notes), status=0)

    def _stop(self, request: Request) -> Answer:
        os.kill(os.getpid(), signal.SIGTERM)
        yield Reply(status=0)

    def _save_state(self, request: Request) -> Answer:
        if not self.daemon.config.state.file:
            raise Refused("state.file is not configured")
        with self.daemon.lock:
            saved = self.daemon.save_state()
        if not saved:
            raise Refused(f"{self.daemon.config.state.file}: the state was not saved: see the daemon's log")
        yield Reply(status=0)

    def _settings(self, request: Request) -> Answer:
        wanted: dict[str, int] = {}
        for word in request.args:
            name, equals, text = word.partition("=")
            name = name.strip().removeprefix("net.netfilter.")
            text = text.strip()
            if equals and not (text.isascii() and text.isdecimal() and len(text) < 20):
                raise Refused(f"{name}: a whole number expected, not {text!r}")
            wanted[name] = check_setting(name, int(text) if equals else 0)
            if not equals:
                del wanted[name]
                yield Reply(out=f"net.netfilter.{name} = {self.engine.settings[name]}\n")
        if wanted:
            with self.daemon.taken_back():
                for name, value in wanted.items():
                    self.engine.settings[name] = value
        for name, value in wanted.items():
            yield Reply(out=f"net.netfilter.{name} = {value}\n")
        if not request.args:
            for name, value in self.engine.settings.items():
                yield Reply(out=f"net.netfilter.{name} = {value}\n")
        yield Reply(status=0)

    # -- rules ----------------------------------------------------------------------------------------------------

    def _iptables(self, request: Request) -> Answer:
        family = 6 if request.verb == "ip6tables" else 4
        words = request.args
        with self.daemon.lock:
            try:
                printed = self.daemon.rulebook.command(family, words)
            except Refusal as error:
                # what is no command is unusable; what cannot be done is a no, as with iptables -C
                raise Refused(f"{request.verb}: {error}", 2 if hasattr(error, "word") else 1) from None
            except RulesError as error:
                raise Refused(str(error), 1) from None
        for at in range(0, len(printed), 1 << 18):
            yield Reply(out=printed[at : at + (1 << 18)])
        yield Reply(status=0)

    def _save(self, request: Request) -> Answer:
        family = option(request, "family", int, 4)
        table = option(request, "table", str, "")
        rules = self.daemon.rulebook.current(4 if family != 6 else 6)
        if table:
            if table not in rules.tables:
                rules.tables = {}
            else:
                rules.tables = {table: rules.tables[table]}
        text = rules.save(counters=option(request, "counters", bool, False))
        for at in range(0, len(text), 1 << 18):
            yield Reply(out=text[at : at + (1 << 18)])
        yield Reply(status=0)

    def _restore(self, request: Request) -> Answer:
        family = option(request, "family", int, 4)
        with self.daemon.lock:
            self.daemon.rulebook.restore(
                4 if family != 6 else 6,
                request.text,
                name=option(request, "name", str, "") or "standard input",
                noflush=option(request, "noflush", bool, False),
                counters=option(request, "counters", bool, False),
                test=option(request, "test", bool, False),
            )
        yield Reply(status=0)

    def _persist(self, request: Request) -> Answer:
        config = self.daemon.config.rules
        family = option(request, "family", int, 0)
        if not any(path for number, path in ((4, config.ipv4), (6, config.ipv6)) if family in (0, number)):
            raise Refused("no file is configured for these rules: rules.ipv4, rules.ipv6")
        with self.daemon.lock:
            written = self.daemon.save_rules(family)
        yield Reply(data=written, status=0)

    # -- connections ----------------------------------------------------------------------------------------------

    def _table(self, request: Request) -> Answer:
        table, indices, extras = entries(self.engine)
        yield Reply(data={"now": self.engine.now, "helpers": self.engine.helper_names(), "count": len(table)})
        for at in range(0, len(table), CHUNK):
            end = at + CHUNK
            yield Reply(
                rows=table[at:end].tobytes(),
                numbers=indices[at:end].tobytes(),
                extras=b"" if extras is None else extras[at:end].tobytes(),
            )
        yield Reply(status=0)

    def _expectations(self, request: Request) -> Answer:
        waiting = expectations(self.engine)
        masters = np.unique(waiting["master"])
        table, indices, _ = entries(self.engine) if len(waiting) else (np.empty(0, ENTRY), masters, None)
        chosen = np.isin(indices, masters)
        names, classes = self.engine.helper_names(), self.engine.helper_classes()
        yield Reply(data={"now": self.engine.now, "helpers": names, "classes": classes})
        for at in range(0, len(waiting), CHUNK):
            yield Reply(rows=waiting[at : at + CHUNK].tobytes())
        yield Reply(extras=table[chosen].tobytes(), numbers=indices[chosen].tobytes(), status=0)

    def _delete(self, request: Request) -> Answer:
        table, indices = records(request)
        with self.daemon.taken_back():
            gone = remove(self.engine, table, indices)
        yield Reply(data=gone, status=0)

    def _insert(self, request: Request) -> Answer:
        table, indices = records(request)
        with self.daemon.taken_back():
            try:
                entered, refused, _ = put_entries(self.engine, table, indices, None, np.zeros(256, np.uint8))
            except ValueError as error:
                raise Refused(str(error)) from None
        yield Reply(data={"entered": entered, "refused": refused}, status=0)

    def _change(self, request: Request) -> Answer:
        table, indices = records(request)
        values = {
            name: option(request, name, int, None)
            for name in ("mark", "mark_mask", "timeout", "status")
            if name in request.options
        }
        for name, value in values.items():
            if value is None or not 0 <= value < 2**32:
                raise Refused(f"{name}: a number of 32 bits expected")
        with self.daemon.taken_back():
            changed = change(self.engine, table, indices, **values)
        yield Reply(data=changed, status=0)

    def _flush(self, request: Request) -> Answer:
        with self.daemon.taken_back():
            self.engine.flush()
        yield Reply(status=0)

    def _flush_expectations(self, request: Request) -> Answer:
        forget_expectations(self.engine)
        yield Reply(status=0)

    def _events(self, request: Request) -> Answer:
        hub = self.hubs.get(option(request, "table", str, "conntrack"))
        if hub is None:
            raise Refused(f"{request.verb}: option table: conntrack or expect expected")
        follower = hub.join()
        try:
            yield Reply(data={"helpers": self.engine.helper_names(), "classes": self.engine.helper_classes()})
            until = time.monotonic() + option(request, "seconds", int, 2**31)
            while time.monotonic() < until:
                hub.pump()
                batch, lost = follower.take()
                if lost:
                    yield Reply(data={"lost": lost})
                if batch is None:
                    yield None
                    continue
                for at in range(0, len(batch), CHUNK):
                    yield Reply(rows=batch[at : at + CHUNK].tobytes())
        finally:
            hub.leave(follower)


def option(request: Request, name: str, kind: type, default: Any) -> Any:
    """A named value of a request. Refused: it is of another kind."""
    value = request.options.get(name, default)
    if value is not default and type(value) is not kind:
        raise Refused(f"{request.verb}: option {name}: {kind.__name__} expected")
    return value


def records(request: Request) -> tuple[np.ndarray[Any, np.dtype[np.void]], np.ndarray[Any, np.dtype[np.uint32]]]:
    """The table's records that a request carries, and their numbers. Refused: they are none."""
    if len(request.rows) % ENTRY.itemsize or len(request.numbers) != len(request.rows) // ENTRY.itemsize * 4:
        raise Refused(f"{request.verb}: records of {ENTRY.itemsize} bytes with a number each expected")
    table = np.frombuffer(bytearray(request.rows), ENTRY)
    return table, np.frombuffer(bytearray(request.numbers), np.uint32)
