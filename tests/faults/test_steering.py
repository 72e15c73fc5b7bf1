"""A daemon killed while it hands the kernel its queue rules: each table is as it was or as it was to be."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

pytest.importorskip("msgspec")

from tests.faults.conftest import ROOT

from gateway.namespaced import live, script

pytestmark = live

# Stands in front of every iptables, counts calls, and kills its caller around one of them.
WRAPPER = """#!/bin/sh
echo call >>"$CALLS"
now=$(wc -l <"$CALLS")
[ "$now" = "$STRIKE" ] && [ "$WHEN" = before ] && { kill -9 $PPID; exit 1; }
"%s" "$@"
status=$?
[ "$now" = "$STRIKE" ] && kill -9 $PPID
exit $status
"""

DRIVER = r"""
import os, subprocess, sys
from pathlib import Path
from fastfw.gateway.steer import Plan, install, remove

OLD, NEW = Plan(), Plan(first=2, last=4, fail_open=True, answer_mark=5)

def tables():
    "What each family's table of the daemon's says, without counters."
    found = []
    for name in ("iptables-legacy-save", "ip6tables-legacy-save"):
        text = subprocess.run([os.environ["REAL"] + "/" + name, "-t", "mangle"], capture_output=True, text=True).stdout
        found.append("\n".join(line for line in text.splitlines() if line[0] not in "#:"))
    return found

def struck(nth, when, act):
    "Do `act` in a process that is killed around its n-th call of iptables; whether it was."
    Path("calls").write_text("")
    pid = os.fork()
    if pid == 0:
        os.environ.update(CALLS=os.path.abspath("calls"), STRIKE=str(nth), WHEN=when)
        os.environ["PATH"] = os.path.abspath("front") + ":" + os.environ["PATH"]
        act()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9

none = tables()
install(OLD)
old = tables()
install(NEW)
new = tables()
remove()
fates = {}
for name, begin, act, ends in (
    ("install", remove, lambda: install(NEW), (none, new)),
    ("change", lambda: install(OLD), lambda: install(NEW), (old, new)),
    ("remove", lambda: install(NEW), remove, (new, none)),
):
    for when in ("before", "after"):
        nth = 0
        while True:
            nth += 1
            begin()
            assert tables() == ends[0]
            if not struck(nth, when, act):
                break
            for family, found in enumerate(tables()):
                assert found in (ends[0][family], ends[1][family]), f"{name}, {when} {nth}: {found}"
            act()
            assert tables() == ends[1], f"{name}, {when} {nth}, once more: {tables()}"
        fates[name, when] = nth - 1
        remove()
        assert tables() == none
print(fates)
"""


def test_killed_around_any_call_of_iptables(tmp_path: Path) -> None:
    """Killed before or after each of iptables' programs that installing, changing and removing the rules takes, a
    table holds the old rules or the new ones, whole; the next daemon makes them what they are to be, and takes all of
    them away."""
    front = tmp_path / "front"
    front.mkdir()
    for name in ("iptables-legacy", "ip6tables-legacy"):
        for kind in ("", "-save", "-restore"):
            real = next(at for at in ("/usr/sbin", "/sbin", "/usr/bin") if os.path.exists(f"{at}/{name}{kind}"))
            (front / (name + kind)).write_text(WRAPPER % f"{real}/{name}{kind}")
            (front / (name + kind)).chmod(0o755)
    (tmp_path / "driver.py").write_text(DRIVER)
    said = script(tmp_path, f'cd "{tmp_path}"; REAL={real} PYTHONPATH="{ROOT}" "$PYTHON" driver.py')
    fates = ast.literal_eval(said.splitlines()[-1])
    print(fates)
    assert all(count >= 4 for count in fates.values()), said
