"""Record the conversations that ``test_kernel_recorded.py`` judges: ``python -m tests.helpers.record``.

Real clients and servers of the protocols that have a helper, in the namespaces of ``tests/kernel/record.py``; tcpdump
listens on the router's client side. Needs root and the Debian packages vsftpd, lftp, curl, tftpd-hpa, tftp-hpa,
ngircd, sip-tester, socat, ethtool and tcpdump; pure-ftpd, which Debian installs in vsftpd's place only, is unpacked
from its package. With names of scenes it records only those.
"""

from __future__ import annotations

import os
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

from tests.kernel.record import CLIENT, SERVER, Host, recorded, row, run

CAPTURES = Path(__file__).with_name("captures")


def bracketed(family: int) -> str:
    return SERVER[4] if family == 4 else f"[{SERVER[6]}]"


def ftp_clients(client: Host, family: int, work: Path) -> None:
    """Lists, a file each way, and a file that is not there; passive and active, old and extended commands."""
    at = f"ftp://{bracketed(family)}"
    curl = ("curl", "-s", "-m", "5", "-o", "/dev/null")
    client.run(*curl, f"{at}/", f"{at}/page.html", "-o", "/dev/null")  # EPSV
    client.run(*curl, "-P", "-", f"{at}/page.html")  # EPRT
    if family == 4:
        client.run(*curl, "--disable-epsv", f"{at}/page.html")
        client.run(*curl, "--disable-eprt", "-P", "-", f"{at}/missing", f"{at}/page.html", "-o", "/dev/null")
    for passive in ("on", "off"):
        script = f"set ftp:passive-mode {passive}; set net:timeout 3; set net:max-retries 1; set ftp:ssl-allow no; "
        script += f"open {at}; ls; get page.html -o /dev/null; put {work}/page.html -o upload/{family}{passive}; bye"
        client.run("lftp", "-c", script)


def vsftpd(client: Host, server: Host, family: int, work: Path) -> None:
    (work / "vsftpd.conf").write_text(
        f"listen=NO\nlisten_ipv6=YES\nbackground=NO\nanonymous_enable=YES\nlocal_enable=NO\nanon_root={work}/files\n"
        f"no_anon_password=YES\nconnect_from_port_20=YES\nsecure_chroot_dir={work}/empty\nseccomp_sandbox=NO\n"
        "isolate=NO\nisolate_network=NO\nport_enable=YES\nhide_ids=YES\nwrite_enable=YES\nanon_upload_enable=YES\n"
    )
    daemon = server.start("vsftpd", str(work / "vsftpd.conf"))
    time.sleep(0.5)
    ftp_clients(client, family, work)
    daemon.terminate()


def pure_ftpd(client: Host, server: Host, family: int, work: Path) -> None:
    run("sh", "-c", f"cd {work} && apt-get download -q pure-ftpd && dpkg -x pure-ftpd_*.deb unpacked")
    root = f"FTP_ANON_DIR={work}/files"
    daemon = server.start("env", root, f"{work}/unpacked/usr/sbin/pure-ftpd", "-e", "-H", "-g", str(work / "pure.pid"))
    time.sleep(0.5)
    ftp_clients(client, family, work)
    daemon.terminate()
    daemon.wait(5)


def tftp(client: Host, server: Host, family: int, work: Path) -> None:
    """A file each way, one that is not there, and one of several blocks with options negotiated (curl)."""
    daemon = server.start("in.tftpd", "-L", "-c", "-p", "-u", "root", "-s", str(work / "files"))
    time.sleep(0.5)
    ask = ("tftp", f"-{family}", "-m", "binary", SERVER[family], "-c")
    client.run(*ask, "get", "page.html", "/dev/null")
    client.run(*ask, "get", "missing", "/dev/null")
    client.run(*ask, "put", str(work / "page.html"), f"upload/tftp{family}")
    client.run("curl", "-s", "-m", "5", "-o", "/dev/null", f"tftp://{bracketed(family)}/page.html")
    daemon.terminate()


