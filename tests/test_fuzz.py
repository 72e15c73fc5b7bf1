"""The fuzzers' seeds hold what the fuzzers check, so that a run begins with what is known to be right."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("msgspec")

from fuzz import files, layers
from fuzz.__main__ import LAYERS, NATIVE, SMALL
from fuzz.rules import everything
from fuzz.seeds import write

import fastfw

SHARE = 40
"""Of the seeds made from rules every so-manieth is tried here."""


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeds")
    write(folder)
    return folder


def test_every_target_has_seeds(seeds: Path) -> None:
    """No fuzzer begins with nothing."""
    assert {folder.name for folder in seeds.iterdir()} == {*NATIVE, *LAYERS}
    assert all(len(list(folder.iterdir())) >= 3 for folder in seeds.iterdir())


@pytest.mark.parametrize("target", LAYERS)
def test_layers(seeds: Path, target: str) -> None:
    """Rulesets, commands and payload of the seeds end in a result or the one documented error."""
    inputs = sorted((seeds / target).iterdir())
    for path in inputs if len(inputs) < 500 else inputs[::SHARE]:
        getattr(layers, target)(path.read_bytes())


@pytest.mark.parametrize("target", ["capture", "state"])
def test_files(seeds: Path, target: str) -> None:
    """Captures and saved tables of the seeds, whole and cut at any place, likewise."""
    engine = fastfw.Engine(settings={**SMALL, "nf_conntrack_checksum": 0}, helpers=["ftp"])
    one = getattr(files, target)(engine)
    for path in (seeds / target).iterdir():
        data = path.read_bytes()
        for size in {*range(0, len(data), 1 + len(data) // 40), len(data)}:
            one(data[:size])


@pytest.mark.parametrize("family", [4, 6])
def test_every_rule_an_engine_takes(family: int) -> None:
    """A rule of every shape goes into one engine, which decides with it."""
    engine = fastfw.Engine(**{f"rules{family}": everything(family)})  # type: ignore[arg-type]
    assert engine.decide(b"", now=1).verdict == "-"
    assert len(engine.counters) > 0
