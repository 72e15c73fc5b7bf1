"""fastfw replay: every option, every output, every input that cannot be used."""

import contextlib
import csv
import io
import json
import os
import pty
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers import capfiles as cf
from fastfw import cli
from fastfw.drivers.pcapwrite import write_pcap

T = 1_700_000_000_000_000_000
SECOND = 1_000_000_000


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def address(text: str) -> bytes:
    return bytes(map(int, text.split(".")))


def ip(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0)
    head += address(source) + address(destination)
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def udp(source: str, sport: int, destination: str, dport: int, data: bytes = b"", wrong: int = 0) -> bytes:
    size = 8 + len(data)
    pseudo = address(source) + address(destination) + struct.pack(">BBH", 0, 17, size)
    body = struct.pack(">HHHH", sport, dport, size, 0) + data
    total = checksum(pseudo + body) ^ wrong
    return ip(source, destination, 17, body[:6] + struct.pack(">H", total) + body[8:])


def tcp(source: str, sport: int, destination: str, dport: int, flags: int, seq: int = 1, ack: int = 0) -> bytes:
    body = struct.pack(">HHIIBBHHH", sport, dport, seq, ack, 0x50, flags, 65535, 0, 0)
    pseudo = address(source) + address(destination) + struct.pack(">BBH", 0, 6, len(body))
    return ip(source, destination, 6, body[:16] + struct.pack(">H", checksum(pseudo + body)) + body[18:])


CLIENT, SERVER = "10.0.0.1", "10.0.0.2"
EXCHANGE = [
    tcp(CLIENT, 1000, SERVER, 80, 0x02, 100),
    tcp(SERVER, 80, CLIENT, 1000, 0x12, 500, 101),
    tcp(CLIENT, 1000, SERVER, 80, 0x10, 101, 501),
    udp(CLIENT, 53, SERVER, 53, b"question"),
    tcp(CLIENT, 1000, SERVER, 80, 0x07, 101, 501),
]


@pytest.fixture
def exchange(tmp_path: Path) -> Path:
    path = tmp_path / "exchange.pcap"
    write_pcap(path, EXCHANGE, range(T, T + 5 * SECOND, SECOND))
    return path


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def replay(*argv: object) -> int:
    return cli.main(["replay", *map(str, argv)])


def test_packets(exchange: Path, tmp_path: Path) -> None:
    """--packets has the contract's header and a line a record, counted from 0, with `-` for what is absent."""
    out = tmp_path / "out.csv"
    assert replay(exchange, "--packets", out) == 0
    assert out.read_text().splitlines() == [
        "packet,verdict,state,direction,assured,seen_reply,expected,rule,reason",
        "0,ACCEPT,NEW,ORIGINAL,0,0,0,-,-",
        "1,ACCEPT,ESTABLISHED,REPLY,0,1,0,-,-",
        "2,ACCEPT,ESTABLISHED,ORIGINAL,1,1,0,-,-",
        "3,ACCEPT,NEW,ORIGINAL,0,0,0,-,-",
        "4,ACCEPT,INVALID,ORIGINAL,0,0,0,-,tcp_flags",
    ]


def test_records_without_ip_keep_their_number(tmp_path: Path) -> None:
    """A record that is no IP packet has `-` for verdict, state and direction, and its reason."""
    path, out = tmp_path / "arp.pcap", tmp_path / "out.csv"
    write_pcap(path, [cf.ethernet(bytes(28), 0x0806), cf.ethernet(EXCHANGE[0]), b"short"], [T, T, T], linktype=1)
    assert replay(path, "--packets", out) == 0
    assert [(r["packet"], r["verdict"], r["state"], r["direction"], r["reason"]) for r in rows(out)] == [
        ("0", "-", "-", "-", "arp"),
        ("1", "ACCEPT", "NEW", "ORIGINAL", "-"),
        ("2", "-", "-", "-", "link_truncated"),
    ]


