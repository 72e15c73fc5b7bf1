#!/usr/bin/env python3
"""Record examples/gateway.pcap from real programs behind the real firewall.

A gateway (172.16.6.61) and two clients (.62 and .11) live in network namespaces joined by a bridge. The gateway loads
gateway.rules into the kernel's own iptables; sshd, a web server and vsftpd serve; the clients use them, ping, scan
ports and send packets that must be stopped. tcpdump writes what the gateway's interface sees, and the kernel's own
counters of every rule are kept beside it, so that a replay can be held against them.

Everything runs in private network, mount and process namespaces: the kernel ends every process and removes every
interface with the script, however it ends. Needs root and Debian; installs what is missing. Takes about 20 seconds.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).resolve().parent
GATEWAY, ALICE, BOB = "172.16.6.61", "172.16.6.62", "172.16.6.11"
TIME_LIMIT_S = 120

PACKAGES = {  # program it provides -> Debian package
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "vsftpd": "vsftpd",
    "curl": "curl",
    "lftp": "lftp",
    "ping": "iputils-ping",
    "nmap": "nmap",
    "tcpdump": "tcpdump",
    "ethtool": "ethtool",
    "ip": "iproute2",
    "iptables-legacy-restore": "iptables",
}

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


def run(*command: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, check=True, timeout=60, **options)  # type: ignore[call-overload, no-any-return]


def install_missing() -> None:
    missing = sorted({package for program, package in PACKAGES.items() if not shutil.which(program)})
    if missing:
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-q"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(
            ["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing], check=True, env=environment
        )


class Host:
    """A network namespace of its own, held open by a sleeping process, with one interface on the bridge."""

    def __init__(self, name: str, address: str, number: int) -> None:
        self.name, self.address = name, address
        holder = subprocess.Popen(["unshare", "--net", "sleep", str(TIME_LIMIT_S)])
        self.pid = str(holder.pid)
        while os.readlink(f"/proc/{self.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            time.sleep(0.01)
        run("ip", "link", "add", f"br-{name}", "type", "veth", "peer", "name", "eth0", "netns", self.pid)
        run("ip", "link", "set", f"br-{name}", "master", "bridge", "up")
        run("ethtool", "-K", f"br-{name}", "gro", "off", "tso", "off", "gso", "off", stdout=subprocess.DEVNULL)
        self.run("sysctl", "-q", "-w", "net.ipv6.conf.all.disable_ipv6=1")
        # Without offloads the stack itself fills in every checksum, and OUTPUT sees each segment as the wire does.
        self.run("ip", "link", "set", "eth0", "gso_max_segs", "1")
        self.run(
            "ethtool", "-K", "eth0", "tx", "off", "tso", "off", "gso", "off", "gro", "off", stdout=subprocess.DEVNULL
        )
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "link", "set", "eth0", "address", f"02:00:ac:10:06:{number:02x}", "up")
        self.run("ip", "address", "add", f"{address}/24", "dev", "eth0")

    def command(self, *command: str) -> list[str]:
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", *command]

    def run(self, *command: str, **options: object) -> subprocess.CompletedProcess[bytes]:
        return run(*self.command(*command), **options)

    def start(self, *command: str, **options: object) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.command(*command), **options)  # type: ignore[call-overload, no-any-return]

    def within(self, action: Callable[[], None]) -> None:
        """Run `action` in a thread that has entered this host's network namespace."""
        failure: list[BaseException] = []

        def enter() -> None:
            try:
                descriptor = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)
                enter_network_namespace(descriptor)
                os.close(descriptor)
                action()
            except BaseException as error:
                failure.append(error)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join(60)
        if failure:
            raise failure[0]


