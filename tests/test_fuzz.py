"""The fuzzers' seeds hold what the fuzzers check, so that a run begins with what is known to be right."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

pytest.importorskip("msgspec")

from fuzz import files, layers
from fuzz.__main__ import LAYERS, NATIVE, SMALL
from fuzz.rules import everything
from fuzz.seeds import write

import fastfw
from fastfw.helpers import UDP, Flow, Helper

SHARE = 40
"""Of the seeds made from rules every so-manieth is tried here."""

TURNS = 500
"""So many changed seeds of each target."""


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


class Broken(Helper):
    """Cannot bear an exclamation mark."""

    name = "broken"
    ports = ((UDP, 7003),)

    def on_payload(self, payload: memoryview, flow: Flow) -> None:
        assert payload[0] != ord("!")


def test_a_helper_that_raises_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its packets pass, and yet it is a finding; the next input is judged by itself."""
    engine = fastfw.Engine(helpers=[Broken()])
    monkeypatch.setattr(layers, "helped", lambda number: (Broken(), engine))
    with pytest.raises(AssertionError, match="broken failed and is detached"):
        layers.helper(b"..!")
    layers.helper(b"..?")


LATE = """
import sys
from pathlib import Path
from fuzz import layers
known = set(sys.modules)
for target in sys.argv[2:]:
    for path in sorted((Path(sys.argv[1]) / target).iterdir())[::7]:
        getattr(layers, target)(path.read_bytes())
print(*sorted(name for name in sys.modules.keys() - known if name.startswith("fastfw")))
"""


def test_fuzzer_sees_what_it_runs(seeds: Path) -> None:
    """No target imports a module of the package only when it needs it: a fuzzer is guided by those it saw imported."""
    command = [sys.executable, "-c", LATE, str(seeds), *LAYERS]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr


@pytest.mark.parametrize("target", ["capture", "state"])
def test_files(seeds: Path, target: str) -> None:
    """Captures and saved tables of the seeds, whole and cut at any place, likewise."""
    engine = fastfw.Engine(settings={**SMALL, "nf_conntrack_checksum": 0}, helpers=["ftp"])
    one = getattr(files, target)(engine)
    for path in (seeds / target).iterdir():
        data = path.read_bytes()
        for size in {*range(0, len(data), 1 + len(data) // 40), len(data)}:
            one(data[:size])


def changed(random: Random, data: bytes, other: bytes) -> bytes:
    """One input made of another as a fuzzer does: some bytes other ones, gone, doubled, or another input's."""
    for _ in range(random.choice((1, 1, 2, 4))):
        at = random.randrange(len(data) + 1)
        end = min(len(data), at + random.choice((0, 1, 1, 2, 4, 16)))
        piece = random.choice((b"", random.randbytes(end - at), 2 * data[at:end], other[at : at + 16]))
        data = data[:at] + piece + data[end:]
    return data


@pytest.mark.parametrize("target", [*LAYERS, "capture", "state"])
def test_changed_seeds(seeds: Path, target: str, seed: int) -> None:
    """A short run of each target without a fuzzer: inputs that differ a little from the seeds hold what seeds do."""
    random = Random(seed)
    if target in LAYERS:
        one = getattr(layers, target)
    else:
        one = getattr(files, target)(fastfw.Engine(settings={**SMALL, "nf_conntrack_checksum": 0}, helpers=["ftp"]))
    known = [path.read_bytes() for path in sorted((seeds / target).iterdir())]
    for _ in range(TURNS):
        data = changed(random, *random.choices(known, k=2))
        try:
            one(data)
        except Exception as error:
            raise AssertionError(f"{target}: {data.hex()}") from error


@pytest.mark.parametrize("family", [4, 6])
def test_every_rule_an_engine_takes(family: int) -> None:
    """A rule of every shape goes into one engine, which decides with it."""
    engine = fastfw.Engine(**{f"rules{family}": everything(family)})  # type: ignore[arg-type]
    assert engine.decide(b"", now=1).verdict == "-"
    assert len(engine.counters) > 0