CHATTER = """
import re, socket, sys
nick, server, own, other = sys.argv[1:]
said = socket.create_connection((server, 6667), 5)
said.settimeout(5)
lines = said.makefile("r", encoding="utf-8", errors="replace", newline="\\r\\n")
def say(text):
    said.sendall(text.encode() + b"\\r\\n")
def wait(pattern):
    for line in lines:
        if line.startswith("PING"):
            say("PONG" + line[4:].strip())
        found = re.search(pattern, line)
        if found:
            return found
def offer(kind, name, size, data):
    with socket.create_server((own, 0)) as listening:
        listening.settimeout(5)
        number = int.from_bytes(socket.inet_aton(own), "big")
        say(f"PRIVMSG {other} :\\x01DCC {kind} {name} {number} {listening.getsockname()[1]}{size}\\x01")
        with listening.accept()[0] as taken:
            taken.sendall(data)
            taken.recv(4)
def accept():
    found = wait("\\x01DCC [A-Z]+ \\\\S+ ([0-9]+) ([0-9]+)")
    at = socket.inet_ntoa(int(found[1]).to_bytes(4, "big")), int(found[2])
    with socket.create_connection(at, 5) as taken:
        taken.recv(1000)
        taken.sendall(bytes(4))
say(f"NICK {nick}")
say(f"USER {nick} 0 * :{nick}")
wait(" 376 | 422 ")
if nick == "alice":
    wait("PRIVMSG alice :here")
    offer("CHAT", "chat", "", b"hello\\r\\n")
    offer("SEND", "note.txt", " 12", b"twelve bytes")
    say(f"PRIVMSG {other} :bye")
else:
    say("PRIVMSG alice :here")
    accept()
    accept()
    wait("PRIVMSG bob :bye")
say("QUIT :bye")
lines.read()
"""


def irc(client: Host, server: Host, family: int, work: Path) -> None:
    """Two clients of one server, on either side of the router: a chat and a file offered by the inner one."""
    (work / "chatter.py").write_text(CHATTER)
    (work / "ngircd.conf").write_text(
        "[Global]\nName = irc.example.test\nInfo = test\nAdminInfo1 = test\nMotdPhrase = hello\nPorts = 6667\n"
        f"ServerUID = root\nServerGID = root\nPidFile = {work}/ngircd.pid\n[Options]\nDNS = no\nIdent = no\nPAM = no\n"
        "SyslogFacility = local0\n"
    )
    daemon = server.start("ngircd", "-n", "-f", str(work / "ngircd.conf"))
    time.sleep(0.7)
    inner = client.start(sys.executable, str(work / "chatter.py"), "alice", SERVER[4], CLIENT[4], "bob")
    time.sleep(0.7)
    server.run(sys.executable, str(work / "chatter.py"), "bob", SERVER[4], SERVER[4], "alice")
    inner.wait(10)
    daemon.terminate()


def scenario(*steps: str) -> str:
    head = '<?xml version="1.0" encoding="ISO-8859-1" ?>\n<scenario name="recorded">\n'
    return head + "\n".join(steps) + "\n</scenario>\n"


def send(text: str) -> str:
    return f"<send><![CDATA[\n{textwrap.dedent(text).strip()}\n\n]]></send>"


def body(port: str, kind: str = "audio") -> str:
    return (
        "Content-Type: application/sdp\nContent-Length: [len]\n\nv=0\no=phone 1 1 IN IP[local_ip_type] [local_ip]\n"
        f"s=-\nc=IN IP[media_ip_type] [media_ip]\nt=0 0\nm={kind} {port} RTP/AVP 0\na=rtpmap:0 PCMU/8000\n"
    )


def request(method: str, number: int, to: str = "[peer_tag_param]") -> str:
    return (
        f"{method} sip:phone@[remote_ip]:[remote_port] SIP/2.0\n"
        "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n"
        "From: <sip:caller@[local_ip]:[local_port]>;tag=[pid]c[call_number]\n"
        f"To: <sip:phone@[remote_ip]:[remote_port]>{to}\nCall-ID: [call_id]\nCSeq: {number} {method}\n"
        "Contact: <sip:caller@[local_ip]:[local_port];transport=[transport]>\nMax-Forwards: 70\n"
    )


ANSWER = "SIP/2.0 {}\n[last_Via:]\n[last_From:]\n[last_To:];tag=[pid]s\n[last_Call-ID:]\n[last_CSeq:]\n"
CONTACT = "Contact: <sip:phone@[local_ip]:[local_port];transport=[transport]>\n"
EMPTY = "Content-Length: 0\n"


def calling(family: int) -> str:
    """An INVITE, one more in the call with another port, some media each time, BYE."""
    media = f"head -c 160 /dev/zero | socat -t 0.2 - UDP{family}:[remote_ip]:6000,bind=[local_ip]:{{port}}"
    stream = f'<nop><action><exec command="{media}"/></action></nop><pause milliseconds="600"/>'
    return scenario(
        send(request("INVITE", 1, "") + body("7078")),
        '<recv response="100" optional="true"/><recv response="180" optional="true"/><recv response="200"/>',
        send(request("ACK", 1) + EMPTY),
        stream.format(port=7078),
        send(request("INVITE", 2) + body("7090")),
        '<recv response="200"/>',
        send(request("ACK", 2) + EMPTY),
        stream.format(port=7090),
        send(request("BYE", 3) + EMPTY),
        '<recv response="200"/>',
    )


