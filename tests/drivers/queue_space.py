"""A network namespace with a queue on its loopback device, and what the tests' programs have in common."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import textwrap

import pytest

live = [
    pytest.mark.live,
    pytest.mark.skipif(os.geteuid() != 0, reason="live queues need root"),
    pytest.mark.skipif(shutil.which("iptables-legacy") is None, reason="live queues need iptables-legacy"),
]

DRIVERS = [
    "nfqueue",
    pytest.param(
        "netfilterqueue",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("netfilterqueue") is None, reason="the NetfilterQueue package is not installed"
        ),
    ),
]

PROLOGUE = """
import json, os, select, socket, subprocess, threading, time
import fastfw
from fastfw.drivers.DRIVER import Queue, QueueError

def shell(command):
    subprocess.run(command, shell=True, check=True)

shell("ip link set lo up")
for chain in ("INPUT -p udp", "INPUT -p tcp"):
    shell(f"iptables-legacy -A {chain} -j NFQUEUE --queue-num 3")
RULES = '''*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
-A INPUT -i lo -p udp -m udp --dport 5000 -j ACCEPT
-A INPUT -p udp -m udp --dport 5002 -j REJECT
-A INPUT -p tcp -m tcp --dport 6000 --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT
COMMIT
'''
FORWARD_RULES = '''*filter
:FORWARD DROP [0:0]
-A FORWARD -p udp -m udp --dport 5000 -j ACCEPT
COMMIT
'''
engine = fastfw.Engine(rules4=fastfw.Ruleset.parse(RULES))

def receiver(port):
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", port))
    return made

def arrives(sock, seconds=20):
    # a wait for what must not come may be short, any other is long
    sock.settimeout(seconds)
    try:
        return sock.recv(65536)
    except TimeoutError:
        return None
"""


def in_namespace(program: str, driver: str = "nfqueue") -> dict[str, object]:
    """Run a program in a new network namespace; what it prints last is its result."""
    source = PROLOGUE.replace("DRIVER", driver) + textwrap.dedent(program)
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", source], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(result, dict)
    return result