def enter_network_namespace(descriptor: int) -> None:
    """setns(2) for the calling thread alone (os.setns came with Python 3.12)."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    clone_newnet = 0x40000000
    if libc.setns(descriptor, clone_newnet) != 0:
        raise OSError(ctypes.get_errno(), "setns")


# --- hand-made packets ---------------------------------------------------------------------------------------------


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of `data`."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip_packet(source: str, protocol: int, payload: bytes) -> bytes:
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), secrets.randbits(16), 0, 64, protocol, 0)
    header += socket.inet_aton(source) + socket.inet_aton(GATEWAY)
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def transport(source: str, protocol: int, segment: bytes, checksum_at: int) -> bytes:
    pseudo = socket.inet_aton(source) + socket.inet_aton(GATEWAY) + struct.pack("!BBH", 0, protocol, len(segment))
    value = checksum(pseudo + segment)
    return segment[:checksum_at] + struct.pack("!H", value) + segment[checksum_at + 2 :]


def tcp(source: str, sport: int, dport: int, flags: int, seq: int = 0, ack: int = 0, spoil: int = 0) -> bytes:
    segment = struct.pack("!HHIIBBHHH", sport, dport, seq & 0xFFFFFFFF, ack, 5 << 4, flags, 64240, 0, 0)
    segment = bytearray(transport(source, 6, segment, 16))
    segment[17] ^= spoil
    return ip_packet(source, 6, bytes(segment))


def udp(source: str, sport: int, dport: int, data: bytes) -> bytes:
    segment = struct.pack("!HHHH", sport, dport, 8 + len(data), 0) + data
    return ip_packet(source, 17, transport(source, 17, segment, 6))


def icmp(source: str, kind: int, code: int, rest: bytes) -> bytes:
    message = struct.pack("!BBH", kind, code, 0) + rest
    return ip_packet(source, 1, message[:2] + struct.pack("!H", checksum(message)) + message[4:])


def send(*packets: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        for packet in packets:
            raw.sendto(packet, (GATEWAY, 0))
            time.sleep(0.02)


def stray_packets() -> None:
    """What a gateway meets on a bad day: none of it belongs to a connection."""
    seq, ack = 0x1234_5678, 0x0BAD_CAFE
    send(
        tcp(BOB, 40001, 80, SYN | ACK | RST, seq, ack),
        tcp(BOB, 40002, 80, FIN | ACK, seq, ack),
        tcp(BOB, 40003, 22, SYN | FIN, seq),
        tcp(BOB, 40004, 80, 0, seq),
        tcp(BOB, 40005, 22, FIN | PSH | 32, seq),
        tcp(BOB, 40006, 3306, ACK, seq, ack),
        tcp(BOB, 40007, 8080, PSH | ACK, seq, ack),
        tcp(BOB, 40008, 80, SYN | ACK, seq, ack),
        tcp(BOB, 40009, 80, RST, seq),
        tcp(BOB, 40010, 22, SYN, seq, spoil=0x5A),
        tcp(BOB, 40011, 80, ACK, seq, ack),  # picked up as NEW while nf_conntrack_tcp_loose is 1; the gateway resets it
        udp(BOB, 40012, 161, b"stray"),
        udp(BOB, 40013, 53, b"\x12\x34\1\0\0\1\0\0\0\0\0\0\0\0\1\0\1"),
        icmp(BOB, 0, 0, b"\x99\x99\0\1" + b"unasked reply"),
        icmp(BOB, 13, 0, b"\x42\x42\0\1" + bytes(12)),
        icmp(BOB, 3, 1, bytes(4) + tcp(GATEWAY, 80, 55555, ACK, seq, ack)[:28]),
    )


class Forger:
    """Watches a client's own ssh connection and then forges an RST for it, far outside its window."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.last: tuple[int, int] | None = None  # source port and sequence number of the newest segment sent

    def watch_and_strike(self, begin: Callable[[], None]) -> None:
        def act() -> None:
            with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)) as tap:
                tap.settimeout(0.2)
                begin()
                end = time.monotonic() + 1.5
                while time.monotonic() < end:
                    try:
                        self.note(tap.recv(65535))
                    except TimeoutError:
                        continue
            if self.last is None:
                raise RuntimeError("the ssh session sent nothing")
            port, seq = self.last
            send(tcp(self.host.address, port, 22, RST, seq + 0x4000_0000))

        self.host.within(act)

    def note(self, packet: bytes) -> None:
        if (
            len(packet) < 40
            or packet[0] != 0x45
            or packet[9] != 6
            or packet[12:16] != socket.inet_aton(self.host.address)
        ):
            return
        sport, dport, seq = struct.unpack_from("!HHI", packet, 20)
        if dport == 22:
            self.last = (sport, seq)


# --- the services --------------------------------------------------------------------------------------------------