def test_numbers_run_on_through_captures_and_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several captures are one stream: packets are numbered through, connections live on, at any step size."""
    monkeypatch.setattr("fastfw.cli.replay.STEP", 7)
    first, second, out = tmp_path / "1.pcap", tmp_path / "2.pcap", tmp_path / "out.csv"
    write_pcap(first, EXCHANGE[:2] * 50, range(100))
    write_pcap(second, EXCHANGE[2:3] * 20, range(100, 120))
    assert replay(first, "--packets", out, second) == 0
    found = rows(out)
    assert [int(r["packet"]) for r in found] == list(range(120))
    assert {r["state"] for r in found[100:]} == {"ESTABLISHED"}


def test_numbers_have_no_limit_of_digits(tmp_path: Path) -> None:
    """Numbers are counted correctly over every change of their length."""
    path, out = tmp_path / "many.pcap", tmp_path / "out.csv"
    path.write_bytes(cf.pcap([cf.record(cf.IPV4)] * 10_012))
    assert replay(path, "--packets", out) == 0
    assert [line.split(",")[0] for line in out.read_text().splitlines()[1:]] == list(map(str, range(10_012)))


def test_conntrack(exchange: Path, tmp_path: Path) -> None:
    """--conntrack is the table after the last packet, line for line as /proc/net/nf_conntrack prints it."""
    out = tmp_path / "table"
    assert replay(exchange, "--conntrack", out) == 0
    lines = sorted(out.read_text().splitlines())
    assert lines == [
        "ipv4     2 tcp      6 431998 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=1000 dport=80 "
        "src=10.0.0.2 dst=10.0.0.1 sport=80 dport=1000 [ASSURED] mark=0 zone=0 use=2",
        "ipv4     2 udp      17 29 src=10.0.0.1 dst=10.0.0.2 sport=53 dport=53 [UNREPLIED] "
        "src=10.0.0.2 dst=10.0.0.1 sport=53 dport=53 mark=0 zone=0 use=2",
    ]


def test_settings_take_effect(exchange: Path, tmp_path: Path) -> None:
    """--set reaches the engine, with or without the sysctl's prefix, and the last of a name wins."""
    out = tmp_path / "table"
    options = ["--set", "nf_conntrack_udp_timeout=7", "--set", "net.netfilter.nf_conntrack_udp_timeout=99"]
    assert replay(exchange, "--conntrack", out, *options) == 0
    assert "udp      17 98 " in out.read_text()


def test_time_running_backwards_stands_still(tmp_path: Path) -> None:
    """A timestamp before its predecessor's is taken as the same moment."""
    path, out = tmp_path / "back.pcap", tmp_path / "table"
    write_pcap(path, [EXCHANGE[3]] * 3, [T + 10 * SECOND, T, T + 11 * SECOND])
    assert replay(path, "--conntrack", out, "--packets", tmp_path / "p") == 0
    assert "17 30 " in out.read_text()


