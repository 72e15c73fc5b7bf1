"""A gateway with real programs through it, judged by the engine alone, by way of both queue drivers."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.queue_space import DRIVERS
from live import servers
from live.lab import OWN, Example, Gateway, Lab, Logged, Service, missing, wait_for
from live.told import tell

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(bool(missing()), reason=f"not installed: {', '.join(missing())}"),
]

# The first two rules are the ones the project began with.
RULES = f"""*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT DROP [0:0]
-A INPUT -d {OWN}/32 -p tcp -m multiport --dports 22,80 -m state --state NEW,ESTABLISHED -j ACCEPT
-A OUTPUT -s {OWN}/32 -p tcp -m state --state NEW,ESTABLISHED -j ACCEPT
-A INPUT -m state --state RELATED -j ACCEPT
-A OUTPUT -p icmp -m state --state RELATED -j ACCEPT
-A FORWARD -m conntrack --ctstate INVALID -j DROP
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -p tcp -m tcp --dport 21 -m conntrack --ctstate NEW -j ACCEPT
-A FORWARD -p tcp -m multiport --dports 8080,8081 -m conntrack --ctstate NEW -j ACCEPT
-A FORWARD -p udp -m udp --dport 5000 -m conntrack --ctstate NEW -j ACCEPT
-A FORWARD -p icmp -m icmp --icmp-type 8 -m conntrack --ctstate NEW -j ACCEPT
COMMIT
"""
RULES6 = """*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -p tcp -m tcp --dport 21 -m conntrack --ctstate NEW -j ACCEPT
COMMIT
"""
SERVER = "10.2.0.2"


class Place:
    """A lab with its servers and the gateway's daemon."""

    def __init__(self, place: Path, driver: str, kind: type[Gateway]) -> None:
        self.lab = Lab(place)
        try:
            self.ssh = servers.ssh(self.lab, "gateway")
            servers.web(self.lab, "gateway")
            servers.web(self.lab, "server", 8080)
            servers.ftp(self.lab, "server")
            # the server counts what it is sent, by port
            for way, port in (("--dport", 9), ("--dport", 8080), ("--sport", 999)):
                self.lab.run("server", "iptables-legacy", "-A", "INPUT", "-p", "tcp", way, str(port))
            self.daemon = kind(self.lab, driver, RULES, RULES6, helpers=("ftp",))
            self.daemon.start()
        except BaseException:
            self.lab.close()
            raise

    def seen(self, port: int) -> int:
        """TCP packets of a port counted at the server that came through the gateway."""
        saved = self.lab.run("server", "iptables-legacy-save", "-c", "-t", "filter")
        line = next(line for line in saved.splitlines() if line.endswith(f"port {port}"))
        return int(line[1:].split(":")[0])

    def client(self, *command: str, timeout: float = 60, check: bool = True) -> str:
        """Run a program in the client."""
        return self.lab.run("client", *command, timeout=timeout, check=check)

    def fetch(self, url: str, *options: str) -> bytes:
        """What curl gets of an address, empty where it gets nothing."""
        got = self.lab.place / "got"
        got.unlink(missing_ok=True)
        self.client("curl", "-s", "-m", "20", "-o", str(got), *options, url, check=False)
        return got.read_bytes() if got.exists() else b""


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The lab, once for each daemon and driver."""
    kind, driver = request.param
    made = Place(tmp_path_factory.mktemp("lab"), driver, kind)
    yield made
    made.lab.close()


def judged_by(kinds: dict[str, type[Gateway]]) -> pytest.MarkDecorator:
    """Marks of a test that is run with each of these daemons, by each driver."""
    cases = []
    for name, kind in kinds.items():
        for driver in DRIVERS:
            marks = () if isinstance(driver, str) else driver.marks
            driver = driver if isinstance(driver, str) else driver.values[0]
            cases.append(pytest.param((kind, driver), id=f"{name}-{driver}", marks=marks))
    return pytest.mark.parametrize("place", cases, indirect=True, scope="module")


by_daemon = judged_by({"run": Service})
by_both = judged_by({"run": Service, "example": Example})


@by_both
def test_ssh_and_http(place: Place) -> None:
    """The first description's two rules let ssh and http in, statefully, and nothing else."""
    assert place.client(*place.ssh, OWN, "echo through").strip() == "through"
    assert place.fetch(f"http://{OWN}/content") == servers.CONTENT
    assert place.fetch(f"http://{OWN}:8080/content", "--connect-timeout", "1") == b""
    shown = place.daemon.shown()
    assert f"dst={OWN} sport=" in shown
    assert "[ASSURED]" in shown
    counted = next(line for line in shown.splitlines() if "--dports 22,80" in line)
    assert int(counted[1:].split(":")[0]) > 20


