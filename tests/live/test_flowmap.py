"""Connections that skip the queue by a flow map, on real traffic: which do, and what brings them back."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator

import pytest

from live.lab import Service, missing, wait_for
from live.test_bypass import OPEN, SERVER, SERVER6, Download, Place

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(bool(missing()), reason=f"not installed: {', '.join(missing())}"),
]

#: Asks all the while, and says how many answers came; "pause" on standard input lets it rest until "go".
TALK = """
import select, socket, sys, time
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
udp = socket.socket(family, socket.SOCK_DGRAM); udp.connect((sys.argv[1], 5000)); udp.settimeout(0.2)
print("port", udp.getsockname()[1], flush=True)
came, told = 0, 0.0
while True:
    if select.select([sys.stdin], [], [], 0.001)[0] and sys.stdin.readline() == "pause\\n": sys.stdin.readline()
    try: udp.send(b"x"); udp.recv(10); came += 1
    except OSError: pass
    if time.monotonic() > told + 0.1:
        told = time.monotonic(); print("came", came, flush=True)
"""


class Mapped(Service):
    """`fastfw run` beside a BPF file system, which what it starts finds, too."""

    beside: tuple[str, ...] = ()
    """What runs a command there."""

    def start(self) -> None:
        place = self.lab.place / "bpf"
        if not self.beside:
            place.mkdir()
            mounted = f"mount -t bpf fastfw {place} && echo there && exec sleep infinity"
            holder = self.lab.start("gateway", "unshare", "--mount", "sh", "-c", mounted)
            assert wait_for(lambda: "there" in holder.log.read_text())
            self.beside = ("nsenter", f"--mount=/proc/{holder.pid}/ns/mnt")
        process = self.process = self.lab.start("gateway", *self.beside, sys.executable, *self.command())
        assert wait_for(lambda: self.READY in self.log() or process.poll() is not None), self.log()
        assert process.poll() is None, self.log()


class MapPlace(Place):
    """The lab with a daemon by whose flow map connections skip the queue."""

    def make(self) -> Service:
        self.mapped = made = Mapped(self.lab, "nfqueue", OPEN, OPEN)
        made.further = f"bypass = {{ mode = 'on', map = '{self.lab.place}/bpf/fastfw' }}\n"
        return made

    def programs(self) -> list[str]:
        """What is on the BPF file system."""
        asked = ("find", str(self.lab.place / "bpf"), "-path", "*/fastfw/*")
        listed = self.lab.run("gateway", *self.mapped.beside, *asked)
        return [line for line in listed.splitlines() if line]

    def ruled(self) -> int:
        """How many rules name a program, of both families."""
        rules = "".join(self.lab.run("gateway", f"{name}-legacy-save") for name in ("iptables", "ip6tables"))
        return rules.count("--object-pinned") if "FASTFW" in rules else -1


class Talk:
    """A client that has datagrams echoed all the while."""

    def __init__(self, place: Place, host: str = SERVER) -> None:
        self.process = place.lab.start("client", sys.executable, "-c", TALK, host)
        assert wait_for(lambda: "port " in self.said())
        self.port = self.said().split("port ")[1].split()[0]

    def said(self) -> str:
        return self.process.log.read_text()

    def came(self) -> int:
        """Answers by now."""
        words = self.said().split()
        return int(words[-1]) if words[-2:-1] == ["came"] else 0

    def goes_on(self) -> bool:
        """Whether answers come."""
        before = self.came()
        return wait_for(lambda: self.came() > before + 20, 10)

    def stands(self) -> bool:
        """Whether none come."""

        def quiet() -> bool:
            before = self.came()
            time.sleep(1)
            return self.came() == before

        return wait_for(quiet, 5)

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def skips(self, place: Place) -> bool:
        """Whether its datagrams pass by the queue."""

        def once() -> bool:
            judged, before = place.queued(), self.came()
            assert wait_for(lambda: self.came() > before + 200)
            return place.queued() - judged < 20

        return wait_for(once)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MapPlace]:
    """The lab, once."""
    made = MapPlace(tmp_path_factory.mktemp("map"))
    yield made
    print(made.daemon.log())
    made.lab.close()


@pytest.mark.parametrize("host", [SERVER, SERVER6])
def test_skips(place: MapPlace, host: str) -> None:
    """Datagrams skip the queue once they are a stream, and no connection is tracked by the kernel for it."""
    talk = Talk(place, host)
    assert talk.skips(place)
    found = place.connection(talk.port)
    assert found is not None
    assert found.assured
    assert not place.lab.run("gateway", "cat", "/proc/net/nf_conntrack")
    talk.close()


def test_brought_back(place: MapPlace) -> None:
    """Rules that drop them stop datagrams at once, a deleted connection is judged anew, and each skips again when that
    is over."""
    talk = Talk(place)
    assert talk.skips(place)
    place.iptables("-I", "FORWARD", "-p", "udp", "-j", "DROP")
    assert talk.stands()
    place.iptables("-D", "FORWARD", "1")
    assert talk.skips(place)
    revoked, judged = place.status()["bypass_revoked"], place.queued()
    place.daemon.ask("conntrack", "-D", "-p", "udp", "--sport", talk.port)
    assert place.status()["bypass_revoked"] == revoked + 1
    assert talk.skips(place)
    assert place.queued() > judged + 4
    talk.close()


def test_windows(place: MapPlace) -> None:
    """TCP, whose windows nobody would hold, does not skip; where none are held it does, and its end is seen."""
    held = Download(place)
    assert held.flows()
    judged, passed = place.queued(), place.forwarded()
    assert wait_for(lambda: place.forwarded() > passed + 500)
    assert place.queued() - judged > 300
    place.ask("settings", "nf_conntrack_tcp_be_liberal=1")
    assert held.skips()
    held.close()

    def over() -> bool:
        found = place.connection(held.port)
        return found is not None and found.state == "TIME_WAIT"

    assert wait_for(over)
    place.ask("settings", "nf_conntrack_tcp_be_liberal=0")


@pytest.mark.long
def test_is_kept_and_ends(place: MapPlace) -> None:
    """What skips is kept for as long as datagrams come; once none has come for its time it is over here and in the map:
    an answer out of nowhere is not let in."""
    place.ask("settings", "nf_conntrack_udp_timeout_stream=21")
    talk = Talk(place)
    assert talk.skips(place)
    judged = place.queued()
    time.sleep(25)
    assert place.connection(talk.port) is not None
    assert place.queued() - judged < 100
    talk.tell("pause")
    assert wait_for(lambda: place.connection(talk.port) is None, 40)
    dropped = place.status()["queues"]["0"]["dropped"]
    stray = ("hping3", "-q", "-2", "-c", "1", "-k", "-s", "5000", "-p", talk.port, "10.1.0.2")
    place.lab.run("server", *stray, check=False, timeout=20)
    assert wait_for(lambda: place.status()["queues"]["0"]["dropped"] > dropped)
    talk.tell("go")
    assert talk.goes_on()
    talk.close()
    place.ask("settings", "nf_conntrack_udp_timeout_stream=120")


def test_killed_and_stopped(place: MapPlace) -> None:
    """A killed daemon leaves alone what skipped the queue, and the next one brings it back; `--clean` takes rules and
    programs away, and so does one that stops."""
    talk = Talk(place)
    assert talk.skips(place)
    assert place.ruled() > 0
    first = place.programs()
    place.daemon.stop(signal.SIGKILL)
    assert talk.goes_on()
    place.daemon.start()
    assert talk.skips(place)
    assert first
    assert not set(first) & set(place.programs())
    place.daemon.stop(signal.SIGKILL)
    assert talk.goes_on()
    place.lab.run("gateway", *place.mapped.beside, sys.executable, "-m", "fastfw", "run", "--clean")
    assert place.ruled() < 0
    assert not place.programs()
    place.daemon.start()
    assert talk.skips(place)
    place.daemon.stop()
    assert place.ruled() < 0
    assert not place.programs()
    talk.close()
