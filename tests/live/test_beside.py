"""The kernel's own connection tracking beside the engine, in one gateway, over real programs' traffic: the same
packets, the same answers, one by one.

The kernel's rules write what the kernel's tracking says of a packet into its mark and hand it to the daemon, whose
rules compare that with what the engine says. A packet of which the two think differently is counted and told.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from live import servers
from live.lab import OWN, Lab, Service, missing, wait_for

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(bool(missing()), reason=f"not installed: {', '.join(missing())}"),
]

SERVER, SERVER6 = "10.2.0.2", "fd02::2"
STATES = {1: "NEW", 2: "ESTABLISHED", 4: "RELATED", 8: "INVALID", 16: "UNTRACKED"}
FACTS = {32: "--ctdir REPLY", 64: "--ctstatus ASSURED", 128: "--ctstatus SEEN_REPLY", 256: "--ctstatus EXPECTED"}

#: What the kernel's rules write into marks.
WRITTEN = {bit: f"--ctstate {state}" for bit, state in STATES.items()} | FACTS

#: Seconds; short enough for connections to end while the test waits, long enough for a busy machine.
SHORT = {
    "tcp_timeout_syn_sent": 6, "tcp_timeout_syn_recv": 6, "tcp_timeout_fin_wait": 6, "tcp_timeout_close_wait": 6,
    "tcp_timeout_last_ack": 6, "tcp_timeout_time_wait": 6, "tcp_timeout_close": 6, "udp_timeout": 6,
    "udp_timeout_stream": 8, "icmp_timeout": 6, "icmpv6_timeout": 6, "generic_timeout": 6,
}  # fmt: skip


def compared() -> str:
    """The daemon's rules: whatever the kernel says and the engine does not, and the other way round, is told."""
    lines = ["*filter", ":INPUT ACCEPT [0:0]", ":FORWARD ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]", ":SAME - [0:0]",
             ":OTHER - [0:0]"]  # fmt: skip
    lines += [f"-A {chain} -j SAME" for chain in ("INPUT", "FORWARD", "OUTPUT")]
    lines += ["-A FORWARD -p tcp -m tcp --dport 9 -j DROP"]
    lines += [
        f"-A SAME -m mark --mark {bit}/31 -m conntrack ! --ctstate {state} -j OTHER" for bit, state in STATES.items()
    ]
    lines += ["-A SAME -m mark --mark 0/31 -j OTHER"]
    for bit, fact in FACTS.items():
        absent = "--ctdir ORIGINAL" if bit == 32 else f"! {fact}"
        lines += [f"-A SAME -m mark --mark 0/{bit} -m conntrack {fact} -j OTHER",
                  f"-A SAME -m mark --mark {bit}/{bit} -m conntrack {absent} -j OTHER"]  # fmt: skip
    lines += ["-A OTHER -j LOG --log-prefix differs", "COMMIT", ""]
    return "\n".join(lines)


def written() -> str:
    """The kernel's rules."""
    lines = ["*raw", "-A PREROUTING -p tcp --dport 21 -j CT --helper ftp", "COMMIT", "*mangle"]
    for chain in ("PREROUTING", "OUTPUT"):
        lines += [f"-A {chain} -m conntrack {asked} -j MARK --or-mark {bit}" for bit, asked in WRITTEN.items()]
    lines += [f"-A {chain} -j NFQUEUE --queue-num 0" for chain in ("INPUT", "FORWARD", "OUTPUT")]
    return "\n".join([*lines, "COMMIT", ""])


class Place:
    """The lab, its servers, and both trackers in the gateway."""

    def __init__(self, path: Path, settings: dict[str, int]) -> None:
        self.lab = lab = Lab(path)
        try:
            self.ssh = servers.ssh(lab, "gateway")
            servers.web(lab, "gateway")
            servers.web(lab, "server", 8080)
            servers.ftp(lab, "server")
            lab.start("server", "socat", "UDP6-RECVFROM:5000,fork,ipv6only=0", "EXEC:cat")
            (lab.place / "kernel.rules").write_text(written())
            for program in ("iptables-legacy", "ip6tables-legacy"):
                lab.run("gateway", "sh", "-c", f"{program}-restore <{lab.place}/kernel.rules")
            for name, seconds in settings.items():
                lab.run("gateway", "sysctl", "-qw", f"net.netfilter.nf_conntrack_{name}={seconds}")
            self.daemon = Service(lab, "nfqueue", compared(), compared(), helpers=("ftp",))
            self.daemon.further = "steering.install = false\nlog.packet_rate = 100\n"
            self.daemon.start()
            for name, value in {"tcp_loose": 1, **settings}.items():
                self.setting(f"nf_conntrack_{name}={value}")
        except BaseException:
            lab.close()
            raise

    def setting(self, text: str) -> None:
        """Change one of the daemon's settings."""
        from fastfw.gateway.client import Client

        with Client(self.daemon.socket) as client:
            assert list(client.ask("settings", text))[-1].status == 0

    def client(self, *command: str, timeout: float = 30) -> None:
        """Run a program in the client, whatever comes of it."""
        self.lab.run("client", *command, timeout=timeout, check=False)

    def counted(self) -> tuple[int, int]:
        """Packets compared, and those that differed."""
        text = self.daemon.ask("iptables-save", "-c") + self.daemon.ask("ip6tables-save", "-c")
        found = [
            re.findall(rf"\[(\d+):\d+\] -A {rule}", text) for rule in ("(?:INPUT|FORWARD|OUTPUT) -j SAME", "OTHER")
        ]
        all_packets, others = (sum(int(number) for number in numbers) for numbers in found)
        return all_packets, others

    def tables(self) -> tuple[set[str], set[str]]:
        """The connections of the kernel's table and of the engine's: their states, addresses and flags."""
        kernel = self.lab.run("gateway", "conntrack", "-L") + self.lab.run("gateway", "conntrack", "-L", "-f", "ipv6")
        engine = self.daemon.ask("conntrack", "-L") + self.daemon.ask("conntrack", "-L", "-f", "ipv6")
        return trimmed(kernel), trimmed(engine)


