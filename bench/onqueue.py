"""The gateway on live packets, beside what else could stand there: `python -m bench.onqueue [--rounds N]`.

Client, gateway and server are network namespaces. 64-byte datagrams of one flow are made by the kernel itself (XDP's
live frames, by bpf(2) without a library), so that the generator is not the limit; what arrives at the server is
counted. Every round measures every form once, in turn; the table has medians and their ratios. Needs root, a C compiler
and iptables-legacy; bulk TCP needs no more.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
RULES = """*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -d 10.92.0.2/32 -p tcp -m multiport --dports 22,80,5201 -m state --state NEW,ESTABLISHED -j ACCEPT
-A FORWARD -s 10.92.0.2/32 -p tcp -m state --state NEW,ESTABLISHED -j ACCEPT
-A FORWARD -p udp -m udp --dport 9000 -m state --state NEW,ESTABLISHED -j ACCEPT
-A FORWARD -p udp -m udp --sport 9000 -m state --state ESTABLISHED -j ACCEPT
COMMIT
"""
SYS_BPF = 321
LIVE_FRAMES = 1 << 1
BATCH = 64

ECHO = """
import socket
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(("10.92.0.2", 9000))
while True:
    data, where = udp.recvfrom(100)
    if data == b"ask": udp.sendto(b"yes", where)
"""
ASK = """
import socket, time
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(("10.91.0.2", 7000)); udp.connect(("10.92.0.2", 9000))
udp.settimeout(1)
for _ in range(12):
    udp.send(b"ask")
    try: udp.recv(10)
    except OSError: pass
    time.sleep(0.3)
"""
TAKE = """
import socket
made = socket.create_server(("10.92.0.2", 5201)); made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
room = memoryview(bytearray(1 << 20))
while True:
    one, _ = made.accept()
    while one.recv_into(room): pass
"""
GIVE = """
import socket, sys, time
made = socket.create_connection(("10.92.0.2", 5201), timeout=20)
data, sent, until = bytes(1 << 20), 0, time.monotonic() + float(sys.argv[1])
while time.monotonic() < until: sent += made.send(data)
print(sent)
"""


def bpf(command: int, attributes: bytes) -> int:
    """One call of bpf(2). OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    done: int = libc.syscall(SYS_BPF, command, buffer, len(attributes))
    if done < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return done


def redirect(interface: int, frame: bytes) -> int:
    """An XDP program that sends every frame out by an interface; its descriptor. Frames are used again as the gateway
    left them, so it writes the addresses, the time to live and the header's checksum anew."""
    words = [(0xB7, 0, 0, 1), (0x61, 2 | 1 << 4, 0, 0), (0x61, 3 | 1 << 4, 4, 0), (0xBF, 4 | 2 << 4, 0, 0),
             (0x07, 4, 0, 34), (0x2D, 4 | 3 << 4, 7, 0)]  # fmt: skip
    words += [(0x62, 2, at, struct.unpack_from("=i", frame, at)[0]) for at in (0, 4, 8, 22)]
    words += [(0xB7, 1, 0, interface), (0xB7, 2, 0, 0), (0x85, 0, 0, 23), (0x95, 0, 0, 0)]
    code = b"".join(struct.pack("=BBhi", *word) for word in words)
    held, licence = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"Apache-2.0")
    start = struct.pack("=IIQQIIQ", 6, len(words), ctypes.addressof(held), ctypes.addressof(licence), 0, 0, 0)
    return bpf(5, start + bytes(64))


def flood(program: int, frame: bytes, count: int) -> None:
    """Have the kernel make a frame so often and hand it to the program."""
    held = ctypes.create_string_buffer(frame, len(frame))
    bpf(10, struct.pack("=IIIIQQIIIIQQIII", program, 0, len(frame), 0, ctypes.addressof(held), 0, count, 0, 0, 0, 0, 0,
                        LIVE_FRAMES, 0, BATCH) + bytes(4))  # fmt: skip


