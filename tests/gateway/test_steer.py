"""The kernel's rules that hand packets over: what they are, and that they come and go without a trace."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("msgspec")

from fastfw.gateway.steer import Found, Plan, find
from gateway.namespaced import live, script


def test_chain() -> None:
    """Answers and excepted interfaces return, everything else goes to the queue, or round over several; failing open is
    the queue rule's."""
    plan = Plan(first=3, last=5, fail_open=True, except_interfaces=("lo",), answer_mark=7)
    assert plan.chain() == [
        "-A FASTFW -m mark --mark 0x7 -j RETURN",
        '-A FASTFW -i "lo" -j RETURN',
        '-A FASTFW -o "lo" -j RETURN',
        "-A FASTFW -j NFQUEUE --queue-balance 3:5 --queue-bypass",
    ]
    assert Plan(first=3, last=3).chain() == ["-A FASTFW -j NFQUEUE --queue-num 3"]


def test_found() -> None:
    """A daemon's chain, the rules that lead to it, and its queues are found among other rules, whatever these are
    called."""
    text = (
        "*mangle\n:INPUT ACCEPT [0:0]\n:FASTFW - [0:0]\n:FASTFW2 - [0:0]\n"
        '-A INPUT -m comment --comment "-j FASTFW" -j FASTFW2\n-A INPUT -m comment --comment fastfw -j FASTFW\n'
        "-A INPUT -s 1.2.3.4/32 -g FASTFW\n-A FASTFW -m mark --mark 0x7 -j RETURN\n"
        "-A FASTFW -j NFQUEUE --queue-balance 2:4\nCOMMIT\n"
    )
    found = find(text)
    assert found.chains == ("FASTFW",)
    assert found.jumps == ("-A INPUT -m comment --comment fastfw -j FASTFW", "-A INPUT -s 1.2.3.4/32 -g FASTFW")
    assert found.queues == range(2, 5)
    assert not find("*mangle\n:INPUT ACCEPT [0:0]\n:FASTFW2 - [0:0]\n-A INPUT -j FASTFW2\nCOMMIT\n")
    assert find("") == Found()


class TestLive:
    """In a network namespace, by the real iptables."""

    pytestmark = live

    def test_no_trace(self, tmp_path: Path) -> None:
        """Installed, changed and removed, in each table, the rules leave other people's as they were, counters
        included; a jump that somebody added goes with the chain."""
        said = script(
            tmp_path,
            r"""
for t in iptables-legacy ip6tables-legacy; do
    $t -t mangle -N MINE; $t -t mangle -A FORWARD -p tcp -j MINE; $t -t mangle -A MINE -j MARK --set-mark 9
    $t -A INPUT -i eth7 -m comment --comment "a \"word\"" -j DROP; $t -t raw -A OUTPUT -p 99 -j DROP
done
all() { for t in iptables-legacy ip6tables-legacy; do $t-save -c | grep -v '^#'; done; }
all >before
"$PYTHON" - <<'PY'
import subprocess
from fastfw.gateway.steer import Plan, install, remove, in_use
for plan in (Plan(), Plan(first=2, last=4, fail_open=True), Plan(table="filter", hooks=("INPUT",)),
             Plan(table="raw", hooks=("OUTPUT",), families=(6,)), Plan(answer_mark=5, except_interfaces=("lo",))):
    install(plan)
    print(subprocess.run("iptables-legacy-save; ip6tables-legacy-save", shell=True, capture_output=True, text=True)
          .stdout.count("-j NFQUEUE"), in_use())
subprocess.run("iptables-legacy -t mangle -A PREROUTING -s 9.9.9.9 -j FASTFW", shell=True, check=True)
print(remove(), remove())
PY
all | diff before - && echo same""",
        )
        assert "2 None\n2 None\n2 None\n1 None\n2 None\n['ipv4 mangle', 'ipv6 mangle'] []\nsame\n" in said

    def test_both_kinds_of_tables(self, tmp_path: Path) -> None:
        """What a daemon left in nf_tables is found by one that works with x_tables, and removed."""
        said = script(
            tmp_path,
            r"""
command -v iptables-nft >/dev/null || { echo absent; exit 0; }
"$PYTHON" - <<'PY'
from fastfw.gateway.steer import Plan, bases, install, remove
print(bases()[0])
install(Plan(program="iptables-nft"))
PY
iptables-nft-save | grep -c 'FASTFW'; fastfw run --clean; iptables-nft-save | grep -c FASTFW
""",
        )
        if "absent" in said:
            pytest.skip("iptables-nft is not installed")
        assert "iptables-legacy\n5\nremoved the rules in ipv4 mangle, ipv6 mangle\n0\n" in said

    def test_refused(self, tmp_path: Path) -> None:
        """Where iptables refuses, the error says in its words why."""
        said = script(
            tmp_path,
            "\"$PYTHON\" - <<'PY'\n"
            r"""
from fastfw.gateway.steer import Plan, SteerError, install
for plan in (Plan(program="iptables-none"), Plan(hooks=("NOWHERE",))):
    try:
        install(plan)
    except SteerError as error:
        print("refused", error)
PY
ours""",
        )
        assert "refused iptables-none is not installed\nrefused iptables-legacy-restore: " in said
