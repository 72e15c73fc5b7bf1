"""Record the captures of real programs that ``test_captures.py`` judges: ``python -m tests.kernel.record``.

A client, a router and a server live in network namespaces in a row; tcpdump listens on the router's client side. The
link behind the router carries smaller packets than the one before it, so that path MTU discovery has something to
find. Everything ends with the script: the namespaces are held by processes it starts and ends. Needs root and the
Debian packages traceroute, tftpd-hpa, dnsmasq-base, bind9-dnsutils, openssh-server, vsftpd, lftp, curl, hping3, nmap,
socat, libusrsctp-examples, pptpd, pptp-linux, ethtool and tcpdump. With names of scenes it records only those.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

CAPTURES = Path(__file__).with_name("captures")
CLIENT, SERVER = {4: "10.1.0.2", 6: "fd00:1::2"}, {4: "10.2.0.2", 6: "fd00:2::2"}
ROUTER = {4: ("10.1.0.1", "10.2.0.1"), 6: ("fd00:1::1", "fd00:2::1")}
NARROW = 1400
FORWARDED = "ip or (ip6 and not (src net fe80::/10 or dst net fe80::/10 or dst net ff00::/8))"
DEAD = {4: "10.2.0.99", 6: "fd00:2::99"}


def run(*command: str) -> None:
    """Run a program to its end; what it says and whether it succeeds is of no interest, its packets are."""
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)


class Host:
    """A network namespace and the processes in it."""

    def __init__(self) -> None:
        self.processes = [subprocess.Popen(["unshare", "--net", "sleep", "300"])]
        self.pid = str(self.processes[0].pid)
        while os.readlink(f"/proc/{self.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            time.sleep(0.01)
        self.run("ip", "link", "set", "lo", "up")

    def command(self, *command: str) -> list[str]:
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", *command]

    def run(self, *command: str) -> None:
        run(*self.command(*command))

    def start(self, *command: str, cwd: Path | None = None) -> subprocess.Popen[bytes]:
        quiet = subprocess.DEVNULL
        child = subprocess.Popen(self.command(*command), stdin=quiet, stdout=quiet, stderr=quiet, cwd=cwd)
        self.processes.append(child)
        return child

    def end(self) -> None:
        # the daemons' own children first; they are nobody else's
        own = os.readlink(f"/proc/{self.pid}/ns/net")
        started = {process.pid for process in self.processes}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if int(entry.name) not in started and os.readlink(entry / "ns/net") == own:
                    os.kill(int(entry.name), signal.SIGTERM)
        for process in reversed(self.processes):
            process.terminate()
            process.wait(10)

    def address(self, device: str, *addresses: str) -> None:
        # Without offloads the wire carries what the programs' stacks would really send.
        self.run("ethtool", "-K", device, "tx", "off", "tso", "off", "gso", "off", "gro", "off")
        self.run("ip", "link", "set", device, "gso_max_segs", "1")
        self.run("ip", "link", "set", device, "up")
        for each in addresses:
            self.run("ip", "address", "add", each, "dev", device, *(["nodad"] if ":" in each else []))


def connect(client: Host, router: Host, server: Host) -> None:
    """Two links and the routes over them."""
    for host, side, mtu in ((client, 0, 1500), (server, 1, NARROW)):
        device = f"side{side}"
        router.run("ip", "link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", host.pid)
        near, far = (CLIENT, SERVER)[side], ROUTER
        host.address("eth0", f"{near[4]}/24", f"{near[6]}/64")
        router.address(device, f"{far[4][side]}/24", f"{far[6][side]}/64")
        router.run("ip", "link", "set", device, "mtu", str(mtu))
        host.run("ip", "link", "set", "eth0", "mtu", str(mtu))
        host.run("ip", "route", "add", "default", "via", far[4][side])
        host.run("ip", "-6", "route", "add", "default", "via", far[6][side])
    for name in ("ipv4.ip_forward", "ipv6.conf.all.forwarding"):
        router.run("sysctl", "-qw", f"net.{name}=1")
    router.run("sysctl", "-qw", "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0")


def fcs(frame: bytes) -> bytes:
    """PPP's frame check sequence (RFC 1662 appendix C)."""
    value = 0xFFFF
    for byte in frame:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x8408 if value & 1 else 0)
    return (value ^ 0xFFFF).to_bytes(2, "little")