def trimmed(listing: str) -> set[str]:
    """A listing's connections without their times and uses."""
    lines = [re.sub(r"^(\w+ +\d+) \d+ ", r"\1 ", line) for line in listing.splitlines() if "src=" in line]
    return {re.sub(r" (?:use|mark|secctx|helper|delta-time)=\S+", "", line) for line in lines}


@pytest.fixture(autouse=True)
def one_processor() -> Iterator[None]:
    """All that is started runs on one: on two, packets of a connection that go both ways may come to the queue in
    another order than the kernel has tracked them in."""
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(processors)})
    yield
    os.sched_setaffinity(0, processors)


@contextlib.contextmanager
def both(path: Path, settings: dict[str, int]) -> Iterator[Place]:
    """A place; in the end the two trackers must have agreed."""
    place = Place(path, settings)
    try:
        yield place
        packets, differing = place.counted()
        print(f"{packets} packets compared, {differing} differ")
        told = [line for line in place.daemon.log().splitlines() if "event=packet" in line]
        assert not differing, "\n".join(told[:20])
        assert packets > 500

        def same() -> bool:
            kernel, engine = place.tables()
            return kernel == engine

        assert wait_for(same, 20), "\n".join(sorted(place.tables()[0] ^ place.tables()[1]))
    finally:
        place.lab.close()


def steps(place: Place) -> list[tuple[str, ...]]:
    """What programs do, and what nobody ought to: command lines of the client's."""
    web, hping = ("curl", "-s", "-m", "20", "-o", "/dev/null"), ("hping3", "-q", "-c", "2", "-i", "u20000")
    made: list[tuple[str, ...]] = [(*web, f"http://{OWN}/content"), (*web, f"http://{SERVER}:8080/content")]
    for host in (SERVER, f"[{SERVER6}]"):
        made += [(*web, f"ftp://{host}/content"), (*web, "-P", "-", f"ftp://{host}/content")]
    made += [(*place.ssh, OWN, "echo through; head -c 100000 /dev/zero")]
    made += [("ping", "-c", "2", "-i", "0.2", "-W", "5", host) for host in (SERVER, SERVER6, "10.1.0.1")]
    datagrams = (
        "import socket, sys\n"
        f"for host, family in (('{SERVER}', socket.AF_INET), ('{SERVER6}', socket.AF_INET6)):\n"
        "    for port, size in ((5000, 10), (5000, 3000), (5001, 10), (5001, 3000)):\n"
        "        udp = socket.socket(family, socket.SOCK_DGRAM); udp.connect((host, port)); udp.settimeout(0.5)\n"
        "        for _ in range(3):\n"
        "            try: udp.send(bytes(size)); udp.recv(4000)\n"
        "            except OSError: pass\n"
    )
    made += [(sys.executable, "-c", datagrams)]
    for port, flags in enumerate(("-S", "-A", "-R", "-FA", "-SA", "-FSRPAU", "-X"), 990):
        made += [(*hping, flags, "-s", str(port), "-k", "-p", "8080", SERVER)]
    scan = ("nmap", "-n", "-Pn")
    made += [
        (*hping, "-S", "-p", "9", SERVER),
        (*scan, "-sS", "--max-retries", "1", "-p", "9,21,22,8080,8081", SERVER),
        (*scan, "-sF", "--max-retries", "0", "-p", "21,8080", SERVER),
        (*scan, "-sU", "--max-retries", "0", "-p", "5000,5001", SERVER),
    ]
    return made


def test_beside(tmp_path: Path) -> None:
    """Web, FTP, ssh, pings, datagrams whole and in pieces, strays and scans: no packet is judged otherwise, and both
    tables are the same afterwards."""
    with both(tmp_path, {}) as place:
        for command in steps(place):
            place.client(*command)


@pytest.mark.long
def test_an_hour(tmp_path: Path) -> None:
    """An hour's worth in little: timeouts are seconds, programs come in any order and at once, and again when what they
    left is over, again and again. FASTFW_ROUNDS for more of it."""
    seed = int(os.environ.get("FASTFW_SEED", time.time_ns() % 2**32))
    print(f"FASTFW_SEED={seed}")
    order = random.Random(seed)
    with both(tmp_path, SHORT) as place, ThreadPoolExecutor(4) as together:
        for _ in range(int(os.environ.get("FASTFW_ROUNDS", "4"))):
            todo = steps(place) * 2
            order.shuffle(todo)
            for done in [together.submit(place.client, *command) for command in todo]:
                done.result()
            time.sleep(order.uniform(0, 9))