def start_sshd(gateway: Host, work: Path) -> list[str]:
    """Start sshd with keys of its own; returns the ssh command line that logs in."""
    for key in ("host", "user"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", key, "-f", str(work / key))
    Path("/run/sshd").mkdir(exist_ok=True)
    config = work / "sshd_config"
    config.write_text(
        f"HostKey {work}/host\nAuthorizedKeysFile {work}/user.pub\nListenAddress {GATEWAY}\nPidFile none\n"
        "StrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nPrintMotd no\n"
        "PrintLastLog no\n"
    )
    sshd = shutil.which("sshd")
    assert sshd is not None
    gateway.start(sshd, "-D", "-E", str(work / "sshd.log"), "-f", str(config))
    (work / "known_hosts").write_text(f"{GATEWAY} {(work / 'host.pub').read_text()}")
    return [
        "ssh",
        "-F",
        "none",
        "-i",
        f"{work}/user",
        "-o",
        f"UserKnownHostsFile={work}/known_hosts",
        f"root@{GATEWAY}",
    ]


def start_vsftpd(gateway: Host, work: Path) -> None:
    root = work / "ftp"
    (root / "incoming").mkdir(parents=True)
    shutil.chown(root / "incoming", "ftp", "ftp")
    (root / "readme.txt").write_text("Files of the example gateway.\n" * 40)
    config = work / "vsftpd.conf"
    config.write_text(
        f"listen=YES\nbackground=NO\nlisten_address={GATEWAY}\nanonymous_enable=YES\nlocal_enable=NO\nanon_root={root}\n"
        "write_enable=YES\nanon_upload_enable=YES\nanon_umask=022\nno_anon_password=NO\nconnect_from_port_20=YES\n"
        f"secure_chroot_dir={work}/empty\nseccomp_sandbox=NO\nisolate=NO\nisolate_network=NO\nxferlog_enable=NO\n"
        "ftpd_banner=Example gateway\nuse_localtime=NO\n"
    )
    (work / "empty").mkdir()
    gateway.start("vsftpd", str(config))


def start_web(host: Host, work: Path, port: int) -> None:
    """A web server in a thread that lives in the host's namespace."""
    site = work / "www"
    site.mkdir(exist_ok=True)
    (site / "index.html").write_text("<html><title>Example</title><body>Hello from the gateway.</body></html>\n")
    (site / "data.bin").write_bytes(bytes(range(256)) * 96)
    (site / "logo.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>\n')

    class Handler(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(site))  # type: ignore[arg-type]

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    def serve() -> None:
        server = ThreadingHTTPServer((host.address, port), Handler)  # bound here, in the namespace; accepts anywhere
        threading.Thread(target=server.serve_forever, daemon=True).start()

    host.within(serve)


def wait_for(host: Host, address: str, port: int) -> None:
    def connect() -> None:
        for _ in range(200):
            try:
                socket.create_connection((address, port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"nothing listens at {address}:{port}")

    host.within(connect)


# --- the recording -------------------------------------------------------------------------------------------------


def use_web(alice: Host, bob: Host, gateway: Host) -> None:
    quiet = {"stdout": subprocess.DEVNULL}
    site = f"http://{GATEWAY}"
    alice.run("curl", "-fsS", f"{site}/", f"{site}/data.bin", f"{site}/logo.svg", "-o", "/dev/null", **quiet)
    alice.run("curl", "-sS", f"{site}/missing", **quiet)
    for _ in range(4):
        bob.run("curl", "-fsS", "--http1.0", f"{site}/", **quiet)
    bob.run("curl", "-fsS", "--no-progress-meter", "-Z", *[f"{site}/data.bin"] * 3, **quiet)
    gateway.run("curl", "-fsS", f"http://{ALICE}:8080/", **quiet)


def use_ftp(alice: Host, bob: Host, work: Path) -> None:
    upload = work / "upload.txt"
    upload.write_text("one line of an upload\n" * 200)
    settings = "set net:timeout 5; set net:max-retries 1; set cmd:fail-exit on; set ftp:anon-pass guest;"
    # lftp asks with PASV over IPv4 unless told to prefer EPSV; curl asks with EPSV first.
    session = (
        f"cls -l; get readme.txt -o {work}/a; cd incoming; put {upload} -o up.txt; cls; get up.txt -o {work}/b; bye"
    )
    alice.run("lftp", "--norc", "-e", f"{settings} open {GATEWAY}; {session}", stdout=subprocess.DEVNULL)
    bob.run("curl", "-fsS", f"ftp://{GATEWAY}/readme.txt", "-o", str(work / "c"))
    bob.run("curl", "-fsS", "-T", str(upload), f"ftp://{GATEWAY}/incoming/epsv.txt", stdout=subprocess.DEVNULL)
    # A command connection alone, then a data connection that nobody announced: it has no expectation and is stopped.
    bob.within(lambda: unannounced_data_connection())


def unannounced_data_connection() -> None:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        try:
            probe.connect((GATEWAY, 34567))
        except TimeoutError:
            return
        raise RuntimeError("a data connection nobody announced got through")


def use_ssh(alice: Host, ssh: list[str]) -> None:
    alice.run(*ssh, "uname -s; seq 200", stdout=subprocess.DEVNULL)
    live: list[subprocess.Popen[bytes]] = []
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    Forger(alice).watch_and_strike(lambda: live.append(alice.start(*ssh, "cat", **pipes)))
    question = b"the session outlives a forged reset\n" * 5
    answer, _ = live[0].communicate(question, timeout=10)
    if answer != question:
        raise RuntimeError("the forged RST ended the ssh session")


def record(work: Path) -> None:
    """The part that runs inside the private namespaces; leaves `pcap` and `counters` in `work`."""
    run("mount", "-t", "tmpfs", "tmpfs", "/run")
    run("sysctl", "-q", "-w", "net.ipv6.conf.all.disable_ipv6=1")
    run("ip", "link", "add", "bridge", "address", "02:00:ac:10:06:fe", "type", "bridge", "mcast_snooping", "0")
    run("ip", "link", "set", "bridge", "up")
    gateway, alice, bob = Host("gateway", GATEWAY, 61), Host("alice", ALICE, 62), Host("bob", BOB, 11)
    ssh = start_sshd(gateway, work)
    start_vsftpd(gateway, work)
    start_web(gateway, work, 80)
    start_web(alice, work, 8080)
    for port in (21, 22, 80):
        wait_for(gateway, GATEWAY, port)
    wait_for(alice, ALICE, 8080)

    gateway.run(
        "iptables-legacy", "-t", "raw", "-A", "PREROUTING", "-p", "tcp", "--dport", "21", "-j", "CT", "--helper", "ftp"
    )
    dump = gateway.start(
        "tcpdump",
        "-i",
        "eth0",
        "-s",
        "0",
        "-U",
        "--immediate-mode",
        "-Z",
        "root",
        "-w",
        str(work / "pcap"),
        f"arp or host {GATEWAY}",
        stderr=subprocess.PIPE,
    )
    assert dump.stderr is not None
    dump.stderr.readline()  # "listening on eth0": from here on every packet is seen
    gateway.run("iptables-legacy-restore", str(HERE / "gateway.rules"))

    alice.run("ping", "-q", "-n", "-c", "4", "-i", "0.3", GATEWAY, stdout=subprocess.DEVNULL)
    bob.run("ping", "-q", "-n", "-c", "2", "-i", "0.3", "-s", "1200", GATEWAY, stdout=subprocess.DEVNULL)
    use_web(alice, bob, gateway)
    use_ssh(alice, ssh)
    use_ftp(alice, bob, work)
    bob.within(stray_packets)
    bob.run("nmap", "-sS", "-n", "-Pn", "-T4", "--max-retries", "1", "-p", "1-100", GATEWAY, stdout=subprocess.DEVNULL)
    alice.run("ping", "-q", "-n", "-c", "1", GATEWAY, stdout=subprocess.DEVNULL)

    time.sleep(0.5)
    saved = gateway.run("iptables-legacy-save", "-c", "-t", "filter", stdout=subprocess.PIPE).stdout.decode()
    dump.terminate()
    dump.wait(10)
    # The dates in the comments are the only thing in it that is not the kernel's answer.
    (work / "counters").write_text("".join(line for line in saved.splitlines(True) if not line.startswith("#")))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--capture", type=Path, default=HERE / "gateway.pcap", help="where the packets go")
    parser.add_argument(
        "--counters", type=Path, default=HERE / "gateway.counters", help="where the kernel's counters go"
    )
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        try:
            record(arguments.inside)
        except KeyboardInterrupt:
            return 130
        return 0
    if os.geteuid() != 0:
        print("record.py needs root: it makes network namespaces and loads firewall rules into them", file=sys.stderr)
        return 2
    install_missing()
    # The recorder is the first process of its process namespace: when it ends, or unshare does, so does all it started.
    unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        work.chmod(0o755)  # the servers read it under users of their own
        command = [*unshare, sys.executable, str(HERE / "record.py"), "--inside", directory]
        try:
            status = subprocess.run(command, timeout=TIME_LIMIT_S).returncode
        except subprocess.TimeoutExpired:
            print(f"record.py: not done after {TIME_LIMIT_S} seconds", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
        if status != 0:
            return status
        shutil.copyfile(work / "pcap", arguments.capture)
        shutil.copyfile(work / "counters", arguments.counters)
    print(f"{arguments.capture}: {arguments.capture.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
