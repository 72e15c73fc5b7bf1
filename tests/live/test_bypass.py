"""Connections that skip the queue, on real traffic: which do, and that nothing is lost by it that matters."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastfw.connection import Connection, from_entry
from fastfw.core.snapshot import ENTRY
from fastfw.gateway.client import Client
from fastfw.gateway.protocol import Reply
from live.lab import Lab, Service, missing, wait_for

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(bool(missing()), reason=f"not installed: {', '.join(missing())}"),
]

SERVER, SERVER6 = "10.2.0.2", "fd02::2"
OPEN = """*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -m conntrack --ctstate INVALID -j DROP
-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT
-A FORWARD -i left -p tcp -m tcp --dport 8080 -m conntrack --ctstate NEW -j ACCEPT
-A FORWARD -i left -p udp -m udp --dport 5000 -m conntrack --ctstate NEW -j ACCEPT
COMMIT
"""

#: A server that sends without end, and echoes datagrams.
SOURCE = """
import select, socket, threading
def feed(made):  # until the other side sends no more
    try:
        while not select.select([made], [], [], 0)[0]: made.sendall(bytes(1 << 14))
        made.close()
    except OSError: pass
def echo(udp):
    while True:
        data, where = udp.recvfrom(2048)
        udp.sendto(data, where)
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); udp.bind(("::", 5000))
threading.Thread(target=echo, args=(udp,), daemon=True).start()
tcp = socket.create_server(("::", 8080), family=socket.AF_INET6, dualstack_ipv6=True)
while True: threading.Thread(target=feed, args=(tcp.accept()[0],), daemon=True).start()
"""

#: Receives at some pace until told to end, and says how much came by now.
SINK = """
import socket, sys, time, select
made = socket.create_connection((sys.argv[1], 8080), timeout=20)
print("port", made.getsockname()[1], flush=True)
total, told, pause = 0, 0.0, float(sys.argv[2])
while True:
    if select.select([sys.stdin], [], [], pause)[0]: break
    made.settimeout(0.2)
    try: total += len(made.recv(1 << 16))
    except TimeoutError: pass
    if time.monotonic() > told + 0.1:
        told = time.monotonic(); print("got", total, flush=True)
made.shutdown(socket.SHUT_WR); made.settimeout(20)
while made.recv(1 << 16): pass
made.close(); print("closed", flush=True)
"""


class Place:
    """The lab, a source behind the gateway, and a daemon by which connections skip the queue."""

    def __init__(self, path: Path) -> None:
        self.lab = Lab(path)
        try:
            self.lab.start("server", sys.executable, "-c", SOURCE)
            assert wait_for(lambda: self.lab.listens("server", 8080))
            self.daemon = self.make()
            self.daemon.start()
        except BaseException:
            self.lab.close()
            raise

    def make(self) -> Service:
        """The daemon."""
        made = Service(self.lab, "nfqueue", OPEN, OPEN)
        made.further = "bypass.mode = 'on'\n"
        return made

    def status(self) -> dict[str, Any]:
        """The daemon's figures."""
        told: dict[str, Any] = self.ask("status")[-1].data
        return told

    def ask(self, verb: str, *args: str) -> list[Reply]:
        """The daemon's replies."""
        with Client(self.daemon.socket) as client:
            replies = list(client.ask(verb, *args))
        assert replies[-1].status == 0, replies
        return replies

    def iptables(self, *args: str) -> None:
        """Change the rules."""
        self.ask("iptables", *args)

    def queued(self) -> int:
        """Packets that came by the queue."""
        return int(self.status()["queues"]["0"]["received"])

    def forwarded(self) -> int:
        """Packets that left the gateway towards the client."""
        return int(self.lab.run("gateway", "cat", "/sys/class/net/left/statistics/tx_packets"))

    def connection(self, port: str) -> Connection | None:
        """The daemon's entry of the connection from a port of the client."""
        first, *rest = self.ask("table")
        for reply in rest:
            for row in np.frombuffer(reply.rows, ENTRY).tolist():
                found = from_entry(row, 0, first.data["now"], first.data["helpers"])
                if str(found.source_port) == port:
                    return found
        return None


