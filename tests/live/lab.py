"""Client, gateway and server as network namespaces, with real programs in them and a gateway daemon in the middle.

    client 10.1.0.2 fd01::2 -- 10.1.0.1 fd01::1 gateway 10.2.0.1 fd02::1 -- 10.2.0.2 fd02::2 server

The gateway is 172.16.6.61 too. Its kernel tracks nothing: what is judged there, the daemon judges.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
NEEDED = (
    "ip", "iptables-legacy", "ping", "curl", "vsftpd", "lftp", "sshd", "ssh", "ssh-keygen", "nmap", "hping3", "socat",
)  # fmt: skip
OWN = "172.16.6.61"


def missing() -> list[str]:
    """Programs these tests need that are not installed."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return [name for name in NEEDED if shutil.which(name, path=path) is None]


def wait_for(what: Callable[[], bool], seconds: float = 30) -> bool:
    """Whether something comes to hold in time."""
    until = time.monotonic() + seconds
    while not what():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


class Logged(subprocess.Popen[str]):
    """A program whose output goes to a file."""

    def __init__(self, command: list[str], log: Path) -> None:
        self.log = log
        with log.open("w") as output:
            super().__init__(command, stdin=subprocess.PIPE, stdout=output, stderr=output, text=True)


class Lab:
    """The three namespaces and every process that was started in them; `close` ends and removes them all."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.names = {role: f"fw{os.getpid()}{id(self) & 0xFFF:x}{role[0]}" for role in ("client", "gateway", "server")}
        self.processes: list[Logged] = []
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def _build(self) -> None:
        for name in self.names.values():
            self._host("ip", "netns", "add", name)
        client, gateway, server = self.names.values()
        for number, (outer, device) in enumerate(((client, "left"), (server, "right")), 1):
            self._host("ip", "link", "add", device, "netns", gateway, "type", "veth", "peer", "eth0", "netns", outer)
            for name, link, host in ((gateway, device, 1), (outer, "eth0", 2)):
                self._host("ip", "-n", name, "link", "set", "lo", "up")
                self._host("ip", "-n", name, "addr", "add", f"10.{number}.0.{host}/24", "dev", link)
                self._host("ip", "-n", name, "addr", "add", f"fd0{number}::{host}/64", "dev", link, "nodad")
                self._host("ip", "-n", name, "link", "set", link, "up")
            self._host("ip", "-n", outer, "route", "add", "default", "via", f"10.{number}.0.1")
            self._host("ip", "-n", outer, "-6", "route", "add", "default", "via", f"fd0{number}::1")
        self._host("ip", "-n", gateway, "addr", "add", f"{OWN}/32", "dev", "lo")
        for setting in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            self.run("gateway", "sysctl", "-qw", f"{setting}=1")

    def _host(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"

    def command(self, role: str, *command: str) -> list[str]:
        """A command line that runs inside a namespace."""
        return ["ip", "netns", "exec", self.names[role], *command]

    def run(self, role: str, *command: str, timeout: float = 60, check: bool = True) -> str:
        """Run a program to its end; what it printed. Without `check` it may fail, or be cut off by the timeout."""
        try:
            done = subprocess.run(
                self.command(role, *command),
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            assert not check, f"{' '.join(command)}: not done in {timeout} s"
            return ""
        assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def start(self, role: str, *command: str) -> Logged:
        """Start a program that stays; its output goes to a file of its own in `place`."""
        log = self.place / f"{len(self.processes)}-{Path(command[0]).name}.log"
        process = Logged(self.command(role, *command), log)
        self.processes.append(process)
        return process

    def listens(self, role: str, port: int) -> bool:
        """Whether somebody takes TCP connections at a port."""
        return f":{port} " in self.run(role, "ss", "-Hlnt") + " "

    def close(self) -> None:
        """End every process and take the namespaces away."""
        for process in reversed(self.processes):
            if process.poll() is None:
                process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            if process.stdin:
                with contextlib.suppress(OSError):
                    process.stdin.close()
        for name in self.names.values():
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


class Gateway(ABC):
    """A daemon in the gateway: its rules, its table's file and its helpers; `driver` is how it gets its packets."""

    READY = ""
    """What its log says once it judges."""

    def __init__(self, lab: Lab, driver: str, rules4: str, rules6: str, *, helpers: tuple[str, ...] = ()) -> None:
        self.lab = lab
        self.driver = driver
        self.rules = lab.place / "rules.v4", lab.place / "rules.v6"
        for path, text in zip(self.rules, (rules4, rules6), strict=True):
            path.write_text(text)
        self.state = lab.place / "table.state"
        self.helpers = helpers
        self.process: Logged | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """The command line that starts it."""

    @abstractmethod
    def shown(self) -> str:
        """Its table, and its rules with their counters."""

    def log(self) -> str:
        """What it has printed."""
        return self.process.log.read_text() if self.process else ""

    def start(self) -> None:
        """Start it and wait until it judges."""
        process = self.process = self.lab.start("gateway", sys.executable, *self.command())
        assert wait_for(lambda: self.READY in self.log() or process.poll() is not None), self.log()
        assert process.poll() is None, self.log()

    def send(self, number: int) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it."""
        assert self.process is not None
        self.send(number)
        self.process.wait(30)


class Example(Gateway):
    """examples/gateway_daemon.py, with rules to the queue that are not its own."""

    READY = "ready"

    def __init__(self, lab: Lab, *given: str, helpers: tuple[str, ...] = ()) -> None:
        super().__init__(lab, *given, helpers=helpers)
        for program, *chains in (("iptables-legacy", "INPUT", "FORWARD", "OUTPUT"), ("ip6tables-legacy", "FORWARD")):
            for chain in chains:
                lab.run("gateway", program, "-t", "mangle", "-A", chain, "-j", "NFQUEUE", "--queue-num", "0")

    def command(self) -> list[str]:
        script = ROOT / "examples" / "gateway_daemon.py"
        given = [*self.rules, "--driver", self.driver, "--state", self.state]
        return [str(script), *map(str, given), *(word for name in self.helpers for word in ("--helper", name))]

    def shown(self) -> str:
        before = self.log().count("\n--\n")
        self.send(signal.SIGUSR1)
        assert wait_for(lambda: self.log().count("\n--\n") > before)
        return self.log().split("\n--\n")[before]


class Service(Gateway):
    """`fastfw run`."""

    READY = "event=started"
    further = ""
    """More lines of its configuration."""

    @property
    def socket(self) -> str:
        """Its control socket."""
        return str(self.lab.place / "control")

    def command(self) -> list[str]:
        config = self.lab.place / "fastfw.toml"
        config.write_text(
            f"rules = {{ ipv4 = '{self.rules[0]}', ipv6 = '{self.rules[1]}' }}\n"
            f"conntrack = {{ helpers = {list(self.helpers)}, settings = {{ nf_conntrack_tcp_loose = 0 }} }}\n"
            f"queue.driver = '{self.driver}'\nstate = {{ file = '{self.state}', interval = 1 }}\n"
            f"control.socket = '{self.socket}'\n{self.further}"
        )
        return ["-m", "fastfw", "run", "--config", str(config)]

    def ask(self, *words: str) -> str:
        """What `fastfw WORDS` prints, told where the daemon is."""
        verb, *rest = words
        return self.lab.run("gateway", sys.executable, "-m", "fastfw", verb, "--control", self.socket, *rest)

    def shown(self) -> str:
        return self.ask("conntrack", "-L") + self.ask("iptables-save", "-c") + self.ask("ip6tables-save", "-c")
