"""Settings: the kernel's names, defaults and ranges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fastfw
from fastfw.core.settings import LOWEST, TABLE

PROC = Path("/proc/sys/net/netfilter")
NOT_OURS = {"nf_conntrack_count", "nf_conntrack_tcp_no_window_check"}
"""Read-only, or gone from today's kernels."""


def test_defaults_are_in_force() -> None:
    """An engine that is told nothing has every setting at its default, as documented."""
    settings = fastfw.Engine().settings
    assert {name: settings[name] for name in settings} == {name: entry[1] for name, entry in TABLE.items()}
    assert len(settings) == len(TABLE)
    assert settings["nf_conntrack_max"] == 262144
    assert settings["nf_conntrack_tcp_timeout_established"] == 432000
    assert settings["nf_conntrack_tcp_loose"] == 1


@pytest.mark.parametrize("name", TABLE)
def test_every_setting_can_be_set(name: str) -> None:
    """Each setting takes every value of its range, at the start and while running, and refuses those outside."""
    _, default, highest, _ = TABLE[name]
    lowest = LOWEST.get(name, 0)
    engine = fastfw.Engine()
    for value in {lowest, 1, default, min(highest, 2_000_000)}:
        engine.settings[name] = value
        assert engine.settings[name] == value
        assert fastfw.Engine(settings={name: value}).settings[name] == value
    kept = engine.settings[name]
    for value in (lowest - 1, -1, highest + 1, 2**40, -(2**63), 1.5, "1", None):
        with pytest.raises(fastfw.SettingError, match=f"{name}: a whole number from {lowest} to {highest} expected"):
            engine.settings[name] = value  # type: ignore[assignment]
        with pytest.raises(fastfw.SettingError, match=name):
            fastfw.Engine(settings={name: value})  # type: ignore[dict-item]
    assert engine.settings[name] == kept


@pytest.mark.parametrize("name", [name for name, entry in TABLE.items() if entry[3]])
def test_longest_timeouts(name: str) -> None:
    """The longest timeout is kept to the second."""
    highest = TABLE[name][2]
    assert fastfw.Engine(settings={name: highest}).settings[name] == highest


def test_settings_are_apart() -> None:
    """No two settings share a place: changing one changes no other."""
    engine = fastfw.Engine()
    for number, name in enumerate(TABLE):
        engine.settings[name] = min(number % 2 + 1, TABLE[name][2])
    for number, name in enumerate(TABLE):
        assert engine.settings[name] == min(number % 2 + 1, TABLE[name][2]), name
    assert len({entry[0] for entry in TABLE.values()}) == len(TABLE)


def test_unknown_names() -> None:
    """A name that is no setting is refused, with those that are."""
    engine = fastfw.Engine()
    with pytest.raises(fastfw.SettingError, match=r"maximum: no such setting; known are .*nf_conntrack_max,"):
        engine.settings["nf_conntrack_maximum"] = 1
    with pytest.raises(fastfw.SettingError, match="no such setting"):
        fastfw.Engine(settings={"net.netfilter.nf_conntrack_max": 1})
    with pytest.raises(KeyError):
        engine.settings["nf_conntrack_maximum"]
    with pytest.raises(fastfw.SettingError, match="cannot be deleted"):
        del engine.settings["nf_conntrack_max"]


def test_whole_numbers_of_any_kind() -> None:
    """A value may be of any type that is a whole number, NumPy's too; nothing is rounded."""
    engine = fastfw.Engine(settings={"nf_conntrack_max": np.uint16(7)})  # type: ignore[dict-item]
    assert engine.settings["nf_conntrack_max"] == 7
    for value in (7.0, "7", None, np.float64(7)):
        with pytest.raises(fastfw.SettingError, match="a whole number from 0 to"):
            engine.settings["nf_conntrack_max"] = value  # type: ignore[assignment]


def test_count_is_read_only() -> None:
    """nf_conntrack_count can be read as in the kernel, and not be set."""
    engine = fastfw.Engine()
    assert engine.settings["nf_conntrack_count"] == engine.conntrack_count == 0
    assert "nf_conntrack_count" not in list(engine.settings)
    with pytest.raises(fastfw.SettingError, match="nf_conntrack_count is read only"):
        engine.settings["nf_conntrack_count"] = 1
    with pytest.raises(fastfw.SettingError, match="nf_conntrack_count is read only"):
        fastfw.Engine(settings={"nf_conntrack_count": 1})


def test_repr_shows_values() -> None:
    """A look at the settings shows names and values."""
    assert "'nf_conntrack_tcp_loose': 1" in repr(fastfw.Engine().settings)


@pytest.mark.skipif(not PROC.exists(), reason="this kernel has no connection tracking")
def test_names_are_the_kernels() -> None:
    """Every setting of the running kernel's connection tracking is one of ours."""
    theirs = {each.name for each in PROC.glob("nf_conntrack_*")} - NOT_OURS
    missing = {name for name in theirs if not name.startswith(("nf_conntrack_dccp", "nf_conntrack_udplite"))}
    assert missing - set(TABLE) == set()