def test_json(exchange: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--json prints one object that a program can read, with the sums of all packets."""
    assert replay(exchange, "--json") == 0
    out, err = capsys.readouterr()
    assert err == ""
    found = json.loads(out)
    assert found["packets"] == {"records": 5, "ip": 5, "bytes": sum(map(len, EXCHANGE))}
    assert found["verdicts"] == {"ACCEPT": {"packets": 5, "bytes": sum(map(len, EXCHANGE))}}
    assert {name: s["packets"] for name, s in found["states"].items()} == {"NEW": 2, "ESTABLISHED": 2, "INVALID": 1}
    assert found["connections"] == {"tracked": 2, "limit": 262144}
    (first, second) = found["conversations"]["top"]
    assert (first["source"], first["source_port"], first["packets"]) == (CLIENT, 1000, 4)
    assert (second["protocol"], second["bytes"]) == ("udp", 36)
    assert [r["reason"] for r in found["reasons"]] == ["tcp_flags"]


def test_table_for_people(exchange: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json the summary is readable text with verdicts, states, protocols, reasons and top connections."""
    assert replay(exchange) == 0
    out = capsys.readouterr().out
    for words in (
        "Verdicts",
        "ESTABLISHED",
        "IPv4 tcp",
        "tcp_flags",
        "10.0.0.1:1000",
        "no TCP segment carries these flags",
    ):
        assert words in out


@contextlib.contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch, stream: str) -> Iterator[list[str]]:
    """Puts a terminal in the stream's place; the list holds all that was written to it afterwards."""
    leader, follower = pty.openpty()
    chunks: list[bytes] = []
    seen: list[str] = []

    def collect() -> None:
        with contextlib.suppress(OSError):  # the end of a terminal is an error
            while chunk := os.read(leader, 1 << 16):
                chunks.append(chunk)

    reader = threading.Thread(target=collect)
    reader.start()
    with os.fdopen(follower, "w") as file, monkeypatch.context() as patch:
        patch.setattr(stream, file)
        yield seen
    reader.join()
    os.close(leader)
    seen.append(b"".join(chunks).decode())


