"""A table that is being saved when the process dies or the disk fails: the file is the one before or the one after."""

from __future__ import annotations

import ast
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.faults.conftest import PRELUDE, ROOT, Run

import fastfw
from fastfw.state import Loaded

SAVE = """
from pathlib import Path
from tests.traffic import packets as p
folder, mode = Path(sys.argv[1]), int(sys.argv[2])
path = folder / "state"

def table(count):
    engine = fastfw.Engine(settings={"nf_conntrack_max": 100_000})
    for port in range(count):
        engine.decide(p.udp_packet(b"\\x0a\\1\\0\\1", b"\\x0a\\2\\0\\1", 1 + port, 53), now=10**9)
    return engine

old, new = table(100), table(3000)

def loaded():
    "How many connections the file gives an engine: it must be whole."
    found = fastfw.Engine(settings={"nf_conntrack_max": 100_000}).load_state(path)
    assert found.refused == 0
    return found.connections

def child(nth):
    "Save the new table in a process whose n-th call is struck; its exit status: 0 saved, 1 refused, below 0 killed."
    pid = os.fork()
    if pid == 0:
        arm(mode, nth, errno.ENOSPC)
        try:
            new.save_state(path)
        except OSError as error:
            disarm()
            os._exit(1 if error.errno == errno.ENOSPC else 3)
        except BaseException:
            os._exit(3)
        os._exit(0 if disarm() >= nth else 2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

fates = []
for nth in range(1, 100):
    for left in folder.glob(".state*"):
        left.unlink()
    old.save_state(path)
    ended = child(nth)
    if ended == 2:
        break
    found = loaded()
    assert found in (100, 3000), f"call {nth}: {found} connections"
    assert ended != 0 or found == 3000
    if ended >= 0:
        assert os.listdir(folder) == ["state"], f"call {nth} left {os.listdir(folder)}"
    fates.append((ended, found))
    new.save_state(path)
    assert loaded() == 3000
print(fates)
"""


def fates(program: Run, folder: Path, mode: int) -> list[tuple[int, int]]:
    """How a save ended (0: saved, 1: refused, negative: killed) when its first, second, ... system call was struck,
    and how many connections the file held then: 100 before, 3 000 after."""
    ended = program(SAVE, folder, mode)
    assert ended.returncode == 0, ended.stderr
    found: list[tuple[int, int]] = ast.literal_eval(ended.stdout)
    print(f"{len(found)} calls struck: {found}")
    assert len(found) > 8
    return found


def test_killed_before_any_call(program: Run, tmp_path: Path) -> None:
    """Killed before each system call of a save in turn, the file holds the old table or the new one, whole; the next
    save works whatever the dead left."""
    found = fates(program, tmp_path, 1)
    assert {ended for ended, _ in found} == {-signal.SIGKILL}
    assert found[0][1] == 100
    assert found[-1][1] == 3000


def test_killed_within_any_write(program: Run, tmp_path: Path) -> None:
    """Killed with half of a write done, likewise: half a table is never there under the table's name."""
    found = fates(program, tmp_path, 2)
    assert any(ended == -signal.SIGKILL for ended, _ in found)
    assert all(count == 100 for ended, count in found if ended < 0)


def test_any_call_fails(program: Run, tmp_path: Path) -> None:
    """Each system call of a save fails in turn, as on a full disk: that is an OSError, the file holds the old
    table or, where only its being there for good is in doubt, the new one; no half file stays."""
    found = fates(program, tmp_path, 3)
    assert {ended for ended, _ in found} <= {0, 1}
    assert (1, 100) in found


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_full_disk(program: Run, tmp_path: Path) -> None:
    """On a file system with no room left a save says so, and the table saved before can still be loaded."""
    text = """
import subprocess
import sys
from pathlib import Path
from tests.traffic import packets as p
engine = fastfw.Engine(settings={"nf_conntrack_max": 100_000})
path = Path(sys.argv[1]) / "state"
def add(first, last):
    for port in range(first, last):
        engine.decide(p.udp_packet(b"\\x0a\\1\\0\\1", b"\\x0a\\2\\0\\1", 1 + port, 53), now=10**9)
add(0, 100)
engine.save_state(path)
add(100, 5000)
try:
    engine.save_state(path)
except OSError as error:
    print(error.errno, fastfw.Engine().load_state(path).connections, os.listdir(path.parent))
"""
    shell = f'mount -t tmpfs -o size=128k none {tmp_path} && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", shell, "sh", sys.executable, "-c", text_of(text), str(tmp_path)]
    environment = dict(os.environ, PYTHONPATH=f"{ROOT}:{ROOT / 'tests'}")
    ended = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=60)
    assert ended.stdout == f"{errno.ENOSPC} 100 ['state']\n", ended.stderr


def text_of(program: str) -> str:
    """A program that needs no injector."""
    return PRELUDE.split("faults =")[0] + program


def test_what_the_dead_left_is_no_state(tmp_path: Path) -> None:
    """A half-written file beside the state is never taken for it, and does not hinder the next save."""
    engine = fastfw.Engine()
    path = tmp_path / "state"
    (tmp_path / ".state.abcd").write_bytes(b"half")
    assert engine.save_state(path) == 0
    assert engine.load_state(path) == Loaded(0, 0, 0)