@by_both
@pytest.mark.parametrize("host", ["10.2.0.2", "[fd02::2]"], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("mode", ["passive", "active"])
def test_ftp(place: Place, host: str, mode: str) -> None:
    """FTP's data connections pass as the helper announced them, whichever side opens them."""
    options = ["-P", "-"] if mode == "active" else []
    assert place.fetch(f"ftp://{host}/content", *options) == servers.CONTENT


@by_daemon
def test_ftp_by_address(place: Place) -> None:
    """PASV and PORT, which carry an IPv4 address, pass too; lftp lists a directory."""
    assert place.fetch(f"ftp://{SERVER}/content", "--disable-epsv") == servers.CONTENT
    assert place.fetch(f"ftp://{SERVER}/content", "--disable-eprt", "-P", "-") == servers.CONTENT
    listing = place.client("lftp", "-c", f"set net:timeout 20; open {SERVER}; ls", timeout=60)
    assert "content" in listing


@by_daemon
def test_strays(place: Place) -> None:
    """Segments that begin nothing do not reach the server."""
    before = place.seen(8080)
    stray = [place.lab.start("client", "hping3", "-q", "-c", "1", flags, "-p", "8080", SERVER)
             for flags in ("-A", "-R", "-FA", "-SA", "-FSRPAU")]  # fmt: skip
    stray += [place.lab.start("client", "nmap", "-n", "-Pn", "--max-retries", "0", "--host-timeout", "10", scan, "-p",
                              "8080", SERVER) for scan in ("-sN", "-sF", "-sX", "-sM", "-sA")]  # fmt: skip
    for process in stray:
        process.wait(60)
    assert place.seen(8080) == before
    assert place.seen(9) == 0


@by_daemon
def test_scan(place: Place) -> None:
    """A SYN scan finds what the rules let in, and nothing more."""
    found = place.client("nmap", "-n", "-Pn", "-sS", "--reason", "--max-retries", "3", "-p", "9,21,22,8080", SERVER)
    ports = [line.split() for line in found.splitlines() if "/tcp" in line]
    open_ports = {words[0].split("/")[0] for words in ports if words[1] == "open"}
    assert open_ports == {"21", "8080"}, found
    assert place.seen(9) == 0


@by_daemon
def test_pings(place: Place) -> None:
    """An echo passes and its answer comes back; the server's word that nobody takes a datagram is RELATED."""
    assert " 0% packet loss" in place.client("ping", "-c", "2", "-i", "0.2", "-W", "10", SERVER)
    # the word reaches a program that asks its socket: the second datagram fails
    ask = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(20)\n"
        f"s.connect(('{SERVER}', 5000)); s.send(b'x')\n"
        "try: s.recv(1)\nexcept ConnectionRefusedError: print('refused')"
    )
    assert place.client(sys.executable, "-c", ask).strip() == "refused"


@by_daemon
def test_path_mtu(place: Place) -> None:
    """The gateway's word that a segment is too long for the next link is RELATED: what is sent on arrives."""
    got = place.lab.place / "uploaded"
    place.lab.start("server", "socat", "-u", "TCP-LISTEN:8081,reuseaddr", f"CREATE:{got}")
    assert wait_for(lambda: place.lab.listens("server", 8081))
    place.lab.run("gateway", "ip", "link", "set", "right", "mtu", "1300")
    try:
        sent = place.lab.place / "sent"
        sent.write_bytes(servers.CONTENT)
        place.client("socat", "-u", f"FILE:{sent}", f"TCP:{SERVER}:8081")
        assert wait_for(lambda: got.stat().st_size == len(servers.CONTENT))
        told = next(line for line in place.daemon.shown().splitlines() if "-A OUTPUT -p icmp" in line)
        assert int(told[1:].split(":")[0]) > 0
    finally:
        place.lab.run("gateway", "ip", "link", "set", "right", "mtu", "1500")


@by_daemon
def test_fragments(place: Place) -> None:
    """A datagram in pieces passes whole where the rules let it, and not at all where they do not."""
    got = {port: place.lab.place / f"datagram-{port}" for port in (5000, 5001)}
    for port, path in got.items():
        place.lab.start("server", "socat", "-u", f"UDP-RECV:{port}", f"CREATE:{path}")
    assert wait_for(lambda: place.lab.run("server", "ss", "-Hlnu").count(":500") == 2)
    for port in (5001, 5000):
        sent = place.lab.place / "sent"
        sent.write_bytes(servers.CONTENT[:7000])
        place.client("socat", "-u", "-b", "8000", f"FILE:{sent}", f"UDP-SENDTO:{SERVER}:{port}")
    assert wait_for(lambda: got[5000].exists() and got[5000].stat().st_size == 7000)
    assert not got[5001].exists() or got[5001].stat().st_size == 0


def session(place: Place) -> Logged:
    """An ssh session that stays, with a program in it that answers line by line."""
    process = place.lab.start("client", *place.ssh, OWN, "cat")
    assert echoes(process, "begin")
    return process


def echoes(process: Logged, word: str) -> bool:
    """Whether a session answers."""
    assert process.stdin is not None
    process.stdin.write(word + "\n")
    process.stdin.flush()
    return wait_for(lambda: word in process.log.read_text())


