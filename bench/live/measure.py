"""The gateway on live packets, beside what else could stand there: `python -m bench.live`.

Client, gateway and server are network namespaces; every form has a gateway of its own, and all stand there at once, so
that what is measured of one is measured of the others a moment later. The kernel itself makes the frames (frames.py).

* Packets: the highest rate at which none of a flow's 64-byte frames is lost, wherever that may be: sent and arrived are
  counted, and what the queue and its socket lost. Each round bisects every form's rate, in turns with the others.
* Bulk: one TCP connection's Gbit/s, in turns.

Figures are medians of the rounds, ratios medians of the rounds' ratios. Needs root, a C compiler and iptables-legacy.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
NEEDED = ("ip", "iptables-legacy", "iptables-legacy-restore", "ethtool", "sysctl", "cc")

RULES = """*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -d 10.0.0.0/8 -p tcp -m multiport --dports 22,80,5201 -m state --state NEW,ESTABLISHED -j ACCEPT
-A FORWARD -s 10.0.0.0/8 -p tcp -m state --state NEW,ESTABLISHED -j ACCEPT
-A FORWARD -p udp -m udp --dport 9000 -m state --state NEW,ESTABLISHED -j ACCEPT
-A FORWARD -p udp -m udp --sport 9000 -m state --state ESTABLISHED -j ACCEPT
COMMIT
"""
"""The origin's, for what a gateway forwards, and two for the datagrams; the kernel and the engine have the same."""

LOOP, NATIVE, PORTABLE = "accept-all loop in C", "native driver", "NetfilterQueue driver"
KERNEL, BYPASS, MAP = "kernel conntrack", "native driver, bypass by mark", "native driver, bypass by flow map"
FORMS = (LOOP, NATIVE, PORTABLE, KERNEL, BYPASS, MAP)
COMPARED = ((NATIVE, LOOP, 0.9), (NATIVE, PORTABLE, 2.0), (BYPASS, KERNEL, 1.0), (MAP, KERNEL, 1.0))
COMPARED_BULK = ((NATIVE, KERNEL, 0.9), (LOOP, KERNEL, None), (BYPASS, KERNEL, None))
"""One form, another, and what the first is to be of the second."""

STEPS = 7
"""Rates tried of each form in a round."""

LOWEST, HIGHEST = 5_000.0, 2_000_000.0
"""Packets a second between which the rate is looked for at first."""

NARROW = 2.0
"""How far from the round before a rate is looked for then, as a factor."""

SETTLE = 0.3
"""Seconds after which what has not arrived is lost."""

SERVE = """
import socket, threading
def take(one):
    room = bytearray(1 << 20)
    while one.recv_into(room): pass
def echo():
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(("0.0.0.0", 9000))
    while True:
        data, where = udp.recvfrom(100)
        udp.sendto(data, where)
made = socket.create_server(("0.0.0.0", 5201))
threading.Thread(target=echo, daemon=True).start()
print("ready", flush=True)
while True: threading.Thread(target=take, args=(made.accept()[0],), daemon=True).start()
"""
ASK = """
import socket, sys, time
asked = []
for number in sys.argv[1:]:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind((f"10.{number}.1.2", 7000))
    udp.connect((f"10.{number}.2.2", 9000)); udp.settimeout(5); asked.append(udp)
for _ in range(8):
    for udp in asked: udp.send(b"ask"); udp.recv(10)
    time.sleep(0.5)
"""
GIVE = """
import socket, sys, time
made = socket.create_connection((sys.argv[1], 5201), timeout=20)
data, sent, until = bytes(1 << 20), 0, time.monotonic() + float(sys.argv[2])
while time.monotonic() < until: sent += made.send(data)
print(sent)
"""


def missing() -> str:
    """What keeps this from being measured here; empty: nothing."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    lacking = [name for name in NEEDED if shutil.which(name) is None]
    if lacking:
        return f"not installed: {', '.join(lacking)}"
    if find_spec("netfilterqueue") is None:
        return "not installed: the NetfilterQueue package"
    name = f"fwp{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode:
        return "network namespaces cannot be made here"
    subprocess.run(["ip", "netns", "del", name], check=False)
    return ""


def run(*command: str, text: str | None = None) -> str:
    """A program to its end; what it printed."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


@dataclass(frozen=True)
class Trial:
    """What became of frames sent at one rate."""

    sent: int
    arrived: int
    seconds: float

    @property
    def whole(self) -> bool:
        """Whether all arrived."""
        return self.arrived == self.sent

    @property
    def rate(self) -> float:
        """Packets a second that were sent."""
        return self.sent / self.seconds