def generate(interface: str, target: str, seconds: float) -> None:
    """Send to a hardware address for some time; runs in the client's namespace."""
    import socket

    head = struct.pack(">BBHHHBBH", 0x45, 0, 50, 0, 0, 64, 17, 0) + bytes([10, 91, 0, 2, 10, 92, 0, 2])
    total = sum(struct.unpack(">10H", head))
    head = head[:10] + (~((total & 0xFFFF) + (total >> 16)) & 0xFFFF).to_bytes(2, "big") + head[12:]
    mine = bytes.fromhex(Path(f"/sys/class/net/{interface}/address").read_text().strip().replace(":", ""))
    frame = bytes.fromhex(target.replace(":", "")) + mine + b"\x08\x00" + head
    frame += struct.pack(">HHHH", 7000, 9000, 30, 0) + bytes(22)
    program = redirect(socket.if_nametoindex(interface), frame)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        flood(program, frame, 1 << 14)


class Bench:
    """The three namespaces and who stands in the middle."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.names = {role: f"fwb{os.getpid()}{role[0]}" for role in ("client", "gateway", "server")}
        self.running: list[subprocess.Popen[str]] = []
        for name in self.names.values():
            self.host("ip", "netns", "add", name)
        for number, role in ((91, "client"), (92, "server")):
            inner = f"to{role}"
            self.host("ip", "link", "add", inner, "netns", self.names["gateway"], "type", "veth", "peer", "eth0",
                      "netns", self.names[role])  # fmt: skip
            for where, link, last in (("gateway", inner, 1), (role, "eth0", 2)):
                self.host("ip", "-n", self.names[where], "addr", "add", f"10.{number}.0.{last}/24", "dev", link)
                self.host("ip", "-n", self.names[where], "link", "set", link, "up")
                self.host("ip", "-n", self.names[where], "link", "set", "lo", "up")
            self.host("ip", "-n", self.names[role], "route", "add", "default", "via", f"10.{number}.0.1")
        self.run("gateway", "sysctl", "-qw", "net.ipv4.ip_forward=1")
        # a frame that XDP sends is taken by a peer that polls
        self.run("gateway", "ethtool", "-K", "toclient", "gro", "on")
        # what is counted by then costs the server no more
        self.run("server", "iptables-legacy", "-t", "raw", "-A", "PREROUTING", "-p", "udp", "-m", "length", "--length",
                 "50", "-j", "DROP")  # fmt: skip
        self.start("server", sys.executable, "-c", ECHO)
        self.start("server", sys.executable, "-c", TAKE)
        (place / "rules").write_text(RULES)

    def host(self, *command: str) -> None:
        subprocess.run(command, check=True, capture_output=True)

    def command(self, role: str, *command: str) -> list[str]:
        return ["ip", "netns", "exec", self.names[role], *command]

    def run(self, role: str, *command: str) -> str:
        return subprocess.run(self.command(role, *command), check=True, capture_output=True, text=True).stdout

    def start(self, role: str, *command: str) -> subprocess.Popen[str]:
        made = subprocess.Popen(
            self.command(role, *command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.running.append(made)
        return made

    def close(self) -> None:
        for one in self.running:
            one.kill()
            one.wait()
        for name in self.names.values():
            subprocess.run(["ip", "netns", "del", name], check=False)

    @contextlib.contextmanager
    def rules(self, *lines: str) -> Iterator[None]:
        """The kernel's rules, while it lasts."""
        for line in lines:
            self.run("gateway", "iptables-legacy", *line.split())
        yield
        for table in ("filter", "mangle"):
            self.run("gateway", "iptables-legacy", "-t", table, "-F")

    @contextlib.contextmanager
    def served(self, ready: str, *command: str) -> Iterator[None]:
        """A program in the gateway, once it says that it is ready."""
        made = self.start("gateway", *command)
        assert made.stdout is not None
        while ready not in (line := made.stdout.readline()):
            assert line, f"{command[0]} ended"
        yield
        made.send_signal(signal.SIGTERM)
        made.wait(30)
        self.running.remove(made)

    @contextlib.contextmanager
    def form(self, name: str) -> Iterator[None]:
        """One of the things that may stand in the middle."""
        with contextlib.ExitStack() as stack:
            if name == "kernel conntrack":
                stack.enter_context(self.rules("-A FORWARD -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT"))
            elif name == "bare loop":
                stack.enter_context(self.rules("-t mangle -A FORWARD -j NFQUEUE --queue-num 0"))
                stack.enter_context(self.served("ready", str(self.place / "acceptall"), "0"))
            else:
                config = self.place / "fastfw.toml"
                config.write_text(
                    f"rules.ipv4 = '{self.place}/rules'\ncontrol.socket = ''\n"
                    f"queue.driver = '{'netfilterqueue' if name == 'NetfilterQueue driver' else 'nfqueue'}'\n"
                    f"bypass.mode = '{'on' if name == 'bypass' else 'off'}'\n"
                )
                command = [sys.executable, "-m", "fastfw", "run", "-c", str(config)]
                stack.enter_context(self.served("event=started", *command))
            yield

    def arrived(self) -> int:
        """Packets that the server got."""
        return int(self.run("server", "cat", "/sys/class/net/eth0/statistics/rx_packets"))

    def packets(self, seconds: float) -> float:
        """Datagrams a second that arrive; the flow is a stream of both directions by then."""
        self.run("client", sys.executable, "-c", ASK)
        target = self.run("gateway", "cat", "/sys/class/net/toclient/address").strip()
        before, began = self.arrived(), time.monotonic()
        self.run("client", sys.executable, "-m", "bench.onqueue", "--generate", "eth0", target, str(seconds))
        return (self.arrived() - before) / (time.monotonic() - began)

    def bulk(self, seconds: float) -> float:
        """Gbit/s of one TCP connection."""
        return int(self.run("client", sys.executable, "-c", GIVE, str(seconds))) * 8 / seconds / 1e9