def called() -> str:
    return scenario(
        '<recv request="INVITE"/>',
        send(ANSWER.format("180 Ringing") + CONTACT + EMPTY),
        send(ANSWER.format("200 OK") + CONTACT + body("6000")),
        '<recv request="ACK"/><recv request="INVITE"/>',
        send(ANSWER.format("200 OK") + CONTACT + body("6000")),
        '<recv request="ACK"/><recv request="BYE"/>',
        send(ANSWER.format("200 OK") + EMPTY),
    )


def refused() -> str:
    return scenario(
        '<recv request="INVITE"/>',
        send(ANSWER.format("183 Session Progress") + CONTACT + body("6000")),
        send(ANSWER.format("486 Busy Here") + EMPTY),
        '<recv request="ACK"/>',
    )


def hopeful() -> str:
    return scenario(
        send(request("INVITE", 1, "") + body("7078")),
        '<recv response="183"/><recv response="486"/>',
        send(request("ACK", 1) + EMPTY),
    )


def registering() -> str:
    return scenario(
        send(request("REGISTER", 1, "") + "Expires: 600\n" + EMPTY),
        '<recv response="200"/>',
        send(request("REGISTER", 2, "") + "Expires: 0\n" + EMPTY),
        '<recv response="200"/>',
    )


def registrar() -> str:
    agreed = "Contact: <sip:caller@[remote_ip]:[remote_port];transport=[transport]>;expires={}\n"
    return scenario(
        '<recv request="REGISTER"/>',
        send(ANSWER.format("200 OK") + agreed.format(600) + EMPTY),
        '<recv request="REGISTER"/>',
        send(ANSWER.format("200 OK") + agreed.format(0) + EMPTY),
    )


def sip(client: Host, server: Host, family: int, work: Path, transport: str) -> None:
    """A call with media, one that is refused while it rings, a registration and its end."""
    at = bracketed(family)
    pairs = [(calling(family), called()), (hopeful(), refused()), (registering(), registrar())]
    for number, (asks, answers) in enumerate(pairs):
        for name, text in (("asks", asks), ("answers", answers)):
            (work / f"{name}{number}.xml").write_text(text)
        common = ("-m", "1", "-t", transport, "-nostdin", "-timeout", "15")
        ends = [("-i", host[family], "-p", "5060") for host in (SERVER, CLIENT)]
        answering = ("-rtp_echo", "-mi", SERVER[family], "-mp", "6000")
        daemon = server.start("sipp", "-sf", f"{work}/answers{number}.xml", *ends[0], *common, *answering, cwd=work)
        time.sleep(0.7)
        client.run("sh", "-c", " ".join(["cd", str(work), "&&", "sipp", f"'{at}:5060'", "-sf", f"asks{number}.xml",
                                         *ends[1], *common, "-mi", CLIENT[family]]))  # fmt: skip
        daemon.terminate()
        daemon.wait(10)


def sip_udp(client: Host, server: Host, family: int, work: Path) -> None:
    sip(client, server, family, work, "u1")


def sip_tcp(client: Host, server: Host, family: int, work: Path) -> None:
    sip(client, server, family, work, "t1")


IPV4_ONLY = ("irc",)
SCENES: tuple[Callable[[Host, Host, int, Path], None], ...] = (vsftpd, pure_ftpd, tftp, irc, sip_udp, sip_tcp)


def main() -> None:
    CAPTURES.mkdir(exist_ok=True)
    for scene in SCENES:
        if sys.argv[1:] and scene.__name__ not in sys.argv[1:]:
            continue
        for family in (4,) if scene.__name__ in IPV4_ONLY else (4, 6):
            with row() as (client, router, server), tempfile.TemporaryDirectory() as folder:
                work = Path(folder)
                for name in ("files", "files/upload", "empty"):
                    (work / name).mkdir()
                for place in (work, work / "files"):
                    (place / "page.html").write_text("<p>hello</p>\n" * 100)
                    os.chmod(place, 0o755)
                os.chmod(work / "files/upload", 0o777)
                with recorded(router, CAPTURES / f"{scene.__name__}{family}.pcap"):
                    scene(client, server, family, work)


if __name__ == "__main__":
    main()
