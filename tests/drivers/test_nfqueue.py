"""The NFQUEUE driver on real traffic, in a network namespace of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap

import pytest

from fastfw import Engine
from fastfw.drivers.nfqueue import Queue

live = [
    pytest.mark.live,
    pytest.mark.skipif(os.geteuid() != 0, reason="live queues need root"),
    pytest.mark.skipif(shutil.which("iptables-legacy") is None, reason="live queues need iptables-legacy"),
]

PROLOGUE = """
import json, socket, subprocess, threading
import fastfw
from fastfw.drivers.nfqueue import Queue, QueueError

def shell(command):
    subprocess.run(command, shell=True, check=True)

shell("ip link set lo up")
for chain in ("INPUT -p udp", "INPUT -p tcp"):
    shell(f"iptables-legacy -A {chain} -j NFQUEUE --queue-num 3")
RULES = '''*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
-A INPUT -i lo -p udp -m udp --dport 5000 -j ACCEPT
-A INPUT -p udp -m udp --dport 5002 -j REJECT
-A INPUT -p tcp -m tcp --dport 6000 --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT
COMMIT
'''
FORWARD_RULES = '''*filter
:FORWARD DROP [0:0]
-A FORWARD -p udp -m udp --dport 5000 -j ACCEPT
COMMIT
'''
engine = fastfw.Engine(rules4=fastfw.Ruleset.parse(RULES))

def receiver(port):
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", port))
    return made

def arrives(sock, seconds=20):
    # a wait for what must not come may be short, any other is long
    sock.settimeout(seconds)
    try:
        return sock.recv(65536)
    except TimeoutError:
        return None
