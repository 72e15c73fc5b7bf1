"""What goes wrong around a running daemon: each fault has an outcome and a line in the log."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("msgspec")

from gateway.namespaced import live, script

pytestmark = live

FLOOD = r"""
flood() {  # COUNT datagrams to a port of this host
    "$PYTHON" -c "
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for n in range(int(sys.argv[1])):
    s.sendto(bytes(100), ('127.0.0.1', 9000))" "$1"
}
config() { printf "rules.ipv4 = 'rules'\ncontrol.socket = 'control'\n$1\n" >f.toml; start -c f.toml; }
"""


def test_fail_closed(tmp_path: Path) -> None:
    """By default nothing passes where the daemon was killed, nor beyond its queue where it hangs."""
    said = script(
        tmp_path,
        FLOOD + "config 'queue.length = 16'; passes; kill -STOP $daemon; flood 50; passes 1; kill -CONT $daemon\n"
        "logged event=packets_lost; passes; kill9; passes 1; grep packets_lost log",
    )
    assert "passes\nclosed\n1\npasses\nclosed\n" in said
    lost = re.search(r"event=packets_lost queue=0 queue_full=(\d+)\n", said)
    assert lost is not None
    assert int(lost[1]) >= 50 - 16


def test_fail_open(tmp_path: Path) -> None:
    """Where it is to fail open, packets pass unjudged where the daemon was killed, and beyond its queue where it hangs;
    while it runs it judges."""
    said = script(
        tmp_path,
        FLOOD + "printf '*filter\\n:INPUT DROP\\n-A INPUT -p udp -j ACCEPT\\nCOMMIT\\n' >rules\n"
        "config 'queue = { length = 16, fail_open = true }'; passes 1; kill -STOP $daemon; flood 50; passes\n"
        "kill -CONT $daemon; sleep 1; passes 1; kill9; passes; grep event=started log",
    )
    assert "closed\npasses\nclosed\npasses\n" in said
    assert "fail=open" in said


def test_full_socket(tmp_path: Path) -> None:
    """What finds the socket full is lost, told of and counted; the queue goes on."""
    said = script(
        tmp_path,
        FLOOD + "config 'queue = { length = 65536, receive_buffer = 65536 }'\n"
        "kill -STOP $daemon; flood 3000; kill -CONT $daemon; logged event=packets_lost; passes; grep packets_lost log",
    )
    assert "passes\n" in said
    assert re.search(r"event=packets_lost queue=0 socket_full=[1-9]\d+\n", said)


def test_interface_goes(tmp_path: Path) -> None:
    """Packets that wait while their interface goes are the kernel's to drop: the verdicts it refuses are told of, and
    the queue goes on."""
    said = script(
        tmp_path,
        "ip link add gone type veth peer name other; ip addr add 10.9.0.1/24 dev gone; ip link set gone up\n"
        "ip link set other up; start --rules rules\n"
        "ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:01 dev gone\n"
        "kill -STOP $daemon; ping -c1 -W1 10.9.0.2 >/dev/null; ip link del gone; kill -CONT $daemon\n"
        "logged event=packets_lost; passes; grep packets_lost log",
    )
    assert "passes\n" in said
    assert re.search(r"event=packets_lost queue=0 verdicts_refused=[1-9]\d*\n", said)


DEAD_QUEUE = r"""
"$PYTHON" - <<'PY'
import os, subprocess, time
from fastfw.gateway.config import Config, ControlSection, RulesSection
from fastfw.gateway.daemon import Daemon
from fastfw.gateway.log import Log

def ping(wait):
    return subprocess.run(["ping", "-c1", f"-W{wait}", "127.0.0.1"], capture_output=True).returncode == 0

def until(what):
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)

rules, control = RulesSection(ipv4="rules"), ControlSection(socket="control")
daemon = Daemon(Config(rules=rules, control=control), log=Log(file=open("log", "w", buffering=1)))
daemon.start()
print("before", ping(20))
worker = daemon.workers[0]
dead = os.open(os.devnull, os.O_RDONLY)
os.dup2(dead, worker._queue.fileno())  # the kernel takes the queue away, the driver's next receive fails
ping(1)  # what wakes it
until(lambda: worker.failures == 1 and worker.serving)
print("after", ping(20), daemon.healthy)
daemon.stop()
PY
cat log
"""


def test_queue_dies(tmp_path: Path) -> None:
    """A queue that fails is told of and opened anew, and packets pass again."""
    said = script(tmp_path, DEAD_QUEUE)
    assert "before True\nafter True True\n" in said
    assert re.search(r"level=error event=queue_failed queue=0 error=\"queue 0: Socket operation on non-socket\"", said)
    assert "event=queue_opened queue=0" in said


def test_broken_configuration(tmp_path: Path) -> None:
    """At a start it is one line and status 2, and nothing is touched; at a reload the old one stays in force."""
    said = script(
        tmp_path,
        FLOOD + "printf '[queue]\\nlenght = 3\\n' >f.toml; fastfw run -c f.toml; echo $?; ours\n"
        "config ''; echo 'control.mode = 9999' >>f.toml; fastfw reload; echo $?; kill -HUP $daemon; sleep 1\n"
        "passes; grep -c event=reload_failed log; grep event=reload_failed log; rm f.toml; fastfw reload; echo $?",
    )
    assert "fastfw: f.toml:2: queue.lenght: no such key: one of driver, first," in said
    assert "2\n0\n0\n" in said
    assert "fastfw: f.toml:4: control.mode: expected `int` <= 511" in said
    assert "2\npasses\n2\n" in said
    assert 'effect="the old configuration stays in force"' in said
    assert said.endswith("fastfw: f.toml: No such file or directory\n2\n")


def test_full_disk(tmp_path: Path) -> None:
    """On a full disk the old state stays, whole, packets go on being judged, and it is said; with room again the state
    is saved. A log that cannot be written holds nothing up."""
    said = script(
        tmp_path,
        FLOOD + "mkdir disk; mount -t tmpfs -o size=64k none disk; passes\n"
        "config \"state = { file = 'disk/state', interval = 0.2 }\"; passes; logged event=state_saved >/dev/null\n"
        "head -c 1M /dev/zero >disk/filler 2>/dev/null; cp disk/state before\n"
        "flood 200; logged event=state_not_saved >/dev/null; cmp disk/state before && echo whole; passes\n"
        "grep -m1 event=state_not_saved log; ls -A disk; : >log; rm disk/filler; logged event=state_saved >/dev/null\n"
        "stop; head -c 1M /dev/zero >disk/filler 2>/dev/null\n"
        "mv log old; ln -s disk/filler log; start -c f.toml; sleep 2; passes; stop",
    )
    assert "passes\npasses\nwhole\npasses\n" in said
    assert 'event=state_not_saved file=disk/state error="No space left on device"' in said
    assert "\nfiller\nstate\nstopped 0\npasses\nstopped 0\n" in said


CROWD = r"""
cat >crowd.py <<'PY'
import os, socket, subprocess, time
from fastfw.gateway.client import Client