@dataclass
class Form:
    """What stands in one of the gateways, and what was found of it."""

    name: str
    number: int
    namespace: str
    queue: int | None = None
    target: str = ""
    rates: list[float] = field(default_factory=list)
    bulk: list[float] = field(default_factory=list)
    low: float = LOWEST
    high: float = HIGHEST
    best: float = 0.0
    lost: Counter[str] = field(default_factory=Counter)

    @property
    def source(self) -> str:
        """The client's address on this way."""
        return f"10.{self.number}.1.2"

    @property
    def destination(self) -> str:
        """The server's address on this way."""
        return f"10.{self.number}.2.2"

    def begin(self) -> None:
        """Look for the rate of another round, at first near that of the last."""
        self.low, self.high, self.best = LOWEST, HIGHEST, 0.0
        if self.rates:
            self.low, self.high = self.rates[-1] / NARROW, self.rates[-1] * NARROW

    def asked(self) -> float:
        """The rate to try next."""
        return float((self.low * self.high) ** 0.5)

    def told(self, rate: float, trial: Trial) -> None:
        """What became of it."""
        if trial.whole:
            self.best = max(self.best, trial.rate)
            # where the sender was held up there is no more to be had, which is nobody's loss
            self.low, self.high = (rate, self.high) if trial.rate > 0.8 * rate else (trial.rate, rate)
        else:
            self.high = min(rate, self.high)
            self.low = min(self.low, self.high / NARROW)


