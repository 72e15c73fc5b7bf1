"""The daemon's life: start, reload, stop, and what is looked after every second in between."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fastfw._version import __version__
from fastfw.engine import Engine
from fastfw.gateway import steer
from fastfw.gateway.answerer import Answerer
from fastfw.gateway.config import Config, ConfigError, Section
from fastfw.gateway.control import Control, ControlError
from fastfw.gateway.log import Bridge, Log
from fastfw.gateway.needs import copy_range
from fastfw.gateway.notify import Notifier
from fastfw.gateway.packets import PacketLog
from fastfw.gateway.rulebook import Rulebook, RulesError, read_rules, read_sets, read_text, write_whole
from fastfw.gateway.steer import Plan, SteerError
from fastfw.gateway.workers import Health, Opener, Worker, queue_opener
from fastfw.ruleset import Ruleset
from fastfw.sets import Sets
from fastfw.state import StateError

if TYPE_CHECKING:
    from fastfw.gateway.bypass import Skipping

DRAIN = 0.5
"""Seconds that packets already queued have to be judged at stop, once no more are steered to us."""

TICK = 1.0
STUCK_LOOKS = 3
"""Seconds that a queue stands still, packets waiting, before it is called stuck."""

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

#: Sections whose change takes effect at a restart only.
FIXED: tuple[str, ...] = ("host", "queue", "bypass", "control", "metrics")

Reader = Callable[[], Config]
Texts = list[tuple[str, str]]
"""Files' names and what they hold."""


class StartError(RuntimeError):
    """The daemon cannot start; the message says why. Nothing of it is left."""


