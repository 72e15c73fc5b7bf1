"""`fastfw run` on real traffic, in a network namespace of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("msgspec")

from gateway.namespaced import RULES, live, script

pytestmark = live

TALK = r"""
"$PYTHON" - <<'PY'
import socket
def say(name, ask):
    try:
        ask(); print(name, "ok")
    except OSError as error:
        print(name, type(error).__name__)
server = socket.create_server(("127.0.0.1", 7000))
say("allowed", lambda: socket.create_connection(("127.0.0.1", 7000), timeout=20))
say("reset", lambda: socket.create_connection(("127.0.0.1", 7001), timeout=20))
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.connect(("127.0.0.1", 7002)); udp.settimeout(20); udp.send(b"x")
say("unreachable", lambda: udp.recv(10))
other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
other.connect(("127.0.0.1", 7003)); other.settimeout(0.5); other.send(b"x")
say("dropped", lambda: other.recv(10))
PY
"""


def test_rules_decide_and_answers_go_out(tmp_path: Path) -> None:
    """What the rules accept passes, REJECT is answered by a reset or an ICMP error, the rest is dropped in silence; the
    machine is left as it was found and the connection is kept."""
    said = script(tmp_path, "start --rules rules --queue 5:6 --state state\n" + TALK + "stop; ours; cat log")
    assert "allowed ok\nreset ConnectionRefusedError\nunreachable ConnectionRefusedError\ndropped TimeoutError" in said
    assert "stopped 0\n0\n0\n" in said
    assert "event=state_saved" in said
    assert (tmp_path / "state").exists()
    assert not (tmp_path / "control").exists()


RULES6 = RULES.replace("-p icmp -j ACCEPT", "-p ipv6-icmp -j ACCEPT").replace(
    "-A INPUT -p udp",
    "-A INPUT -p tcp -m tcp --dport 7004 -j REJECT --reject-with icmp6-adm-prohibited\n-A INPUT -p udp",
)


def test_answers_in_ipv6(tmp_path: Path) -> None:
    """IPv6's REJECT answers by resets and ICMPv6 errors that programs take: refused, or administratively prohibited."""
    (tmp_path / "rules6").write_text(RULES6)
    talk = (
        TALK.replace("AF_INET,", "AF_INET6,")
        .replace("127.0.0.1", "::1")
        .replace('create_server(("::1", 7000))', 'create_server(("::1", 7000), family=socket.AF_INET6)')
    )
    talk = talk.replace(
        "udp = ", 'say("prohibited", lambda: socket.create_connection(("::1", 7004), timeout=20))\nudp = '
    )
    said = script(tmp_path, "start --rules6 rules6\n" + talk + "fastfw ip6tables -L INPUT -v -n; stop; ours")
    assert "allowed ok\nreset ConnectionRefusedError\nprohibited PermissionError\n" in said
    assert "unreachable ConnectionRefusedError\ndropped TimeoutError\n" in said
    assert re.search(r"^ +1 +\d+ REJECT .* tcp dpt:7004 reject-with icmp6-adm-prohibited$", said, re.MULTILINE)
    assert said.endswith("stopped 0\n0\n0\n")


def test_origin_commands(tmp_path: Path) -> None:
    """The origin's commands work word for word against the daemon, and are listed as iptables lists them."""
    commands = (
        "iptables -t filter -I INPUT -d 172.16.6.61 -p tcp -m multiport --dports 22,80 -m state --state NEW,ESTABLISHED"
        " -j ACCEPT",
        "iptables -t filter -I OUTPUT -s 172.16.6.61 -p tcp -m state --state NEW,ESTABLISHED -j ACCEPT",
    )
    text = "start --rules rules\n" + "".join(f"fastfw {command}; echo $?\n" for command in commands)
    text += "fastfw iptables-save | grep -v ^# >ours; fastfw iptables -S >spec; fastfw iptables -L -n >list; stop\n"
    text += (
        "iptables-legacy-restore <ours; iptables-legacy-save -t filter | grep -v ^# | sed 's/\\[.*\\]/[0:0]/' >real\n"
    )
    text += "sed 's/\\[.*\\]/[0:0]/' ours | diff real -\n"
    text += "iptables-legacy -S | diff - spec; iptables-legacy -L -n | diff - list; echo same"
    assert "0\n0\nstopped 0\nsame" in script(tmp_path, text)


