"""The shipped systemd unit and configuration, held to what they claim."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("msgspec")

from fastfw import TimeoutPolicy
from fastfw.gateway.config import Config, read_config
from gateway.namespaced import RULES, live, script

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "contrib" / "fastfw.service"
EXAMPLE = ROOT / "examples" / "fastfw.toml"

analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze judges units")


def settings() -> dict[str, list[str]]:
    """The unit's settings by name; one that is given several times has several values."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if line and not line.startswith(("#", "[")):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def test_unit_confines() -> None:
    """The unit leaves CAP_NET_ADMIN alone, no new privileges, some system calls, and wants signs of life."""
    given = settings()
    assert given["CapabilityBoundingSet"] == ["CAP_NET_ADMIN"]
    assert "AmbientCapabilities" not in given
    assert given["NoNewPrivileges"] == ["yes"]
    assert given["Type"] == ["notify"]
    assert int(given["WatchdogSec"][0]) > 3
    allowed, denied, _again = given["SystemCallFilter"]
    assert allowed == "@system-service"
    assert denied.startswith("~@privileged ")


@analyze
def test_unit_is_sound(tmp_path: Path) -> None:
    """systemd takes the unit without a word, and calls what it exposes little."""
    unit = tmp_path / UNIT.name  # what is beside a unit is read with it
    unit.write_text(UNIT.read_text())
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    assert UNIT.name not in said.stderr
    said = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=30", "--no-pager", str(unit)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stdout + said.stderr


def test_example_is_the_default() -> None:
    """The example configuration loads, and says of every key the default it has."""
    assert read_config(str(EXAMPLE)) == Config()


def test_example_names_every_key(tmp_path: Path) -> None:
    """Every key there is stands in the example, and what is behind # there loads too."""
    text = EXAMPLE.read_text()
    for section in Config.__struct_fields__:
        body = text.split(f"\n[{section}]")[1].split("\n[")[0]
        for key in getattr(Config(), section).__struct_fields__:
            if key not in ("settings", "timeouts"):  # tables of their own
                assert re.search(rf"^#?{key} = ", body, re.MULTILINE), f"{section}.{key}"
    whole = tmp_path / "whole.toml"
    whole.write_text(re.sub(r"^#(\[[\w.]+\]|\w+ = )", r"\1", text, flags=re.MULTILINE))
    read = read_config(str(whole))
    assert read.rules.ipv6 == "/etc/fastfw/rules.v6"
    assert read.conntrack.settings == {"nf_conntrack_max": 1000000, "nf_conntrack_tcp_loose": 0}
    assert read.told()["timeouts"] == {"patient": TimeoutPolicy("tcp", {"established": 86400})}
    assert (read.host.time_zone, read.host.queues) == (60, (5,))


def confined(test: object) -> object:
    """Marks of a test that runs a daemon."""
    for mark in live:
        test = mark(test)  # type: ignore[operator]
    return test


MANAGER = r"""
cat >manager.py <<'PY'
import os, queue, signal, socket, subprocess, sys, threading
boss = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
boss.bind("notify")
told, said = queue.Queue(), []
def listen():  # the kernel holds few datagrams for one who does not take them
    while True:
        told.put(boss.recv(4096).decode().splitlines())
threading.Thread(target=listen, daemon=True).start()
def until(word):
    while True:
        lines = told.get(timeout=60)
        said.extend(lines)
        if any(line.startswith(word) for line in lines):
            return
confined = "setpriv --bounding-set=-all,+net_admin --inh-caps=-all --no-new-privs".split()
notified = dict(os.environ, NOTIFY_SOCKET=os.path.abspath("notify"), WATCHDOG_USEC="1000000")
child = subprocess.Popen([*confined, *sys.argv[1:]], env=notified)
try:
    until("READY=1")
    print("status", next(line for line in said if line.startswith("STATUS=")))
    status = open(f"/proc/{child.pid}/status").read().splitlines()
    print("capabilities", *[line.split()[1] for line in status if line.startswith(("CapEff", "CapBnd"))])
    for _ in range(3):
        until("WATCHDOG=1")
    child.send_signal(signal.SIGHUP)
    until("RELOADING=1")
    until("READY=1")
    print("ping", subprocess.run(["ping", "-c1", "-W10", "127.0.0.1"], capture_output=True).returncode)
    for host, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
        try:
            socket.create_connection((host, 7001), timeout=20)
        except OSError as error:
            print("reset", type(error).__name__)
        udp = socket.socket(family, socket.SOCK_DGRAM)
        udp.connect((host, 7002)); udp.settimeout(20); udp.send(b"x")
        try:
            udp.recv(10)
        except OSError as error:
            print("unreachable", type(error).__name__)
    child.send_signal(signal.SIGTERM)
    until("STOPPING=1")
    print("ended", child.wait(60))
finally:
    child.kill()
PY
"""


@confined
@pytest.mark.skipif(shutil.which("iptables-nft") is None, reason="iptables-nft works with CAP_NET_ADMIN alone")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv takes capabilities away")
def test_confined(tmp_path: Path) -> None:
    """With CAP_NET_ADMIN alone the daemon serves, says so to systemd, beats, reloads and stops; its rules go with it;
    REJECT answers with resets and ICMP errors in both families."""
    (tmp_path / "rules6").write_text(RULES.replace("-p icmp", "-p ipv6-icmp"))
    said = script(
        tmp_path,
        MANAGER + '"$PYTHON" manager.py "$PYTHON" -m fastfw run --control "$FASTFW_CONTROL" --rules rules'
        " --rules6 rules6 --state state 2>log\niptables-nft-save | grep -c FASTFW; cat log",
    )
    assert "status STATUS=1 of 1 queues, 0 connections\ncapabilities 0000000000001000 0000000000001000\n" in said
    answers = "reset ConnectionRefusedError\nunreachable ConnectionRefusedError\n"
    assert f"ping 0\n{answers}{answers}ended 0\n0\n" in said
    assert "event=answers_by_queue queue=65535" in said
    assert "event=reloaded" in said
    assert "event=rules_removed" in said


def group(name: str) -> set[str]:
    """The system calls of one of systemd's groups."""
    listed = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True)
    words = [line.strip() for line in listed.stdout.splitlines() if line.startswith("    ")]
    inner = [group(word) for word in words if word.startswith("@")]
    return {word for word in words if word[0] not in "#@"}.union(*inner)


@analyze
@confined
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace lists system calls")
def test_system_calls(tmp_path: Path) -> None:
    """What the daemon and the programs it starts call, from start to stop, the unit's filter lets through."""
    script(
        tmp_path,
        'strace -f -qq -o trace "$PYTHON" -m fastfw run --control "$FASTFW_CONTROL" --rules rules --state st 2>log &\n'
        "for _ in $(seq 600); do grep -q event=started log && break; sleep 0.1; done\n"
        "ping -c1 -W20 127.0.0.1 >/dev/null; fastfw conntrack -L >/dev/null 2>&1; fastfw iptables -Z; fastfw reload\n"
        "\"$PYTHON\" -c \"from fastfw.gateway.client import Client; list(Client('control').ask('stop'))\"; wait",
    )
    assert "event=stopped" in (tmp_path / "log").read_text()
    lines = (tmp_path / "trace").read_text().splitlines()
    called = {found[1] for line in lines if (found := re.match(r"\d+ +(\w+)\(.*\) *= (?!-1 EPERM)", line))}
    assert called > {"execve", "socket", "fsync"}
    allowed, denied, again = settings()["SystemCallFilter"]
    refused = set().union(*(group(name) for name in denied.removeprefix("~").split()))
    assert called <= group(allowed) - refused | {again}