class Bench:
    """The namespaces, and who stands in the gateways."""

    def __init__(self, place: Path, names: tuple[str, ...] = FORMS) -> None:
        self.place = place
        self.client, self.server = f"fwb{os.getpid()}c", f"fwb{os.getpid()}s"
        self.forms = [Form(name, 100 + at, f"fwb{os.getpid()}g{at}") for at, name in enumerate(names)]
        self.running: list[subprocess.Popen[str]] = []
        try:
            self._build()
            self.sender = self._start(self.client, sys.executable, str(HERE / "frames.py"))
        except BaseException:
            self.close()
            raise

    def _build(self) -> None:
        for name in (self.client, self.server, *(form.namespace for form in self.forms)):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        for name in (self.client, self.server):
            # whoever waits for a processor must not be waited for
            for way in ("rmem", "wmem"):
                run("ip", "netns", "exec", name, "sysctl", "-qw", f"net.ipv4.tcp_{way}=4096 4194304 {64 << 20}")
        for form in self.forms:
            self._ways(form)
        # what is counted by then costs the server no more
        lines = [f"-A PREROUTING -i s{form.number} -p udp -m length --length 46 -j DROP" for form in self.forms]
        self.restore(self.server, "\n".join(["*raw", *lines, "COMMIT", ""]))
        self._start(self.server, sys.executable, "-c", SERVE, ready="ready")
        (self.place / "rules").write_text(RULES)
        cc = shutil.which("cc") or "cc"
        run(cc, "-O2", "-o", str(self.place / "acceptall"), str(HERE / "acceptall.c"))
        for form in self.forms:
            self._stand(form)

    def _ways(self, form: Form) -> None:
        """The links of one gateway."""
        gateway, number = form.namespace, form.number
        for name, outer, inner, net in (
            (self.client, f"c{number}", "toclient", 1),
            (self.server, f"s{number}", "toserver", 2),
        ):
            run("ip", "link", "add", inner, "netns", gateway, "type", "veth", "peer", outer, "netns", name)
            commands = {
                gateway: f"addr add 10.{number}.{net}.1/24 dev {inner}\nlink set {inner} up\n",
                name: f"addr add 10.{number}.{net}.2/24 dev {outer}\nlink set {outer} up\n"
                f"route add 10.{number}.{3 - net}.0/24 via 10.{number}.{net}.1\n",
            }
            for where, text in commands.items():
                run("ip", "-n", where, "-batch", "-", text=text)
        run("ip", "netns", "exec", gateway, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        # a frame that XDP sends is taken by a peer that polls
        run("ip", "netns", "exec", gateway, "ethtool", "-K", "toclient", "gro", "on")
        form.target = run("ip", "netns", "exec", gateway, "cat", "/sys/class/net/toclient/address").strip()

    def _stand(self, form: Form) -> None:
        """Put something in the middle."""
        if form.name == KERNEL:
            self.restore(form.namespace, RULES)
            return
        form.queue = 0
        if form.name == LOOP:
            self.restore(form.namespace, "*mangle\n-A FORWARD -j NFQUEUE --queue-num 0\nCOMMIT\n")
            self._start(form.namespace, str(self.place / "acceptall"), "0", ready="ready")
            return
        config = self.place / f"{form.number}.toml"
        config.write_text(
            f"rules.ipv4 = '{self.place}/rules'\ncontrol.socket = ''\nsteering.families = [4]\n"
            f"queue.driver = '{'netfilterqueue' if form.name == PORTABLE else 'nfqueue'}'\n"
            # where the kernel's rules stand, too: each table costs every packet something
            + ("bypass.mode = 'on'\nsteering.table = 'filter'\n" if form.name in (BYPASS, MAP) else "")
            + (f"bypass.map = '{self.place}/bpf/fastfw'\n" if form.name == MAP else "")
        )
        command = f"exec {sys.executable} -m fastfw run -c {config}"
        if form.name == MAP:
            (self.place / "bpf").mkdir()
            command = f"mount -t bpf fastfw {self.place}/bpf && {command}"
        self._start(form.namespace, "sh", "-c", command, ready="event=started")

    def restore(self, namespace: str, text: str) -> None:
        """Load the kernel's rules."""
        run("ip", "netns", "exec", namespace, "iptables-legacy-restore", text=text)

    def _start(self, namespace: str, *command: str, ready: str = "") -> subprocess.Popen[str]:
        made = subprocess.Popen(
            ["ip", "netns", "exec", namespace, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.running.append(made)
        assert made.stdout is not None
        while ready and ready not in (line := made.stdout.readline()):
            if not line:
                raise RuntimeError(f"{' '.join(command)} ended")
        return made

    def close(self) -> None:
        """Leave nothing."""
        for one in reversed(self.running):
            one.terminate()
        for one in self.running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                one.communicate(timeout=10)
            one.kill()
            one.wait()
        for name in (self.client, self.server, *(form.namespace for form in self.forms)):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)

    # -- packets ------------------------------------------------------------------------------------------------------

    def talk(self) -> None:
        """Make the flows streams of both directions."""
        numbers = [str(form.number) for form in self.forms]
        run("ip", "netns", "exec", self.client, sys.executable, "-c", ASK, *numbers)

    def arrived(self, form: Form) -> int:
        """Frames that the server got by this way, ever."""
        text = run("ip", "netns", "exec", self.server, "iptables-legacy", "-t", "raw", "-nvxL", "PREROUTING")
        return next(int(line.split()[0]) for line in text.splitlines() if f" s{form.number} " in line)

    def losses(self, form: Form) -> Counter[str]:
        """What the queue and its socket have lost."""
        if form.queue is None:
            return Counter()
        text = run("ip", "netns", "exec", form.namespace, "cat", "/proc/net/netfilter/nfnetlink_queue")
        fields = next(line.split() for line in text.splitlines() if int(line.split()[0]) == form.queue)
        return Counter(queue=int(fields[5]), socket=int(fields[6]))

    def attempt(self, form: Form, rate: float, seconds: float) -> Trial:
        """Send at a rate."""
        before, lost = self.arrived(form), self.losses(form)
        assert self.sender.stdin is not None
        assert self.sender.stdout is not None
        flow = f"c{form.number} {form.target} {form.source} {form.destination}"
        sent = int(rate * seconds)
        print(flow, rate, sent, file=self.sender.stdin, flush=True)
        took = float(self.sender.stdout.readline())
        until = time.monotonic() + SETTLE
        while (came := self.arrived(form) - before) < sent and time.monotonic() < until:
            time.sleep(0.02)
        trial = Trial(sent, came, took)
        form.lost += self.losses(form) - lost
        form.lost["in all"] += trial.sent - trial.arrived
        return trial

    def round(self, seconds: float) -> None:
        """Measure everything once."""
        self.packets(seconds)
        self.bulk(3 * seconds)

    def packets(self, seconds: float) -> None:
        """Every form's highest rate without loss."""
        for form in self.forms:
            form.begin()
        for _ in range(STEPS):
            for form in self.forms:
                rate = form.asked()
                trial = self.attempt(form, rate, seconds)
                # others use the machine too: what is lost twice is lost for the rate's sake
                form.told(rate, trial if trial.whole else self.attempt(form, rate, seconds))
        for form in self.forms:
            form.rates.append(form.best)

    def bulk(self, seconds: float) -> None:
        """Every form's rate of one TCP connection."""
        for form in self.forms:
            command = [sys.executable, "-c", GIVE, form.destination, str(seconds)]
            sent = int(run("ip", "netns", "exec", self.client, *command))
            form.bulk.append(sent * 8 / seconds / 1e9)


@contextlib.contextmanager
def stand(names: tuple[str, ...] = FORMS) -> Iterator[Bench]:
    """All that is measured, for a while."""
    with tempfile.TemporaryDirectory(prefix="fastfw-live-") as made:
        bench = Bench(Path(made), names)
        try:
            bench.talk()
            yield bench
        finally:
            bench.close()


@dataclass(frozen=True)
class Result:
    """A figure of the medians, and what is aimed at."""

    name: str
    value: float
    unit: str
    goal: float | None = None


def results(forms: list[Form]) -> Iterator[Result]:
    """All figures: of ratios the median of the rounds'."""
    named = {form.name: form for form in forms}
    for form in forms:
        yield Result(f"without loss: {form.name}", statistics.median(form.rates) / 1e3, "thousand packets/s")
    for one, other, goal in COMPARED:
        share = statistics.median(a / b for a, b in zip(named[one].rates, named[other].rates, strict=True))
        yield Result(f"without loss: {one} / {other}", share, "times", goal)
    for form in forms:
        yield Result(f"bulk TCP: {form.name}", statistics.median(form.bulk), "Gbit/s")
    for one, other, aim in COMPARED_BULK:
        share = statistics.median(a / b for a, b in zip(named[one].bulk, named[other].bulk, strict=True))
        yield Result(f"bulk TCP: {one} / {other}", share, "times", aim)