FORMS = ("bare loop", "native driver", "NetfilterQueue driver", "kernel conntrack", "bypass")
COMPARED = (
    ("native driver", "bare loop", 0.9),
    ("native driver", "NetfilterQueue driver", 2),
    ("bypass", "kernel conntrack", 1),
)
BULK = ("kernel conntrack", "native driver")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--generate", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.generate:
        generate(args.generate[0], args.generate[1], float(args.generate[2]))
        return
    os.chdir(ROOT)
    rates: dict[str, list[float]] = {name: [] for name in FORMS}
    bulks: dict[str, list[float]] = {name: [] for name in BULK}
    with tempfile.TemporaryDirectory(prefix="fastfw-live-") as made:
        place = Path(made)
        subprocess.run(["cc", "-O2", "-o", str(place / "acceptall"), str(ROOT / "bench/acceptall.c")], check=True)
        bench = Bench(place)
        try:
            for _ in range(args.rounds):
                for name in FORMS:
                    with bench.form(name):
                        rates[name].append(bench.packets(args.seconds))
                for name in BULK:
                    with bench.form(name):
                        bulks[name].append(bench.bulk(args.seconds))
        finally:
            bench.close()
    middle = {name: statistics.median(found) for name, found in rates.items()}
    for name, rate in middle.items():
        print(f"{name:24} {rate / 1000:8.0f} thousand packets/s   {', '.join(f'{r / 1000:.0f}' for r in rates[name])}")
    thick = {name: statistics.median(found) for name, found in bulks.items()}
    for name, rate in thick.items():
        print(f"bulk TCP, {name:14} {rate:8.2f} Gbit/s")
    for one, other, goal in COMPARED:
        print(f"{one} / {other}: {middle[one] / middle[other]:.2f} (goal {goal})")
    print(f"bulk TCP, {BULK[1]} / {BULK[0]}: {thick[BULK[1]] / thick[BULK[0]]:.2f} (goal 0.9)")


if __name__ == "__main__":
    main()