def start_servers(server: Host, work: Path) -> list[str]:
    """sshd, a web server, FTP, TFTP and DNS; returns the ssh command line that logs in."""
    (work / "page.html").write_text("<p>hello</p>\n" * 200)
    (work / "large.bin").write_bytes(bytes(range(256)) * 60)
    os.chmod(work, 0o755)
    server.start("python3", "-m", "http.server", "--bind", "::", "80", cwd=work)
    for key in ("host", "user"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(work / key))
    (work / "sshd_config").write_text(
        f"HostKey {work}/host\nAuthorizedKeysFile {work}/user.pub\nPidFile none\nStrictModes no\nUsePAM no\n"
        "PermitRootLogin prohibit-password\nPasswordAuthentication no\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    server.start(shutil.which("sshd") or "sshd", "-D", "-f", str(work / "sshd_config"))
    (work / "empty").mkdir()
    (work / "vsftpd.conf").write_text(
        f"listen=NO\nlisten_ipv6=YES\nbackground=NO\nanonymous_enable=YES\nlocal_enable=NO\nanon_root={work}\n"
        f"no_anon_password=YES\nconnect_from_port_20=YES\nsecure_chroot_dir={work}/empty\nseccomp_sandbox=NO\n"
        "isolate=NO\nisolate_network=NO\nport_enable=YES\nhide_ids=YES\n"
    )
    server.start("vsftpd", str(work / "vsftpd.conf"))
    server.start("in.tftpd", "--listen", "--foreground", "--secure", str(work))
    server.start(
        *("dnsmasq", "--no-daemon", "--no-resolv", "--no-hosts", "--user=root", "--address=/example.test/10.2.0.2"),
        "--txt-record=long.test," + ",".join(["a" * 200] * 10),
    )
    server.start("socat", "UDP6-LISTEN:7000,fork,ipv6only=0", "PIPE")
    server.start("/usr/lib/usrsctp/echo_server")
    # pppd itself would need a kernel that knows PPP: this end of a call says the same again and again
    frame = b"\xff\x03\xc0\x21\x01\x01\x00\x04"
    (work / "frames").write_bytes(b"\x7e" + (frame + fcs(frame) + b"\x7e") * 3)
    (work / "ppp").write_text(f"#!/bin/sh\nstty raw -echo\nwhile sleep 0.6; do cat {work}/frames; done\n")
    (work / "ppp").chmod(0o755)
    (work / "pptpd.conf").write_text(f"ppp {work}/ppp\nlocalip 10.9.0.1\nremoteip 10.9.0.2-9\n")
    server.start("pptpd", "--fg", "--conf", str(work / "pptpd.conf"), "--pidfile", str(work / "pptpd.pid"))
    time.sleep(1)
    return ["ssh", "-F", "none", "-i", str(work / "user"), "-o", "StrictHostKeyChecking=no", "-o", "ConnectTimeout=5"]


def web(client: Host, family: int, work: Path, __: list[str]) -> None:
    """Pages, a missing page, a broken transfer, a port nobody listens on, a host that is not there."""
    host = SERVER[4] if family == 4 else f"[{SERVER[6]}]"
    client.run(
        "curl", "-s", "-m", "5", f"http://{host}/page.html", f"http://{host}/missing", f"http://{host}/large.bin"
    )
    client.run("curl", "-s", "--max-time", "0.05", "--limit-rate", "1K", f"http://{host}/large.bin")
    client.run("curl", "-s", f"http://{host}:81/")
    client.run("curl", "-s", "-m", "5", "--data-binary", "@" + str(work / "large.bin"), f"http://{host}/page.html")
    client.run("curl", "-s", "--max-time", "4", f"http://{DEAD[4] if family == 4 else '[' + DEAD[6] + ']'}/")


def shell(client: Host, family: int, _: Path, ssh: list[str]) -> None:
    client.run(*ssh, f"root@{SERVER[family]}", "echo hello; exit 3")
    client.run(*ssh, "-o", "IdentitiesOnly=yes", "-i", "/nonexistent", f"nobody@{SERVER[family]}", "true")


def files(client: Host, family: int, _: Path, __: list[str]) -> None:
    """FTP passive and active, and TFTP."""
    host = SERVER[4] if family == 4 else f"[{SERVER[6]}]"
    for passive in ("on", "off"):
        script = f"set ftp:passive-mode {passive}; set net:timeout 3; set net:max-retries 1; set ftp:ssl-allow no; "
        script += f"open ftp://{host}; ls; get page.html -o /dev/null; get missing; bye"
        client.run("lftp", "-c", script)
    client.run("curl", "-s", "-m", "5", "-o", "/dev/null", f"tftp://{host}/page.html")


def echoes(client: Host, family: int, _: Path, __: list[str]) -> None:
    """Pings: small, larger than a packet may be, into the void, with a hop limit that does not suffice."""
    flag, host = f"-{family}", SERVER[family]
    client.run("ping", flag, "-c", "3", "-i", "0.1", host)
    client.run("ping", flag, "-c", "2", "-i", "0.1", "-s", "4000", host)
    client.run("ping", flag, "-c", "1", "-M", "do", "-s", "1450", host)
    client.run("ping", flag, "-c", "1", "-W", "4", DEAD[family])
    client.run("ping", flag, "-c", "1", "-t", "1", "-W", "1", host)


def routes(client: Host, family: int, _: Path, __: list[str]) -> None:
    for method in ("-U", "-I", "-T"):
        client.run("traceroute", f"-{family}", "-n", "-q", "1", "-m", "3", "-w", "1", method, SERVER[family])


def datagrams(client: Host, family: int, _: Path, __: list[str]) -> None:
    """DNS over UDP, truncated and then over TCP; echoes of large datagrams; a port nobody listens on."""
    at = f"@{SERVER[family]}"
    client.run("dig", at, "+time=1", "+tries=1", "example.test", "long.test", "TXT")
    client.run("dig", at, "+time=1", "+tries=1", "+bufsize=512", "long.test", "TXT")
    name = SERVER[4] if family == 4 else f"[{SERVER[6]}]"
    for size in (100, 3000):
        client.run("sh", "-c", f"head -c {size} /dev/zero | socat -t 0.3 -b 8192 - UDP{family}:{name}:7000")
        client.run("sh", "-c", f"head -c {size} /dev/zero | socat -t 0.3 -b 8192 - UDP{family}:{name}:7001")


def scans(client: Host, family: int, _: Path, __: list[str]) -> None:
    """What nmap sends: SYN, connect, FIN, null, Xmas, ACK and window scans, and fragments."""
    for kind in ("-sS", "-sT", "-sF", "-sN", "-sX", "-sA", "-sW", "-sM"):
        options = ["-6"] if family == 6 else []
        client.run("nmap", *options, "-n", "-Pn", "--max-retries", "0", kind, "-p", "22,23,80", SERVER[family])
    if family == 4:
        client.run("nmap", "-n", "-Pn", "--max-retries", "0", "-f", "-sS", "-p", "22,80", SERVER[4])
        client.run("nmap", "-n", "-Pn", "--max-retries", "0", "-sO", "-p", "1,6,17,47,132,253", SERVER[4])
        for flags in ("-SF", "-SR", "-SAFRPU"):
            client.run("hping3", "-c", "2", "-i", "u1000", "-p", "80", flags, SERVER[4])


def associations(client: Host, family: int, _: Path, __: list[str]) -> None:
    """SCTP: lines echoed and a shutdown, a client that is killed, a port nobody listens on, two scans."""
    program = f"/usr/lib/usrsctp/client {SERVER[family]}"
    client.run("sh", "-c", f"(for i in 1 2 3; do sleep 0.3; echo line $i; done; sleep 0.5) | timeout 5 {program} 7")
    client.run("sh", "-c", f"(head -c 6000 /dev/zero | tr '\\0' x; echo; sleep 1) | timeout -s KILL 1 {program} 7")
    client.run("sh", "-c", f"(sleep 0.5; echo nobody) | timeout 2 {program} 9")
    for kind in ("-sY", "-sZ"):
        options = ["-6"] if family == 6 else []
        client.run("nmap", *options, "-n", "-Pn", "--max-retries", "0", kind, "-p", "7,9", SERVER[family])


def calls(client: Host, _: int, work: Path, __: list[str]) -> None:
    """PPTP over IPv4: a control connection and its call, PPP frames both ways by GRE, and the hanging up; twice."""
    for _call in range(2):
        pptp = f"timeout -s INT 3 pptp {SERVER[4]} --nolaunchpppd --timeout 1"
        client.run("sh", "-c", f"(sleep 1; cat {work}/frames; sleep 0.5; cat {work}/frames; sleep 2) | {pptp}")


IPV4_ONLY = ("calls",)
SCENES: tuple[Callable[[Host, int, Path, list[str]], None], ...] = (
    web, shell, files, echoes, routes, datagrams, scans, associations, calls,
)  # fmt: skip


@contextlib.contextmanager
def row() -> Iterator[tuple[Host, Host, Host]]:
    """Client, router and server, connected, for as long as they are needed."""
    hosts = Host(), Host(), Host()
    try:
        connect(*hosts)
        yield hosts
    finally:
        for host in reversed(hosts):
            host.end()


@contextlib.contextmanager
def recorded(router: Host, path: Path) -> Iterator[None]:
    """Write what is forwarded meanwhile to a capture."""
    tap = router.start("tcpdump", "-i", "side0", "-s", "0", "-U", "-w", str(path), FORWARDED)
    time.sleep(0.7)
    yield
    time.sleep(0.7)
    tap.terminate()
    tap.wait(10)
    print(f"{path.name}: {path.stat().st_size} bytes", flush=True)


def main() -> None:
    CAPTURES.mkdir(exist_ok=True)
    with row() as (client, router, server), tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        ssh = start_servers(server, work)
        for scene in SCENES:
            if sys.argv[1:] and scene.__name__ not in sys.argv[1:]:
                continue
            for family in (4,) if scene.__name__ in IPV4_ONLY else (4, 6):
                with recorded(router, CAPTURES / f"{scene.__name__}{family}.pcap"):
                    scene(client, family, work, ssh)


if __name__ == "__main__":
    main()