class Download:
    """A connection that receives all the while."""

    def __init__(self, place: Place, host: str = SERVER, pause: float = 0) -> None:
        self.place = place
        self.process = place.lab.start("client", sys.executable, "-c", SINK, host, str(pause))
        assert wait_for(lambda: "port " in self.said())
        self.port = self.said().split("port ")[1].split()[0]

    def said(self) -> str:
        """What it printed."""
        return self.process.log.read_text()

    def got(self) -> int:
        """Bytes that came."""
        found = re.findall(r"got (\d+)\n", self.said())
        return int(found[-1]) if found else 0

    def flows(self, seconds: float = 20) -> bool:
        """Whether more comes."""
        before = self.got()
        return wait_for(lambda: self.got() > before + 200_000, seconds)

    def stands(self) -> bool:
        """Whether no more comes, once what had come by then is read."""

        def quiet() -> bool:
            at = self.got()
            time.sleep(1)
            return self.got() == at

        return wait_for(quiet, 5)

    def skips(self) -> bool:
        """Whether its packets pass by the queue: many leave the gateway, few are judged."""

        def once() -> bool:
            judged, passed = self.place.queued(), self.place.forwarded()
            assert wait_for(lambda: self.place.forwarded() > passed + 500)
            return self.place.queued() - judged < 100

        return wait_for(once)

    def close(self) -> None:
        """End it as a program does."""
        assert self.process.stdin is not None
        self.process.stdin.write("end\n")
        self.process.stdin.close()
        assert self.process.wait(30) == 0


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The lab, once."""
    made = Place(tmp_path_factory.mktemp("bypass"))
    yield made
    print(made.daemon.log())
    made.lab.close()


@pytest.mark.parametrize("host", [SERVER, SERVER6])
def test_skips_and_ends(place: Place, host: str) -> None:
    """A download skips the queue once it is established; its FINs are judged, and the table says how it ended."""
    download = Download(place, host)
    assert download.skips()
    assert download.flows()
    found = place.connection(download.port)
    assert found is not None
    assert (found.state, found.assured) == ("ESTABLISHED", True)
    download.close()

    def over() -> bool:
        found = place.connection(download.port)
        return found is not None and found.state == "TIME_WAIT"

    assert wait_for(over)


def test_replaced_rules(place: Place) -> None:
    """Rules that drop a download's packets stop it at once, though it skipped the queue; what they let pass goes on."""
    download = Download(place)
    assert download.skips()
    judged = place.queued()
    place.iptables("-I", "FORWARD", "-p", "tcp", "-j", "DROP")
    assert download.stands()
    assert place.queued() > judged
    place.iptables("-D", "FORWARD", "1")
    assert download.flows()
    assert download.skips()
    download.close()


def test_deleted(place: Place) -> None:
    """A connection that is deleted is judged anew, and stray as it is now it stays out; another goes on."""
    gone, stays = Download(place), Download(place, pause=0.01)
    assert gone.skips()
    place.daemon.ask("conntrack", "-D", "-p", "tcp", "--sport", gone.port)
    assert gone.stands()
    assert stays.flows()
    for one in (gone, stays):
        one.process.kill()


def test_strays(place: Place) -> None:
    """What the kernel's connection tracking finds invalid is so here too: a forged reset, and a forged segment, of a
    connection that skips the queue change nothing, then or after it is brought back."""
    download = Download(place)
    assert download.skips()
    for flags in ("-R", "-A", "-F"):
        forged = [flags, "-M", "1", "-L", "1", "-a", "10.1.0.2", "-s", download.port, "-p", "8080", SERVER]
        place.lab.run("client", "hping3", "-q", "-c", "3", "-i", "u1000", *forged, check=False, timeout=20)
    assert download.flows()
    place.iptables("-I", "FORWARD", "-p", "99", "-j", "DROP")
    assert download.flows()
    assert place.status()["reasons"].get("host_invalid", 0) > 0
    download.close()


TALK = """
import socket, time, sys
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.connect((sys.argv[1], 5000)); udp.settimeout(5)
print("port", udp.getsockname()[1], flush=True)
until = time.monotonic() + float(sys.argv[2])
lost = 0
while time.monotonic() < until:
    udp.send(b"x")
    try: udp.recv(10)
    except TimeoutError: lost += 1
    time.sleep(0.1)
print("lost", lost, flush=True)
"""


@pytest.mark.long
def test_is_kept(place: Place) -> None:
    """A connection that nothing is heard of, as its packets skip the queue, is kept as long as the kernel keeps it."""
    place.ask("settings", "nf_conntrack_udp_timeout_stream=21")
    talk = place.lab.start("client", sys.executable, "-c", TALK, SERVER, "30")
    said = talk.log
    assert wait_for(lambda: "port " in said.read_text())
    port = said.read_text().split()[1]
    time.sleep(5)  # until it is a stream
    began, judged = place.connection(port), place.queued()
    time.sleep(23)
    kept = place.connection(port)
    assert place.queued() - judged < 20
    assert began is not None
    assert kept is not None
    assert kept.timeout > 0
    assert talk.wait(30) == 0
    assert "lost 0" in said.read_text()
    place.ask("settings", "nf_conntrack_udp_timeout_stream=120")


def test_killed_and_stopped(place: Place) -> None:
    """A daemon that is killed leaves alone what skipped the queue; the next one brings it back to the queue first, and
    when it stops no mark is left in the kernel's table."""
    download = Download(place)
    assert download.skips()
    saved = place.daemon.state.stat().st_mtime_ns
    assert wait_for(lambda: place.daemon.state.stat().st_mtime_ns > saved)
    place.daemon.stop(signal.SIGKILL)
    assert download.flows()
    place.daemon.start()
    assert place.queued() < 1_000_000
    assert download.flows()
    assert download.skips()
    marks = re.compile(r"mark=[1-9]")
    assert marks.search(place.lab.run("gateway", "cat", "/proc/net/nf_conntrack"))
    place.daemon.stop()
    table = place.lab.run("gateway", "cat", "/proc/net/nf_conntrack")
    assert f"sport={download.port} " in table
    assert not marks.search(table)
    assert "FASTFW" not in place.lab.run("gateway", "iptables-legacy-save")
    download.process.kill()