class Daemon:
    """An engine on its queues. `reread` gives the configuration anew at a reload; `opener` makes what opens queues, by
    default the kernel's."""

    def __init__(
        self,
        config: Config,
        *,
        reread: Reader | None = None,
        opener: Callable[[Engine, Config, Answerer], Opener] | None = None,
        log: Log | None = None,
    ) -> None:
        self.config = config
        self.reread = reread or (lambda: config)
        self.log = log or Log(config.log.format, config.log.level, config.log.rate, config.log.burst)
        self.notify = Notifier()
        self.started = 0.0
        self.reloads = 0
        self.reloads_failed = 0
        self.state_saved = 0.0
        self.state_failures = 0
        self.lock = threading.RLock()
        """Held by whoever changes the configuration, the rules or the state on disk."""
        self.workers: list[Worker] = []
        self.control: Control | None = None
        self.skipping: Skipping | None = None
        """None: every packet is queued."""
        self._opener = opener or (
            lambda engine, config, answerer: queue_opener(
                engine, config.queue, answerer, self.skipping.driver if self.skipping else None
            )
        )
        self._health = Health()
        self._still: dict[int, int] = {}
        self._closers: list[Callable[[], object]] = []
        self._save_due = 0.0
        self._steered = False
        self._noted: list[int] = []
        self._sets_read: Texts = []
        self.healthy = True
        try:
            self.engine = Engine(**config.told())
        except (ValueError, MemoryError) as error:
            raise StartError(str(error)) from None
        self.rulebook = Rulebook(
            self.engine,
            self.rules_changed,
            lambda text: self.log("warning", "rules_notice", text=text),
            self.taken_back,
        )
        self.answerer = Answerer(self.engine, config.reject, self.log)
        self.packet_log = PacketLog(self.engine, config.log, self.log)

    # -- start ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Serve. StartError: it cannot be, and everything is as it was before."""
        try:
            self._start()
        except (SteerError, ControlError, RulesError, StartError, OSError) as error:
            self._undo()
            raise StartError(str(error)) from None
        except BaseException:
            self._undo()
            raise

    def _start(self) -> None:
        config = self.config
        told, bridge = logging.getLogger("fastfw"), Bridge(self.log)
        told.addHandler(bridge)
        self._closers.append(lambda: told.removeHandler(bridge))
        plan = config.plan()
        own = range(plan.first, plan.last + 1)
        if config.steering.install:
            taken = steer.in_use(plan.program, besides=own)
            if taken is not None:
                raise StartError(f"another daemon serves queue {taken} here: stop it first")
        self._put_rules(config, *self._read_rules(config))
        self._load_state()
        if config.reject.answers and self.answerer.open(config.steering.install):
            self._closers.append(self.answerer.close)
        plan = self._plan(config)
        self._prepare_bypass()
        self.packet_log.start()
        self._closers.append(self.packet_log.stop)
        opener = self._opener(self.engine, config, self.answerer)
        for number in own:
            worker = Worker(number, opener, self.copy_range(), self.log)
            self.workers.append(worker)
            self._closers.append(worker.stop)
        self._start_control()
        self._start_metrics()
        for worker in self.workers:
            worker.start()
        if config.steering.install:
            self._closers.append(self._unsteer)
            self._steered = True
            self._steer(plan)
        self.started = time.time()
        self._save_due = time.monotonic() + config.state.interval
        self.log(
            "notice", "started", version=__version__, queues=f"{plan.first}:{plan.last}",
            connections=self.engine.conntrack_count, fail="open" if config.queue.fail_open else "closed",
            pid=os.getpid(),
        )  # fmt: skip
        self.notify("READY=1", f"STATUS={self.summary()}")

    def _plan(self, config: Config) -> Plan:
        """The kernel's rules that a configuration asks for, as answers are sent now."""
        courier = self.answerer.courier
        return dataclasses.replace(config.plan(), answer_queue=courier.queue if courier is not None else None)

    def _prepare_bypass(self) -> None:
        """Have connections skip the queue if that is wanted and possible. StartError: it must be and cannot."""
        config = self.config
        if config.bypass.mode == "off":
            return
        if config.queue.driver != "nfqueue" or not config.steering.install:
            self.log("notice", "bypass_off", reason="it needs driver nfqueue and steering.install")
            return
        from fastfw.gateway.bypass import MapSkipping, Skipping

        accounted = config.bypass.mode == "on"
        try:
            if config.bypass.map:
                self.skipping = MapSkipping(self.engine, config.bypass.map, accounted, self.log)
            else:
                self.skipping = Skipping(self.engine, config.bypass.mask, accounted, self.log)
            self.skipping.prepare()
        except OSError as error:
            what = (
                f"a flow map cannot be had in {config.bypass.map}"
                if config.bypass.map
                else ("the kernel's connection table cannot be asked")
            )
            self._no_bypass(f"{what}: {error.strerror}")

    def _no_bypass(self, reason: str) -> None:
        """Do without. StartError: that is not wanted."""
        self.skipping = None
        if self.config.bypass.mode == "on":
            raise StartError(f"bypass.mode: {reason}")
        self.log("notice", "bypass_off", reason=reason)

    def _steer(self, plan: Plan) -> None:
        """Put the kernel's rules in force, with those for connections that skip the queue where there are such."""
        if self.skipping is None:
            steer.install(plan)
            return
        try:
            steer.install(self.skipping.plan(plan))
        except SteerError as error:
            steer.remove(plan.program)
            skipping = self.skipping
            self._no_bypass(str(error))
            skipping.stop()
            steer.install(plan)
        else:
            self._closers.insert(-1, self.skipping.stop)
            self.skipping.start(plan)

    @contextlib.contextmanager
    def taken_back(self) -> Iterator[None]:
        """No connection skips the queue while something is changed that packets are judged by. RulesError: the kernel's
        rules could not be changed, and nothing may be."""
        if self.skipping is None:
            yield
            return
        try:
            with self.skipping.taken_back():
                yield
        except SteerError as error:
            raise RulesError(f"connections skip the queue and cannot be brought back: {error}") from None

    def check(self) -> None:
        """Whether the rules can be put in force. StartError."""
        try:
            self._put_rules(self.config, *self._read_rules(self.config))
        except RulesError as error:
            raise StartError(str(error)) from None

    def _read_rules(self, config: Config) -> tuple[list[Ruleset], Sets | None, Texts]:
        """Rules and sets from their files, and the sets' texts. Sets whose files are as they were when they were read
        last stay, with what packets have added to them: None. RulesError."""
        rulesets = [
            read_rules(path, family) if path else self._open_ruleset(family)
            for family, path in ((4, config.rules.ipv4), (6, config.rules.ipv6))
        ]
        texts = [(path, read_text(path)) for path in config.rules.sets]
        return rulesets, read_sets(texts) if texts != self._sets_read else None, texts

    def _put_rules(self, config: Config, rulesets: list[Ruleset], sets: Sets | None, texts: Texts) -> None:
        """Put in force what was read. RulesError: all stays as it was."""
        names = {4: config.rules.ipv4, 6: config.rules.ipv6}
        self.rulebook.put(*rulesets, names=names, sets=sets)
        self._sets_read = texts

    def _open_ruleset(self, family: int) -> Ruleset:
        rules = Ruleset(family)
        rules.table("filter")
        return rules

    def _load_state(self) -> None:
        path = self.config.state.file
        if not path:
            return
        try:
            self.engine.expire()
            loaded = self.engine.load_state(path, behind=True)
        except FileNotFoundError:
            self.log("info", "state_absent", file=path)
        except (StateError, OSError) as error:
            kept = f"{path}.refused"
            try:
                os.replace(path, kept)
            except OSError:
                kept = ""
            said = error.strerror if isinstance(error, OSError) else error
            self.log("error", "state_refused", file=path, error=said, kept_as=kept or None)
        else:
            self.log("notice", "state_loaded", file=path, connections=loaded.connections, refused=loaded.refused,
                     expectations=loaded.expectations)  # fmt: skip

    def _start_control(self) -> None:
        if not self.config.control.socket:
            return
        from fastfw.gateway.commands import Commands

        self.control = Control(self.config.control, Commands(self).handle, self.log)
        self._closers.append(self.control.stop)
        self.control.start()

    def _start_metrics(self) -> None:
        if self.config.metrics.listen:
            from fastfw.gateway.metrics import serve

            self._closers.append(serve(self, self.config.metrics.listen))

    # -- stop -----------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Stop serving, remember the connections, and leave the machine as it was found."""
        self.notify("STOPPING=1")
        with self.lock:
            if self._steered and not self.config.steering.keep:
                self._unsteer()
                self._drain()
            self._undo(steering=not self.config.steering.keep)
            if self.config.state.file:
                self.save_state()
            if self.config.rules.save_at_stop:
                self.save_rules()
        self.log("notice", "stopped", connections=self.engine.conntrack_count, limited=False)
        self.log.close()

    def _drain(self) -> None:
        from fastfw.gateway.workers import waiting

        until = time.monotonic() + DRAIN
        while any(waiting(worker.number) for worker in self.workers) and time.monotonic() < until:
            time.sleep(0.01)

    def _undo(self, steering: bool = True) -> None:
        for close in reversed(self._closers):
            if close == self._unsteer and not steering:
                continue
            try:
                close()
            except (OSError, SteerError) as error:
                self.log("error", "stop_failed", error=error)
        self._closers.clear()

    def _unsteer(self) -> None:
        if not self._steered:
            return
        self._steered = False
        if self.skipping is not None:
            self.skipping.pause()
        try:
            removed = steer.remove(self.config.steering.iptables)
        except SteerError as error:
            self.log("error", "rules_not_removed", error=error, hint="fastfw run --clean")
        else:
            self.log("info", "rules_removed", tables=", ".join(removed))

    # -- state and rules on disk ----------------------------------------------------------------------------------

    def save_state(self) -> bool:
        """Write the connections to their file; False, with a line in the log, where that failed: the old file stays."""
        path = self.config.state.file
        began = time.monotonic()
        try:
            self.engine.expire()
            count = self.engine.save_state(path)
        except OSError as error:
            self.state_failures += 1
            self.log("error", "state_not_saved", file=path, error=error.strerror)
            return False
        self.state_saved = time.time()
        self.log("info", "state_saved", file=path, connections=count, seconds=round(time.monotonic() - began, 3))
        return True

    def save_rules(self, only: int = 0) -> list[str]:
        """Write the rules in force (of one family, if `only` is it), with their counters, to the files they came from;
        which. What fails is a line in the log, and the old file stays."""
        written = []
        for family, path in ((4, self.config.rules.ipv4), (6, self.config.rules.ipv6)):
            if path and only in (0, family):
                try:
                    write_whole(path, self.rulebook.current(family).save(counters=True))
                    written.append(path)
                except OSError as error:
                    self.log("error", "rules_not_saved", file=path, error=error.strerror)
        self.log("notice", "rules_saved", files=", ".join(written) or "none")
        return written

    # -- reload ---------------------------------------------------------------------------------------------------

    def reload(self, rejudge: bool | None = None) -> list[str]:
        """Read configuration and rules anew and put them in force between two packets; what could not be taken over
        without a restart. ConfigError, RulesError, OSError: all stays as it was."""
        self.notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            with self.lock, self.taken_back():
                notes = self._reload(rejudge)
        except (ConfigError, RulesError, OSError) as error:
            self.reloads_failed += 1
            said = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
            self.log("error", "reload_failed", error=said, effect="the old configuration stays in force")
            self.notify("READY=1", f"STATUS={self.summary()}; the last reload failed")
            raise
        self.reloads += 1
        self.log("notice", "reloaded", connections=self.engine.conntrack_count, notes="; ".join(notes) or None)
        self.notify("READY=1", f"STATUS={self.summary()}")
        return notes

    def _reload(self, rejudge: bool | None) -> list[str]:
        old, new = self.config, self.reread()
        notes = [
            f"{name}.{key} is taken over at a restart"
            for name in FIXED
            for key in _differing(getattr(old, name), getattr(new, name))
        ]
        read = self._read_rules(new)
        notes += [
            f"reject.{key} is taken over at a restart"
            for key in _differing(old.reject, new.reject)
            if key in ("answers", "mark", "queue")
        ]
        gone = set(old.conntrack.helpers) - set(new.conntrack.helpers)
        notes += [f"helper {name} stays attached until a restart" for name in sorted(gone)]
        if old.conntrack.timeouts != new.conntrack.timeouts:
            notes.append("conntrack.timeouts is taken over at a restart")
        self._put_rules(new, *read)
        for helper in new.conntrack.helpers:
            if helper not in old.conntrack.helpers:
                self.engine.attach(helper)  # the configuration was read with it
        for name in old.conntrack.settings.keys() - new.conntrack.settings.keys():
            self.engine.settings[name] = _default(name)
        for name, value in new.conntrack.settings.items():
            if self.engine.settings[name] != value:
                self.engine.settings[name] = value
        self.config = new
        self.log.configure(new.log.format, new.log.level, new.log.rate, new.log.burst)
        self.answerer.configure(new.reject)
        self.packet_log.configure(new.log)
        if self._steered and self._plan(new) != self._plan(old):
            try:
                if self.skipping is not None:
                    self.skipping.replan(self._plan(new))
                else:
                    steer.install(self._plan(new))
            except SteerError as error:
                notes.append(str(error))
                self.log("error", "rules_not_changed", error=error)
        self.rules_changed()
        if new.rules.rejudge if rejudge is None else rejudge:
            from fastfw.gateway.rejudge import rejudge as judge_again

            judged = judge_again(self.engine)
            self.log("notice", "rejudged", judged=judged.judged, forgotten=judged.forgotten)
            notes.append(f"{judged.forgotten} of {judged.judged} connections are forgotten")
        return notes

    def rules_changed(self) -> None:
        """What depends on the rules follows them."""
        wanted = self.copy_range()
        for worker in self.workers:
            worker.want(wanted)

    def copy_range(self) -> int:
        """Bytes of each packet that the engine must see."""
        if self.config.queue.copy_range:
            return self.config.queue.copy_range
        rulesets = [rules for family in (4, 6) if (rules := self.engine.ruleset(family)) is not None]
        return copy_range(rulesets)

    # -- between ----------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """What is looked after every second."""
        self.engine.expire()
        stuck = self._health.stuck(self.workers)
        self._still = {number: self._still.get(number, 0) + 1 for number in stuck}
        found = [number for number, looks in self._still.items() if looks >= STUCK_LOOKS]
        if found:
            self.log("alert", "queue_stuck", queues=", ".join(map(str, found)))
        self.healthy = not found
        for worker in self.workers:
            if lost := worker.lost():
                self.log("warning", "packets_lost", queue=worker.number, **lost)
        interval = self.config.state.interval
        if interval and time.monotonic() >= self._save_due:
            with self.lock:
                self.save_state()
            self._save_due = time.monotonic() + interval

    def summary(self) -> str:
        """One line for the service manager."""
        serving = sum(worker.serving for worker in self.workers)
        return f"{serving} of {len(self.workers)} queues, {self.engine.conntrack_count} connections"

    def serve(self) -> None:
        """Start, run until SIGTERM or SIGINT, stop. SIGHUP reloads. StartError."""
        # They are noted, whatever is being done and whichever thread they find, so that none ends the process where it
        # stands, its rules in the kernel.
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        handlers = {number: signal.signal(number, self._note) for number in SIGNALS}
        before = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        try:
            self.start()
            try:
                self._wait(woken)
            finally:
                self.stop()
        finally:
            signal.set_wakeup_fd(before)
            for number, handler in handlers.items():
                signal.signal(number, handler or signal.SIG_DFL)
            os.close(woken)
            os.close(wake)

    def _note(self, number: int, frame: object) -> None:
        self._noted.append(number)

    def _wait(self, woken: int) -> None:
        due = time.monotonic()
        watchdog = 0.0
        while True:
            pause = 0.0 if self._noted else max(0.0, min(TICK, due - time.monotonic()))
            if select.select([woken], [], [], pause)[0]:
                os.read(woken, 4096)
            while self._noted:
                number = self._noted.pop(0)
                if number != signal.SIGHUP:
                    self.log("notice", "stopping", signal=signal.Signals(number).name)
                    return
                with contextlib.suppress(ConfigError, RulesError, OSError):  # said in the log
                    self.reload()
            if time.monotonic() >= due:
                self.tick()
                due = time.monotonic() + TICK
                self.notify(f"STATUS={self.summary()}")
            if self.notify.watchdog and self.healthy and time.monotonic() - watchdog > self.notify.watchdog / 3:
                self.notify("WATCHDOG=1")
                watchdog = time.monotonic()


def clean(program: str = "") -> list[str]:
    """Remove what a killed daemon left in the kernel's rules; which tables. SteerError; StartError: one is running."""
    number = steer.in_use(program)
    if number is not None:
        raise StartError(f"a daemon serves queue {number} here: stop it first")
    return steer.remove(program)


def _differing(old: Section, new: Section) -> list[str]:
    return [name for name in old.__struct_fields__ if getattr(old, name) != getattr(new, name)]


def _default(name: str) -> int:
    from fastfw.core.settings import TABLE

    return TABLE[name][1]


def absolute(path: str | None) -> str | None:
    """A path that stays the same file wherever the daemon goes."""
    return str(Path(path).absolute()) if path else path