"""


def in_namespace(program: str) -> dict[str, object]:
    """Run a program in a new network namespace; what it prints last is its result."""
    source = PROLOGUE + textwrap.dedent(program)
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", source], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(result, dict)
    return result


class TestLive:
    """A queue on the loopback device, the engine's rules alone deciding."""

    pytestmark = live

    def test_rules_decide(self) -> None:
        """What the rules accept arrives, what they drop does not, what they reject is handed to on_reject."""
        result = in_namespace("""
            rejected = []
            queue = Queue(engine, 3, on_reject=rejected.append)
            thread = threading.Thread(target=queue.run)
            thread.start()
            good, bad, refused = receiver(5000), receiver(5001), receiver(5002)
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            for port in (5000, 5001, 5002):
                sender.sendto(b"hello", ("127.0.0.1", port))
            got = [arrives(good), arrives(bad, 1), arrives(refused, 1)]
            queue.stop()
            thread.join()
            print(json.dumps({"got": [g and g.decode() for g in got], "rejected": [[r.packet[-5:].decode(), engine.rule_name(r.family, r.rule), r.hook, r.in_interface, r.vouched]
                                           for r in rejected],
                              **queue.statistics(), "count": engine.conntrack_count}))
        """)
        assert result["got"] == ["hello", None, None]
        assert result["rejected"] == [["hello", "filter:INPUT:rule:3", 1, "lo", True]]
        assert (result["received"], result["accepted"], result["dropped"]) == (3, 1, 2)
        assert result["count"] == 1, "what is dropped leaves no entry"

    def test_bulk_tcp(self) -> None:
        """Super-packets with checksums not yet written, cut at the copy range, pass as the stream they are."""
        result = in_namespace("""
            queue = Queue(engine, 3)
            thread = threading.Thread(target=queue.run)
            thread.start()
            server = socket.create_server(("127.0.0.1", 6000))
            client = socket.create_connection(("127.0.0.1", 6000), timeout=10)
            peer, _ = server.accept()
            total = 0
            def drain():
                global total
                while chunk := peer.recv(1 << 20):
                    total += len(chunk)
            reader = threading.Thread(target=drain)
            reader.start()
            for _ in range(50):
                client.sendall(bytes(1_000_000))
            client.close()
            reader.join()
            lines = [str(c) for c in engine.connections()]
            queue.stop()
            thread.join()
            print(json.dumps({"total": total, "lines": lines, "invalid": engine.counters["invalid"],
                              **queue.statistics()}))
        """)
        assert result["total"] == 50_000_000
        assert result["invalid"] == 0
        assert result["dropped"] == 0
        assert "[ASSURED]" in result["lines"][0]  # type: ignore[index]

    def test_event_loop(self) -> None:
        """Without a thread: poll() judges what has come and says how much that was."""
        result = in_namespace("""
            import select
            with Queue(engine, 3) as queue:
                sender, sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), receiver(5000)
                idle = queue.poll()
                for _ in range(10):
                    sender.sendto(b"x", ("127.0.0.1", 5000))
                select.select([queue.fileno()], [], [], 2)
                print(json.dumps({"idle": idle, "judged": queue.poll(), "first": arrives(sink).decode()}))
        """)
        assert result == {"idle": 0, "judged": 10, "first": "x"}

    def test_fragments(self) -> None:
        """The pieces of a datagram wait for the last one and then share its decision: all go on, or none does."""
        result = in_namespace("""
            # addresses a router forwards to, unlike loopback ones
            shell("ip link set lo mtu 1500; ip addr add 10.0.0.1/32 dev lo; ip addr add fd00::1/128 dev lo nodad")
            for tables in ("iptables-legacy", "ip6tables-legacy"):
                shell(f"{tables} -F; {tables} -t mangle -A PREROUTING -j NFQUEUE --queue-num 3")
            rules = fastfw.Ruleset.parse(FORWARD_RULES)
            got = {}
            with Queue(fastfw.Engine(rules4=rules, rules6=None), 3) as queue:
                thread = threading.Thread(target=queue.run)
                thread.start()
                for family, host in ((socket.AF_INET, "10.0.0.1"), (socket.AF_INET6, "fd00::1")):
                    for port in (5000, 5001):
                        receiver, sender = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
                        receiver.bind((host, port))
                        for size in (5000, 4000, 100):
                            sender.sendto(bytes(size), (host, port))
                        comes = 0 if family == socket.AF_INET and port == 5001 else 3
                        sizes = []
                        while (data := arrives(receiver, 20 if len(sizes) < comes else 1)) is not None:
                            sizes.append(len(data))
                        got[f"{host} {port}"] = sizes
                queue.stop()
                thread.join()
                print(json.dumps({**got, "held": queue.statistics()["held"]}))
        """)
        assert result == {
            "10.0.0.1 5000": [5000, 4000, 100],
            "10.0.0.1 5001": [],
            "fd00::1 5000": [5000, 4000, 100],
            "fd00::1 5001": [5000, 4000, 100],
            "held": 0,
        }

    def test_taken_queue(self) -> None:
        """A queue that another program has is one clear error."""
        result = in_namespace("""
            first = Queue(engine, 3)
            try:
                Queue(engine, 3)
                said = ""
            except QueueError as error:
                said = str(error)
            first.close()
            Queue(engine, 3).close()
            print(json.dumps({"said": said}))
        """)
        assert "queue 3" in str(result["said"])


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [({"number": 70000}, "number"), ({"copy_range": 20}, "copy_range"), ({"length": 0}, "length")],
)
def test_bad_arguments(arguments: dict[str, int], wrong: str) -> None:
    """Arguments out of range are refused by name before anything is opened."""
    with pytest.raises(ValueError, match=wrong):
        Queue(Engine(settings={"nf_conntrack_max": 10}), **arguments)


def test_without_rights() -> None:
    """Without CAP_NET_ADMIN the error says so."""
    if os.geteuid() == 0:
        code = (
            "import os, fastfw; from fastfw.drivers.nfqueue import Queue; os.setgid(65534); os.setuid(65534)\n"
            "try: Queue(fastfw.Engine(settings={'nf_conntrack_max': 10}), 9)\n"
            "except PermissionError as error: print(error)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "CAP_NET_ADMIN" in done.stdout + done.stderr
    else:
        with pytest.raises(PermissionError, match="CAP_NET_ADMIN"):
            Queue(Engine(settings={"nf_conntrack_max": 10}), 9)