def test_killed_daemon_leaves_nothing_that_clean_does_not_find(tmp_path: Path) -> None:
    """After kill -9 the rules stand and nothing passes; `--clean` takes them away, and a second time finds nothing."""
    said = script(
        tmp_path,
        "start --rules rules; kill9; ours\n"
        "ping -c1 -W1 127.0.0.1 >/dev/null || echo closed\n"
        "fastfw run --clean; ours; fastfw run --clean; ping -c1 -W1 127.0.0.1 >/dev/null && echo open",
    )
    assert (
        "6\n6\nclosed\nremoved the rules in ipv4 mangle, ipv6 mangle\n0\n0\nthere was nothing to remove\nopen" in said
    )


def test_restart_after_kill(tmp_path: Path) -> None:
    """A daemon that starts where another was killed replaces its rules and its socket."""
    said = script(
        tmp_path,
        "start --rules rules; kill9; start --rules rules; ours\n"
        "ping -c1 -W5 127.0.0.1 >/dev/null && echo passes; stop; ours",
    )
    assert "6\n6\npasses\nstopped 0\n0\n0" in said


def test_second_daemon(tmp_path: Path) -> None:
    """A second daemon is refused, on the same queue and on another, and takes nothing of the first one's away; nor does
    --clean."""
    said = script(
        tmp_path,
        "start --rules rules\n"
        "fastfw run --control other --queue 0; echo $?; fastfw run --control other --queue 9; echo $?\n"
        "fastfw run --clean; echo $?; ours; ping -c1 -W5 127.0.0.1 >/dev/null && echo passes; stop",
    )
    assert "queue 0: another program has it" in said
    assert "another daemon serves queue 0 here" in said
    assert "a daemon serves queue 0 here: stop it first\n2\n6\n6\npasses\nstopped 0" in said


def test_without_iptables(tmp_path: Path) -> None:
    """On a machine without iptables the daemon says so and leaves nothing."""
    said = script(tmp_path, 'PATH=/nowhere "$PYTHON" -m fastfw run --rules rules --control c; echo $?')
    assert "iptables is not installed" in said
    assert said.endswith("2\n")


RELOADS = r"""
cat >reloads.py <<'PY'
import os, signal, socket, subprocess, sys, threading, time
from fastfw.gateway.client import Client

server = socket.create_server(("127.0.0.1", 7000))
def answer(made):
    while came := made.recv(65536):
        made.sendall(came)
def serve():
    while True:
        threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()
threading.Thread(target=serve, daemon=True).start()
talks = [socket.create_connection(("127.0.0.1", 7000), timeout=20) for _ in range(3)]

def echo(wait=20):
    alive = 0
    for talk in talks:
        talk.settimeout(wait)
        try:
            talk.sendall(b"x")
            alive += talk.recv(10) == b"x"
        except OSError:
            pass
    return alive

def entries():
    listing = "conntrack -L -p tcp --dport 7000 -o id".split()
    text = subprocess.run([sys.executable, "-m", "fastfw", *listing], capture_output=True, text=True).stdout
    return sorted((line[line.index("src="):line.index("mark=")], line.split("id=")[1]) for line in text.splitlines())

def new():
    try:
        socket.create_connection(("127.0.0.1", 7000), timeout=0.7).close()
        return "let in"
    except OSError:
        return "kept out"

def ask(verb, **options):
    with Client("control") as client:
        return list(client.ask(verb, options=options))[-1].status

print("at first", echo(), new())
before = entries()
CLOSED = "*filter\n:INPUT DROP\n-A INPUT -m state --state ESTABLISHED -j ACCEPT\nCOMMIT\n"
OPEN = CLOSED.replace("COMMIT", "-A INPUT -p tcp --dport 7000 -j ACCEPT\nCOMMIT")
went, over = [0], threading.Event()
def chatter():  # packets all the while
    while not over.is_set():
        talks[0].sendall(bytes(100))
        left = 100
        while left:
            left -= len(talks[0].recv(left))
        went[0] += 1
busy = threading.Thread(target=chatter, daemon=True)
busy.start()
for number in range(20):
    open("rules", "w").write((OPEN, CLOSED)[number % 2])
    assert ask("reload") == 0
    time.sleep(0.02)
at = went[0]
time.sleep(1)
over.set()
busy.join(20)
print("in the midst", not busy.is_alive(), went[0] > at > 20)
print("closed", echo(), new(), before == [entry for entry in entries() if entry in before] and len(before) >= 3)
os.kill(int(os.environ["DAEMON"]), signal.SIGHUP)
time.sleep(1)
print("by signal", echo())
open("rules", "w").write("bad\n")
print("broken", ask("reload"), echo(), new())
open("rules", "w").write(CLOSED)
print("judged anew", ask("reload", rejudge=True), echo(0.7), entries())
PY
"""