@pytest.mark.parametrize("rich", [True, False])
def test_table_on_a_terminal(exchange: Path, rich: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal rich draws the tables; without rich they are plain, never an error."""
    if not rich:
        for name in [name for name in sys.modules if name.partition(".")[0] == "rich"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "rich", None)
        monkeypatch.setitem(sys.modules, "rich.console", None)
    with terminal(monkeypatch, "sys.stdout") as seen:
        assert replay(exchange) == 0
    (text,) = seen
    assert "ESTABLISHED" in text
    assert ("\x1b[" in text) == rich


def test_bar_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay that takes long shows how far it is, on standard error if that is a terminal, and tidies up."""
    monkeypatch.setattr("fastfw.cli.progress.PATIENCE", 0.0)
    monkeypatch.setattr("fastfw.cli.replay.STEP", 100)
    monkeypatch.chdir(tmp_path)  # a long path would be cut where it stands in the bar
    path = Path("many.pcap")
    path.write_bytes(cf.pcap([cf.record(EXCHANGE[0])] * 2000))
    for rich in (True, False):
        if not rich:
            monkeypatch.setitem(sys.modules, "rich.progress", None)
        with terminal(monkeypatch, "sys.stderr") as seen:
            assert replay(path, "--packets", tmp_path / "p", "--json") == 0
        (text,) = seen
        assert "many.pcap" in text
        assert "%" in text


def test_local_addresses_choose_the_hook(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--local: packets to it meet INPUT, from it OUTPUT, all others FORWARD; IPv6 too."""
    path = tmp_path / "a.pcap"
    write_pcap(path, [*EXCHANGE[:4], cf.IPV6], range(T, T + 5))
    for local, hooks in (
        ([SERVER], {"INPUT": 3, "OUTPUT": 1, "FORWARD": 1}),
        ([CLIENT], {"INPUT": 1, "OUTPUT": 3, "FORWARD": 1}),
        (["10.9.9.9", "2001:db8::1"], {"FORWARD": 5}),
        (["fd00::2"], {"INPUT": 1, "FORWARD": 4}),
        (["fd00::1", "1.1.1.1"], {"OUTPUT": 1, "FORWARD": 4}),
    ):
        assert replay(path, "--json", *(word for a in local for word in ("--local", a))) == 0
        found = json.loads(capsys.readouterr().out)["hooks"]
        assert {name: counts["packets"] for name, counts in found.items()} == hooks


def test_checksum_offload_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """When most packets fail their checksum, say that it is offload and which setting to change, unless it is."""
    path = tmp_path / "offload.pcap"
    write_pcap(path, [udp(CLIENT, 1, SERVER, n, b"x", wrong=0x1111) for n in range(1, 20)], range(T, T + 19))
    assert replay(path) == 0
    assert "--set nf_conntrack_checksum=0" in capsys.readouterr().out
    assert replay(path, "--json", "--set", "nf_conntrack_checksum=0") == 0
    assert json.loads(capsys.readouterr().out)["hints"] == []


def test_full_table_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Packets that found no room in the table are counted and the setting is named."""
    path = tmp_path / "many.pcap"
    packets = []
    for port in range(1, 100):
        packets.append(tcp(CLIENT, port, SERVER, 80, 0x02, 100))
        packets.append(tcp(SERVER, 80, CLIENT, port, 0x12, 500, 101))
        packets.append(tcp(CLIENT, port, SERVER, 80, 0x10, 101, 501))
    write_pcap(path, packets, range(T, T + len(packets)))
    assert replay(path, "--set", "nf_conntrack_max=10") == 0
    assert "packets found the table full: raise it with --set nf_conntrack_max=N" in capsys.readouterr().out


def test_warnings_go_to_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is odd about a capture is said once, with the file's name, and is in the JSON; the status stays 0."""
    path = tmp_path / "cut.pcap"
    path.write_bytes(cf.pcap([cf.record(cf.IPV4)] * 2)[:-3])
    assert replay(path, "--json") == 0
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert err.startswith(f"fastfw: {path}: the file ends inside a record")
    assert json.loads(out)["captures"][0]["warnings"][0] in err


def test_padding_is_not_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bytes are those of the IP packet: Ethernet padding does not count, what the snap length cut does."""
    path = tmp_path / "pad.pcap"
    whole = udp(CLIENT, 1, SERVER, 2, bytes(100))
    write_pcap(
        path,
        [cf.ethernet(EXCHANGE[0]).ljust(60, b"\0"), cf.ethernet(whole)[:60]],
        [T, T],
        linktype=1,
        wire_length=[60, 14 + len(whole)],
    )
    assert replay(path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["packets"]["bytes"] == 40 + 128


def test_outputs_on_standard_output(exchange: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """With - an output goes to standard output and the summary to standard error."""
    assert replay(exchange, "--packets", "-") == 0
    out, err = capfd.readouterr()
    assert out.count("\n") == 6
    assert "Verdicts" in err


def test_capture_from_standard_input(
    exchange: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """- reads the capture from standard input."""
    saved = os.dup(0)
    with exchange.open("rb") as file:
        os.dup2(file.fileno(), 0)
    try:
        assert replay("-", "--json") == 0
    finally:
        os.dup2(saved, 0)
        os.close(saved)
    found = json.loads(capsys.readouterr().out)
    assert (found["captures"][0]["source"], found["packets"]["records"]) == ("standard input", 5)


def test_file_names_that_look_like_options(
    exchange: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Behind -- every argument is a file, whatever it begins with; - is still standard input."""
    monkeypatch.chdir(exchange.parent)
    exchange.rename("--json")
    assert replay("--json", "--", "--json", "--json") == 0
    assert json.loads(capsys.readouterr().out)["packets"]["records"] == 10
    assert replay("--", "-", "-") == 2
    assert "only one input" in capsys.readouterr().err


def test_capture_from_a_socket(exchange: Path, tmp_path: Path) -> None:
    """Standard input may be a socket, which has no name that could be opened."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(exchange.read_bytes())
        ours.shutdown(socket.SHUT_WR)
        command = [sys.executable, "-m", "fastfw", "replay", "-", "--json"]
        done = subprocess.run(command, stdin=theirs, capture_output=True, timeout=60, check=True)
    assert json.loads(done.stdout)["packets"]["records"] == 5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--set", "nf_conntrack_max"], "NAME=VALUE expected"),
        (["--set", "nf_conntrack_maxx=1"], "did you mean nf_conntrack_max?"),
        (["--set", "nf_conntrack_max=many"], "a whole number from 0 to 2147483647 expected, not `many'"),
        (["--set", "nf_conntrack_max="], "a whole number"),
        (["--set", "nf_conntrack_tcp_loose=2"], "from 0 to 1 expected, not 2"),
        (["--set", "nf_conntrack_max=-1"], "from 0 to 2147483647 expected, not -1"),
        (["--set", "nf_conntrack_count=5"], "read only"),
        (["--local", "gateway"], "--local gateway: an IPv4 or IPv6 address expected"),
        (["--local", "10.0.0.0/33"], "an IPv4 or IPv6 address expected"),
        (["--local", "10.0.0.1", "--hook", "INPUT"], "exclude each other"),
        (["--in-interface", "a-very-long-name"], "up to 15 bytes"),
        (["--helper", "nosuch"], "no helper is called 'nosuch'"),
        (["--helper", "ftp:sctp:21"], "tcp or udp expected, not 'sctp'"),
        (["--helper", "ftp:tcp:0"], "a port from 1 to 65535 expected"),
        (["--rules", "/nonexistent.rules"], "/nonexistent.rules: No such file or directory"),
        (["--rules", "/"], "/: Is a directory"),
        (["--packets", "/nonexistent/out.csv"], "--packets /nonexistent/out.csv: No such file or directory"),
        (["--packets", "-", "--json"], "standard output is taken by --json"),
        (["--packets", "-", "--conntrack", "-"], "two outputs cannot be one file"),
        (["--packets", "", "--json"], "--packets '': No such file or directory"),
        (["--rules", ""], "'': No such file or directory"),
        (["--packets", "/dev/full"], "/dev/full: No space left on device"),
    ],
)
def test_unusable_options(exchange: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An option that cannot be used is one clear line on standard error and status 2."""
    assert replay(exchange, *options) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert words in err
    assert "fault in fastfw" not in err


def test_unusable_captures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is no capture is named with the reason."""
    for content, words in ((b"", "empty file"), (b"hello", "neither pcap nor pcapng"), (b"\x1f\x8b\x08", "decompress")):
        path = tmp_path / "bad.pcap"
        path.write_bytes(content)
        assert replay(path) == 2
        err = capsys.readouterr().err
        assert err.startswith(f"fastfw: {path}: ")
        assert words in err
        assert err.count("\n") == 1
    assert replay(tmp_path) == 2
    assert "Is a directory" in capsys.readouterr().err


def test_an_input_is_never_overwritten(exchange: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An output that is one of the inputs is refused before anything is written."""
    before = exchange.read_bytes()
    assert replay(exchange, "--packets", exchange) == 2
    assert "writing would destroy" in capsys.readouterr().err
    assert exchange.read_bytes() == before


def test_two_outputs_in_one_file(exchange: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two outputs are never written into one file, by whatever names; any number may go to /dev/null."""
    (tmp_path / "link").symlink_to(tmp_path / "out")
    for other in (tmp_path / "out", tmp_path / "link"):
        assert replay(exchange, "--packets", tmp_path / "out", "--conntrack", other) == 2
        assert "two outputs cannot be one file" in capsys.readouterr().err
    assert replay(exchange, "--packets", "/dev/null", "--conntrack", "/dev/null", "--counters", "/dev/null") == 0


def test_helpers_make_related(capsys: pytest.CaptureFixture[str]) -> None:
    """With --helper ftp, or the setting that attaches every helper, the data connections of the example's FTP sessions
    are RELATED; without, they are NEW."""
    example = Path(__file__).parents[2] / "examples" / "gateway.pcap"
    related = []
    for options in ([], ["--helper", "ftp"], ["--set", "nf_conntrack_helper=1"]):
        assert replay(example, "--json", *options) == 0
        related.append(json.loads(capsys.readouterr().out)["states"].get("RELATED", {"packets": 0})["packets"])
    assert related[0] == 0
    assert related[1] == related[2] >= 3
