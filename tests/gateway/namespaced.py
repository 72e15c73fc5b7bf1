"""A daemon for tests: real, in a network namespace of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

live = [
    pytest.mark.live,
    pytest.mark.skipif(os.geteuid() != 0, reason="a live daemon needs root"),
    pytest.mark.skipif(shutil.which("iptables-legacy") is None, reason="a live daemon needs iptables-legacy"),
]


def live_test(test: Callable[..., None]) -> Callable[..., None]:
    """Marks of a test that runs a daemon or asks the kernel."""
    for mark in live:
        test = mark(test)
    return test


RULES = """*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m state --state ESTABLISHED,RELATED -j ACCEPT
-A INPUT -p icmp -j ACCEPT
-A INPUT -p tcp -m tcp --dport 7000 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 7001 -j REJECT --reject-with tcp-reset
-A INPUT -p udp -m udp --dport 7002 -j REJECT
COMMIT
"""

PROLOGUE = r"""
set -u
cd "$1"; shift
export FASTFW_CONTROL="$PWD/control"
ip link set lo up
fastfw() { "$PYTHON" -m fastfw "$@"; }
start() {  # a daemon in the background, waited for until it serves
    : >log
    "$PYTHON" -m fastfw run --control "$FASTFW_CONTROL" "$@" 2>>log & daemon=$!
    for _ in $(seq 600); do
        grep -q event=started log && break; kill -0 $daemon 2>/dev/null || break; sleep 0.05
    done
}
stop() { kill -TERM $daemon; wait $daemon; echo "stopped $?"; }
passes() { ping -c1 -W"${1:-20}" 127.0.0.1 >/dev/null && echo passes || echo closed; }
kill9() { kill -9 $daemon; wait $daemon 2>/dev/null; }
logged() { for _ in $(seq 200); do grep -q "$1" log && break; sleep 0.05; done; grep -c "$1" log; }
ours() { for t in iptables-legacy ip6tables-legacy; do $t-save | grep -c -e FASTFW; done; true; }
trap 'kill -9 $daemon 2>/dev/null' EXIT
daemon=
"""


def script(tmp_path: Path, text: str, rules: str = RULES) -> str:
    """Run a shell script beside a `rules` file in new network and mount namespaces; what it printed."""
    (tmp_path / "rules").write_text(rules)
    done = subprocess.run(
        ["unshare", "--net", "--mount", "bash", "-c", PROLOGUE + text + "\ntrue", "bash", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=180,
        check=False,
        env={**os.environ, "PYTHON": sys.executable},
    )
    assert done.returncode == 0, done.stdout
    print(done.stdout)
    return done.stdout