def test_reload_keeps_connections(tmp_path: Path) -> None:
    """Twenty reloads in the midst of traffic lose none of its connections, which are the same entries afterwards,
    though the new rules would let none begin; a broken ruleset changes nothing and is told with its place; those judged
    anew end."""
    said = script(
        tmp_path,
        RELOADS + "printf \"rules.ipv4 = 'rules'\ncontrol.socket = 'control'\n"
        'conntrack.settings = { nf_conntrack_tcp_loose = 0 }\n" >f.toml; start -c f.toml; export DAEMON=$daemon\n'
        'timeout 100 "$PYTHON" reloads.py; grep -c event=reloaded log; grep -e reload_failed -e rejudged log; stop',
    )
    assert "at first 3 let in\nin the midst True True\nclosed 3 kept out True\nby signal 3\n" in said
    assert "broken 2 3 kept out\njudged anew 0 0 []\n22\n" in said
    assert "rules:1:1: expected a table" in said
    assert re.search(r"event=rejudged judged=[3-9] forgotten=[3-9]", said)


def test_top(tmp_path: Path) -> None:
    """`fastfw top` prints one look where there is no terminal; on one it goes on until q is pressed, and gives the
    terminal back."""
    said = script(
        tmp_path,
        "start --rules rules\n" + TALK + "fastfw top -d 0.2; echo $?\n"
        "\"$PYTHON\" - <<'PY'\n"
        r"""
import os, pty, select, sys
pid, terminal = pty.fork()
if not pid:
    os.environ["COLUMNS"], os.environ["LINES"] = "60", "8"
    os.execv(sys.executable, [sys.executable, "-m", "fastfw", "top", "-d", "0.2"])
shown, asked = b"", 0
while select.select([terminal], [], [], 30)[0]:
    try: came = os.read(terminal, 65536)
    except OSError: break
    if not came: break
    shown += came
    if shown.count(b"\x1b[H") >= 3 and not asked: asked = os.write(terminal, b"q")
print("ended", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print("given back", shown[:8] == b"\x1b[?1049h", shown.rstrip()[-8:] == b"\x1b[?1049l")
frame = shown.split(b"\x1b[H")[2].split(b"\x1b[J")[0].decode().splitlines()
print("fits", len(frame) <= 8 and all(len(line.removesuffix("\x1b[K")) <= 60 for line in frame), frame[0][:7])
PY
stop""",
    )
    assert "healthy  fails closed" in said
    assert re.search(r"1  IPv4 -A INPUT -p tcp -m tcp --dport 7001 -j REJECT --reject-with tcp-reset\n", said)
    assert re.search(r"\d  tcp +[A-Z]", said)
    assert "ended 0\ngiven back True True\nfits True fastfw " in said