def connect():
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.connect("control")
    return made

def count():
    with Client("control", 20) as client:
        return [reply.data for reply in client.ask("status")][-1]

def memory():
    text = open(f"/proc/{os.environ['DAEMON']}/status").read()
    return int(text.split("VmRSS:")[1].split()[0]) // 1024

def passes():
    return subprocess.run(["ping", "-c1", "-W20", "127.0.0.1"], capture_output=True).returncode == 0
PY
"""


def test_flooded_control_socket(tmp_path: Path) -> None:
    """More clients than may come are turned away with a word; garbage, half requests and endless ones are answered or
    hung up on; packets pass all the while, and whoever comes afterwards is served."""
    said = script(
        tmp_path,
        FLOOD + CROWD + "config 'control.clients = 8'; export DAEMON=$daemon\n"
        "\"$PYTHON\" - <<'PY'\n"
        r"""
from crowd import *
crowd = [connect() for _ in range(60)]
time.sleep(1)
for one in crowd: one.setblocking(False)
turned = 0
for one in crowd:
    try: turned += b"the daemon has 8 clients already" in one.recv(4096)
    except BlockingIOError: pass
print("turned away", turned, passes())
for one in crowd: one.close()
time.sleep(0.5)
garbage = connect()
garbage.sendall(b"\0\xff{]\n" * 3)
garbage.settimeout(20)
print("answered", garbage.recv(65536).count(b'"status":2') > 0)
half = connect(); half.sendall(b'{"v":1,"verb":')
endless = connect()
try:
    for _ in range(200): endless.sendall(bytes(1 << 20))
    print("endless")
except OSError as error:
    print("hung up", type(error).__name__)
print("served", count()["control_refused"] == turned, passes(), memory() < 400)
many = connect()
many.sendall(b'{"v":1,"verb":"status"}\n' * 20000)
print("served", count()["healthy"], passes())
PY
grep -m1 -o "event=control_refused reason=clients" log; grep -o "event=control_flooded" log
""",
        "*filter\n:INPUT ACCEPT\nCOMMIT\n",
    )
    assert "turned away 52 True\nanswered True\nhung up " in said
    assert "served True True True\nserved True True\n" in said
    assert "event=control_refused reason=clients\nevent=control_flooded\n" in said


def test_slow_reader(tmp_path: Path) -> None:
    """One who asks for a long table or for events and does not read is not waited for, and what waits for him is
    bounded; others are served and packets pass."""
    said = script(
        tmp_path,
        FLOOD + CROWD + "config ''; export DAEMON=$daemon\n"
        "\"$PYTHON\" - <<'PY'\n"
        r"""
from crowd import *
import struct
from fastfw import Engine
from fastfw.core.snapshot import entries
engine = Engine(settings={"nf_conntrack_udp_timeout": 600})
engine.expire()
for port in range(1, 60001):
    datagram = struct.pack(">HHHH", port, 53, 8, 0)
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 28, 0, 0, 64, 17, 0, bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]))
    total = sum(struct.unpack(">10H", head))
    engine.decide(head[:10] + (0xffff - (total % 0xffff)).to_bytes(2, "big") + head[12:] + datagram, now=engine.now)
table, numbers, _ = entries(engine)
with Client("control", 60) as client:
    for _ in client.ask("insert", rows=table.tobytes(), numbers=numbers.tobytes()):
        pass
    print("entered", _.data["entered"])
before = memory()
slow = [connect() for _ in range(5)]
for one in slow: one.sendall(b'{"v":1,"verb":"table"}\n' * 50)
follower = connect(); follower.sendall(b'{"v":1,"verb":"events","options":{"seconds":60}}\n')
time.sleep(2)
began = time.monotonic()
print("served", count()["connections"] > 59000, time.monotonic() - began < 10, passes())
grown = memory() - before
print("bounded", grown < 150, grown if grown >= 150 else "")
for one in slow: one.close()
print("served", count()["control_clients"] <= 3, passes())
PY
""",
        "*filter\n:INPUT ACCEPT\nCOMMIT\n",
    )
    assert "entered 60000\nserved True True True\nbounded True \nserved True True\n" in said
