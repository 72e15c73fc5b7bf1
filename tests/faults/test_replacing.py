"""A daemon killed while rules are replaced, and while they are written to their file: half a ruleset is never met."""

from __future__ import annotations

import ast
import re
import signal
from pathlib import Path

import pytest

pytest.importorskip("msgspec")

from tests.faults.conftest import Run

from gateway.namespaced import live_test, script

WRITE = """
from pathlib import Path
from fastfw.gateway.rulebook import write_whole
folder, mode = Path(sys.argv[1]), int(sys.argv[2])
path = folder / "rules"
old, new = "old\\n" * 10, "new\\n" * 5000
fates = []
for nth in range(1, 100):
    for left in folder.glob(".rules*"):
        left.unlink()
    path.write_text(old)
    pid = os.fork()
    if pid == 0:
        arm(mode, nth, errno.ENOSPC)
        try:
            write_whole(str(path), new)
        except OSError as error:
            disarm()
            os._exit(1 if error.errno == errno.ENOSPC else 3)
        os._exit(0 if disarm() >= nth else 2)
    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if ended == 2:
        break
    found = path.read_text()
    assert found in (old, new), f"call {nth}"
    assert ended < 0 or os.listdir(folder) == ["rules"], f"call {nth} left {os.listdir(folder)}"
    fates.append((ended, found == new))
print(fates)
"""


@pytest.mark.parametrize("mode", [1, 2, 3], ids=["killed before", "killed within", "failing"])
def test_rules_are_written_whole(program: Run, tmp_path: Path, mode: int) -> None:
    """Whichever system call of writing rules to their file kills the daemon, writes half or fails as on a full disk,
    the file holds the old rules or the new ones, and a failure leaves nothing else."""
    ended = program(WRITE, tmp_path, mode)
    assert ended.returncode == 0, ended.stderr
    fates: list[tuple[int, bool]] = ast.literal_eval(ended.stdout)
    print(f"{len(fates)} calls struck: {fates}")
    assert len(fates) >= 4
    struck = {written for status, written in fates if status == (1 if mode == 3 else -signal.SIGKILL)}
    assert False in struck
    assert all(written for status, written in fates if status == 0)


KILLS = 6

# One hand replaces the rules without end, by `restore` and by reload in turn, another kills the daemon.
REPLACED = r"""
sed s/7000/7100/ rules >other
cat >replace.py <<'PY'
import os
from fastfw.gateway.client import Client, NoDaemon
texts = [open(name).read() for name in ("rules", "other")]
count = 0
try:
    with Client(os.environ["FASTFW_CONTROL"]) as client:
        while True:
            *_, last = client.ask("restore", text=texts[count % 2])
            assert last.status == 0, last
            count += 1
            open("begun", "w").close()
except NoDaemon:
    print("replaced", count)
PY
"""


@live_test
def test_killed_while_rules_are_replaced(tmp_path: Path) -> None:
    """Killed at any moment while its rules are replaced without pause, a daemon leaves the kernel's queue rules whole
    and nothing passes; the next one has the rules of its file, the table saved last, serves, and says what it found."""
    text = REPLACED + "start --rules rules --state state; passes; stop\n"
    for number in range(KILLS):
        text += (
            "start --rules rules --state state; fastfw iptables -S >now\n"
            'rm -f begun; "$PYTHON" replace.py & hand=$!\n'
            "for _ in $(seq 600); do [ -e begun ] && break; sleep 0.05; done\n"
            f"sleep {0.037 * number}; kill9; wait $hand; ours; passes 1; cat now log\n"
        )
    said = script(tmp_path, text + "start --rules rules; passes; stop; ours")
    assert len(re.findall(r"^closed$", said, re.MULTILINE)) == KILLS
    assert len(re.findall(r"^6\n6\nclosed$", said, re.MULTILINE)) == KILLS
    assert said.count("event=state_loaded") == KILLS
    assert said.count("--dport 7000") == KILLS
    assert "7100" not in said
    counts = [int(count) for count in re.findall(r"^replaced (\d+)", said, re.MULTILINE)]
    print(f"killed {KILLS} times, behind {counts} replacements")
    assert len(counts) == KILLS
    assert all(counts)
    assert said.endswith("passes\nstopped 0\n0\n0\n")