#: Fetches an address into a file, slowly until another file is there.
SLOW = """
import os, sys, time, urllib.request
with urllib.request.urlopen(sys.argv[1], timeout=60) as page, open(sys.argv[2], "wb", buffering=0) as file:
    while part := page.read(1 << 16):
        file.write(part)
        if not os.path.exists(sys.argv[3]): time.sleep(0.03)
"""


@by_both
@pytest.mark.parametrize("how", ["reload", "restart", "kill"])
def test_nothing_is_lost(place: Place, how: str) -> None:
    """A download and an ssh session survive a reload, a restart and a kill -9 of the daemon in their midst; what is
    stray stays out all the while."""
    shell = session(place)
    got, hurry = place.lab.place / f"download-{how}", place.lab.place / f"hurry-{how}"
    hurry.unlink(missing_ok=True)
    url = f"http://{SERVER}:8080/long"
    download = place.lab.start("client", sys.executable, "-c", SLOW, url, str(got), str(hurry))
    assert wait_for(lambda: got.exists() and got.stat().st_size > 0)
    if how == "reload":
        place.daemon.rules[0].write_text(
            RULES.replace("--ctstate INVALID", "--ctstate INVALID -m comment --comment new")
        )
        place.daemon.send(signal.SIGHUP)
        assert wait_for(lambda: "reloaded" in place.daemon.log())
        assert got.stat().st_size < len(servers.LONG), "it was not in the midst"
        assert "--comment new" in place.daemon.shown()
    else:
        saved = place.daemon.state
        before = saved.stat().st_mtime_ns if saved.exists() else 0
        # what is killed has what it last saved
        assert wait_for(lambda: saved.exists() and saved.stat().st_mtime_ns > before)
        place.daemon.stop(signal.SIGTERM if how == "restart" else signal.SIGKILL)
        assert got.stat().st_size < len(servers.LONG), "it was not in the midst"
        place.daemon.start()
        at = got.stat().st_size
        assert at < len(servers.LONG), "it was not in the midst"
        assert wait_for(lambda: got.stat().st_size > at)
    forged = [place.lab.start("client", "hping3", "-q", "-c", "1", flags, "-s", "999", "-p", "8080", SERVER)
              for flags in ("-A", "-R", "-FA")]  # fmt: skip
    for process in forged:
        process.wait(60)
    assert place.seen(999) == 0
    hurry.touch()
    assert download.wait(120) == 0
    assert got.read_bytes() == servers.LONG
    assert echoes(shell, "after")
    shell.kill()


@by_daemon
def test_listings(place: Place) -> None:
    """`fastfw conntrack -L` and `fastfw iptables -L -v -n` print the table and the counters; `fastfw conntrack -E`
    tells of what comes."""
    daemon = place.daemon
    assert isinstance(daemon, Service)
    events = place.lab.start("gateway", sys.executable, "-m", "fastfw", "conntrack", "--control", daemon.socket, "-E")
    shell = session(place)
    table = daemon.ask("conntrack", "-L", "-p", "tcp", "--dport", "22")
    assert f"src=10.1.0.2 dst={OWN} sport=" in table
    assert "flow entries have been shown." in table
    counters = daemon.ask("iptables", "-L", "-v", "-n")
    first = next(line for line in counters.splitlines() if "multiport dports 22,80" in line)
    assert int(first.split()[0]) > 5
    new = f"[NEW] tcp      6 120 SYN_SENT src=10.1.0.2 dst={OWN}"

    def told() -> bool:
        place.fetch(f"http://{OWN}/content")
        return new in events.log.read_text()

    assert wait_for(told)
    shell.kill()
    events.kill()
    tell(f"fastfw conntrack -L -p tcp --dport 22 ({daemon.driver})", table)
    tell(f"fastfw iptables -L -v -n ({daemon.driver})", counters)


@by_daemon
def test_spoofed_reset(place: Place) -> None:
    """A forged reset that does not hit the sequence number ends no connection, on the gateway or behind it."""
    shell = session(place)
    ports = [word.split(":")[-1] for word in place.client("ss", "-Hnt", "dst", OWN).split() if "10.1.0.2:" in word]
    assert ports
    before = place.seen(8080)
    for port in ports:
        forged = ["-R", "-M", "1", "-a", "10.1.0.2", "-s", port, "-p", "22", OWN]
        place.lab.run("server", "hping3", "-q", "-c", "1", *forged, check=False, timeout=20)
    assert echoes(shell, "alive")
    assert place.seen(8080) == before
    shell.kill()


@by_daemon
def test_ftp_without_helper(place: Place) -> None:
    """Without the helper no data connection is let in, in either mode or family."""
    place.daemon.stop()
    helpers, place.daemon.helpers = place.daemon.helpers, ()
    place.daemon.start()
    try:
        assert place.fetch(f"ftp://{SERVER}/content", "-m", "2") == b""
        assert place.fetch("ftp://[fd02::2]/content", "-m", "2", "-P", "-") == b""
    finally:
        place.daemon.stop()
        place.daemon.helpers = helpers
        place.daemon.start()
