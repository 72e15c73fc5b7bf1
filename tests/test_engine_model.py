"""The engine as it is beside one that reads every rule of every packet: whatever is done to both, they agree."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.kernel.oracle import pack
from tests.plain import enforce
from tests.traffic.generate import generate
from tests.traffic.rulesets import ruleset, tables

import fastfw

SECOND = 1_000_000_000
TOLD = ("verdict", "state", "direction", "assured", "seen_reply", "expected", "reason", "rule", "mark")
SETTINGS = st.sampled_from(
    [
        ("nf_conntrack_tcp_loose", 0),
        ("nf_conntrack_tcp_loose", 1),
        ("nf_conntrack_tcp_be_liberal", 1),
        ("nf_conntrack_checksum", 0),
        ("nf_conntrack_checksum", 1),
        ("nf_conntrack_udp_timeout", 5),
        ("nf_conntrack_generic_timeout", 1),
        ("nf_conntrack_tcp_timeout_established", 40),
        ("nf_conntrack_acct", 1),
    ]
)


class Pair(RuleBasedStateMachine):
    """One engine classifies, remembers paths and takes packets by the batch. The other, of the same seed, walks every
    rule for every packet; where the table cannot fill it also takes them one by one.

    A full table evicts by what its sweep has met, and the sweep moves by batches: then both get the same batches.
    """

    @initialize(
        seed=st.binary(min_size=88, max_size=88),
        number=st.integers(0, 1 << 20),
        disorder=st.sampled_from([0.0, 0.1, 0.3]),
        room=st.sampled_from([20, 100, 100_000]),
    )
    def make(self, seed: bytes, number: int, disorder: float, room: int) -> None:
        self.seed, self.room = seed, room
        self.packets = generate(number, 2000, disorder)
        self.at = 0
        self.now = SECOND
        self.texts = {4: "", 6: ""}
        self.quick, self.plain = self.fresh(), self.fresh()

    def fresh(self) -> fastfw.Engine:
        return fastfw.Engine(settings={"nf_conntrack_max": self.room}, seed=self.seed)

    def enforce(self, engine: fastfw.Engine, family: int) -> None:
        """Put the text of a family in force: in the plain engine without any of what makes rules quick."""
        quick = engine is self.quick
        enforce(engine, family, self.texts[family], remember=quick, classify=quick)

    @rule(
        count=st.integers(1, 200),
        spread=st.sampled_from([0, 1_000_000, 300_000_000]),
        hook=st.sampled_from(["FORWARD", "INPUT", "OUTPUT"]),
    )
    def send(self, count: int, spread: int, hook: str) -> None:
        """The next packets, so many nanoseconds apart, are decided alike."""
        batch = [self.packets[(self.at + i) % len(self.packets)] for i in range(count)]
        self.at += count
        times = self.now + np.arange(count, dtype=np.int64) * spread
        self.now = int(times[-1])
        quick = self.quick.process(*pack(batch), times, hook=hook, iif="eth0", oif="eth1")
        single = self.room > 10_000
        plain = np.concatenate(
            [
                self.plain.process(*pack(batch[i : i + 1]), times[i : i + 1], hook=hook, iif="eth0", oif="eth1")
                for i in range(count)
            ]
            if single
            else [self.plain.process(*pack(batch), times, hook=hook, iif="eth0", oif="eth1")]
        )
        for name in TOLD:
            differs = np.flatnonzero(quick[name] != plain[name])
            assert not len(differs), f"{name} of packet {differs[0]}: {quick[differs[0]]}, {plain[differs[0]]}"

    @rule(number=st.integers(0, 1 << 20), family=st.sampled_from([4, 6]), every_table=st.booleans())
    def replace(self, number: int, family: int, every_table: bool) -> None:
        """New rules for one family; the connections and what is remembered of the other family stay."""
        self.texts[family] = (tables if every_table else ruleset)(number, family)
        for engine in (self.quick, self.plain):
            self.enforce(engine, family)

    @rule(family=st.sampled_from([4, 6]))
    def accept_all(self, family: int) -> None:
        self.texts[family] = ""
        for engine in (self.quick, self.plain):
            engine.replace(**{f"rules{family}": None})

    @rule(seconds=st.sampled_from([0.5, 3, 31, 121]), swept=st.booleans())
    def wait(self, seconds: float, swept: bool) -> None:
        self.now += int(seconds * SECOND)
        if swept:
            for engine in (self.quick, self.plain):
                engine.expire(self.now)

    @rule(setting=SETTINGS)
    def change_setting(self, setting: tuple[str, int]) -> None:
        for engine in (self.quick, self.plain):
            engine.settings[setting[0]] = setting[1]

    @rule(protocol=st.sampled_from([1, 6, 17, 58]), odd=st.booleans())
    def delete(self, protocol: int, odd: bool) -> None:
        """Connections are taken out by hand: the same ones."""
        gone = [
            sorted(map(str, engine.delete(lambda one: one.protocol == protocol and one.source_port % 2 == odd)))
            for engine in (self.quick, self.plain)
        ]
        assert gone[0] == gone[1]

    @rule()
    def flush(self) -> None:
        for engine in (self.quick, self.plain):
            engine.flush()

    @rule()
    def restart(self) -> None:
        """Both tables go through files into new engines under the same rules and settings."""
        for name in ("quick", "plain"):
            old = getattr(self, name)
            new = self.fresh()
            for setting, value in old.settings.items():
                if setting != "nf_conntrack_count":
                    new.settings[setting] = value
            old.expire(max(self.now, old.now))
            new.expire(old.now)
            with TemporaryDirectory() as folder:
                saved = old.save_state(Path(folder) / "state")
                assert new.load_state(Path(folder) / "state").connections == saved
            setattr(self, name, new)
            for family in (4, 6):
                if self.texts[family]:
                    self.enforce(new, family)

    @invariant()
    def agree(self) -> None:
        """The same connections with the same flags, marks and time left, and the same count at every rule."""
        if not hasattr(self, "quick"):
            return
        assert self.quick.now == self.plain.now
        listed = [sorted(map(str, engine.connections())) for engine in (self.quick, self.plain)]
        assert listed[0] == listed[1]
        for family in (4, 6):
            counted = [engine._rule_counters(family) for engine in (self.quick, self.plain)]
            assert (counted[0] is None) == (counted[1] is None)
            assert counted[0] is None or counted[0].tolist() == counted[1].tolist()


TestPair = Pair.TestCase
TestPair.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
