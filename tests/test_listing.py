"""conntrack(8)'s listings: printed as it prints them, and read back."""

from __future__ import annotations

import os
import random
import shutil
import subprocess

import pytest

from fastfw import Connection, Engine
from fastfw.listing import SaveLineError, line, read_save, read_save_line, save_line
from traffic.generate import generate

NOW = 10**18
SETTINGS = {"nf_conntrack_max": 4096}


def table(seed: int, count: int = 3000) -> list[Connection]:
    engine = Engine(settings=SETTINGS)
    for packet in generate(seed, count):
        engine.decide(packet, now=NOW)
    return list(engine.connections())


def test_round_trip() -> None:
    """What is saved as text and read again is the same connection, as far as the text tells."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    listed = table(seed)
    again = read_save(save_line(connection) for connection in listed)
    assert sorted(map(line, again)) == sorted(map(line, listed))
    marked = read_save_line(save_line(listed[0]) + " --mark 0x4d")
    assert marked.mark == 77
    assert len(listed) > 100


def test_inserted_connections_are_found() -> None:
    """A connection entered from text lists as the original does, and its packets belong to it in either direction."""
    listed = table(7)
    engine = Engine(settings=SETTINGS)
    engine.expire(NOW)
    for connection in read_save(map(save_line, listed)):
        assert engine.insert(connection)
        assert not engine.insert(connection), "once only"
    assert sorted(map(str, engine.connections())) == sorted(map(str, listed))


def test_delete() -> None:
    """What is asked for goes, nothing else does."""
    engine = Engine(settings=SETTINGS)
    for packet in generate(8, 2000):
        engine.decide(packet, now=NOW)
    before = {str(connection) for connection in engine.connections()}
    gone = engine.delete(lambda connection: connection.protocol == 17)
    assert gone
    assert all(connection.protocol == 17 for connection in gone)
    assert {str(connection) for connection in engine.connections()} == before - {str(connection) for connection in gone}
    assert engine.conntrack_count == len(before) - len(gone)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "-A expected"),
        ("-D -s 1.2.3.4", "-A expected"),
        ("-A -s 1.2.3.4 -p udp", "destination address: missing"),
        ("-A -s 1.2.3 -d 1.2.3.4 -p udp", "source address"),
        ("-A -s 1.2.3.4 -d ::1 -p udp", "one family"),
        ("-A -s 1.2.3.4 -d 1.2.3.5 -p what", "protocol"),
        ("-A -s 1.2.3.4 -d 1.2.3.5 -p \u00b2", "protocol: a name or a number"),
        ("-A -s 1.2.3.4 -d 1.2.3.5 -p " + "1" * 5000, "protocol: a name or a number"),
        ("-A -s 1.2.3.4 -d 1.2.3.5 -p udp --sport 70000", "source port"),
        ("-A -s 1.2.3.4 -d 1.2.3.5 -p udp --sport", "a value expected"),
        ("-A -s 1.2.3.4 -d 1.2.3.5 -p tcp --state UP", "state: one of"),
        ("-A -s 1.2.3.4 -d 1.2.3.5 -p udp -u GOOD", "status"),
        ("-A -s 1.2.3.4 -d 1.2.3.5 -r 9.9.9.9 -p udp", "not translated"),
        ("-A -s 1.2.3.4 -d 1.2.3.5 -p icmp --icmp-type 0", "a request's expected"),
        ("-A --colour red", "an option of conntrack"),
        ("-A -s 1.2.3.4 -s 1.2.3.4", "given twice"),
    ],
)
def test_bad_lines(text: str, wrong: str) -> None:
    """A line that is none is one clear error."""
    with pytest.raises(SaveLineError, match=wrong):
        read_save_line(text)
    if text:
        with pytest.raises(SaveLineError, match=f"line 3: .*{wrong}"):
            read_save(["# a comment", "", text])


@pytest.mark.kernel
@pytest.mark.skipif(os.geteuid() != 0, reason="asking the real conntrack needs root")
@pytest.mark.skipif(shutil.which("conntrack") is None, reason="the real conntrack is not installed")
def test_the_real_conntrack_agrees() -> None:
    """The real conntrack takes our saved lines, and prints them and its listings as we do."""
    connections = [
        "-A -t 300 -u UNSET -s 10.0.0.1 -d 10.0.0.2 -r 10.0.0.2 -q 10.0.0.1 -p udp --sport 5 --dport 6"
        " --reply-port-src 6 --reply-port-dst 5",
        "-A -t 400 -u SEEN_REPLY,ASSURED -s 10.0.0.1 -d 10.0.0.2 -r 10.0.0.2 -q 10.0.0.1 -p tcp --sport 5 --dport 6"
        " --reply-port-src 6 --reply-port-dst 5 --state ESTABLISHED",
        "-A -t 500 -u SEEN_REPLY -s fd00::1 -d fd00::2 -r fd00::2 -q fd00::1 -p tcp --sport 5 --dport 65535"
        " --reply-port-src 65535 --reply-port-dst 5 --state SYN_RECV",
        "-A -t 600 -u SEEN_REPLY -s 10.0.0.1 -d 10.0.0.2 -r 10.0.0.2 -q 10.0.0.1 -p icmp --icmp-type 8 --icmp-code 0"
        " --icmp-id 900",
    ]
    ours = read_save(connections)
    orders = "; ".join(
        f"conntrack -I {text.removeprefix('-A ').replace('-u UNSET ', '')}" for text in map(save_line, ours)
    )
    listings = "conntrack -L -o save; conntrack -L -o save -f ipv6; conntrack -L; conntrack -L -f ipv6"
    script = f"({orders}) >/dev/null; {listings}"
    done = subprocess.run(
        ["unshare", "--net", "bash", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    printed = {_timeless(text) for text in done.stdout.splitlines()}
    assert {_timeless(save_line(connection)) for connection in ours} <= printed, done.stderr
    assert {_timeless(line(connection)) for connection in ours} <= printed, done.stderr


def _timeless(text: str) -> str:
    """A line without its seconds, which may have passed on."""
    words = text.split()
    if (words and words[0] == "-A") or len(words) > 2:
        words[2] = "T"
    return " ".join(words)
