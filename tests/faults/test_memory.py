"""No memory at the n-th allocation, for every n: an error or a dropped packet, and an engine that works on."""

from __future__ import annotations

import pytest
from tests.faults.conftest import Run

LOOP = """
import fastfw.helpers
from fastfw.core.explain import watched
from tests.traffic import packets as p
A, B = b"\\x0a\\1\\0\\1", b"\\x0a\\2\\0\\1"
NOW = 10**9
def probe(engine):
    "An engine that has met a fault finds, begins and forgets connections as ever."
    there, back = p.udp_packet(A, B, 7, 8), p.udp_packet(B, A, 8, 7)
    assert engine.decide(there, now=NOW).verdict == "ACCEPT"
    assert engine.decide(back, now=NOW).state == "ESTABLISHED"
    engine.flush()
    assert engine.conntrack_count == 0

class Reader(fastfw.helpers.Helper):
    "Reads lines."
    name, ports, stream, record_end = "reader", ((6, 99),), True, b"\\n"
    def on_payload(self, payload, flow):
        return None

def every(make, act):
    "Do `act` with the first, the second, ... allocation refused, until it needs no more of them."
    failed = nth = 0
    while True:
        nth += 1
        engine = make()
        arm(NO_MEMORY, nth)
        try:
            act(engine)
        except MemoryError:
            failed += 1
        except OSError as error:
            assert error.errno == errno.ENOMEM
            failed += 1
        met = disarm()
        if engine is not None:
            probe(engine)
        if met < nth:
            break
    print(nth - 1, failed)
"""
RULES = r"""*filter
:FORWARD DROP [0:0]
:a - [0:0]
-A FORWARD -m recent --set --name x
-A FORWARD -m limit --limit 5/sec -j a
-A FORWARD -m string --algo bm --string abc -j a
-A FORWARD -p tcp -m multiport --dports 22,80 -j ACCEPT
-A FORWARD -j ACCEPT
COMMIT
"""
KEEPING = """*filter
-A FORWARD -j SET --add-set seen src
-A FORWARD -m hashlimit --hashlimit-above 9999/s --hashlimit-burst 9999 --hashlimit-mode srcip --hashlimit-name h
-A FORWARD -p tcp -m connlimit --connlimit-above 9999 --connlimit-mask 32 -j DROP
COMMIT
"""
SOURCES = "p.udp_packet(bytes([10, 1, number >> 8, number & 255]), B, 7, 9)"
SCENES = {
    "an engine": ("lambda: None", "lambda _: fastfw.Engine(settings={'nf_conntrack_acct': 1}, helpers=['ftp'])", 2),
    "a ruleset": (
        "fastfw.Engine",
        f"lambda e: e.replace(rules4=fastfw.Ruleset.parse({RULES!r}))",
        3,
    ),
    "packets": (
        f"lambda: fastfw.Engine(rules4=fastfw.Ruleset.parse({RULES!r}))",
        "lambda e: [e.decide(p.tcp_packet(A, B, port, 80, p.SYN, 1), now=NOW) for port in range(1, 300)]",
        0,
    ),
    "fragments": (
        "fastfw.Engine",
        "lambda e: [e.decide(piece, now=NOW) for number in range(3) "
        "for piece in p.fragments(p.udp_packet(A, B, 7, 9, bytes(4000)), 800, number)]",
        5,
    ),
    "a higher ceiling": (
        "lambda: fastfw.Engine(settings={'nf_conntrack_max': 64, 'nf_conntrack_acct': 1})",
        "lambda e: e.settings.update(nf_conntrack_max=100000)",
        3,
    ),
    "counting": ("fastfw.Engine", "lambda e: e.settings.update(nf_conntrack_acct=1)", 1),
    "listening": ("fastfw.Engine", "lambda e: e.watch(100)", 1),
    "an expectation": (
        "lambda: fastfw.Engine(helpers=['tftp'])",
        "lambda e: [e.decide(p.udp_packet(A, B, port, 69, b'\\0\\1f\\0octet\\0'), now=NOW) for port in range(1, 200)]",
        1,
    ),
    "sets": (
        "fastfw.Engine",
        "lambda e: fastfw.Engine(fastfw.Ruleset.parse('*filter\\nCOMMIT\\n'), sets='create seen hash:ip\\n')",
        5,
    ),
    "what a ruleset keeps of 300 sources": (
        f"lambda: fastfw.Engine(fastfw.Ruleset.parse({KEEPING!r}), sets='create seen hash:ip timeout 9\\n')",
        f"lambda e: [e.decide({SOURCES}, now=NOW) for number in range(300)]",
        6,
    ),
    "connections that are counted": (
        f"lambda: fastfw.Engine(fastfw.Ruleset.parse({KEEPING!r}), sets='create seen hash:ip\\n')",
        "lambda e: [e.decide(p.tcp_packet(A, B, port, 80, p.SYN, 1), now=NOW) for port in range(1, 300)]",
        2,
    ),
    "lines cut in two, their pieces in disorder": (
        "lambda: fastfw.Engine(helpers=[Reader()], settings={'nf_conntrack_tcp_be_liberal': 1})",
        "lambda e: [e.decide(p.tcp_packet(A, B, port, 99, flags, at, ack, payload=text), now=NOW) "
        "for port in range(1, 20) for flags, at, ack, text in "
        "((p.SYN, 0, 0, b''), (p.ACK, 1, 1, b'USER '), (p.ACK, 9, 1, b'e'), (p.ACK, 6, 1, b'abc'))]",
        20,
    ),
    "logging": ("fastfw.Engine", "lambda e: e.watch_logs(100)", 1),
    "explaining a packet": (
        f"lambda: fastfw.Engine(rules4=fastfw.Ruleset.parse({RULES!r}))",
        "lambda e: watched(e, p.tcp_packet(A, B, 7, 80, p.SYN, 1), 40, 1, '', '', NOW)",
        1,
    ),
    "a capture": ("lambda: None", "lambda _: fastfw.Capture('examples/gateway.pcap')", 0),
}


@pytest.mark.parametrize("scene", SCENES)
def test_without_memory(program: Run, scene: str) -> None:
    """Each allocation of the package's own fails once: nothing crashes, what is raised says that memory is short, and
    the engine finds, begins and forgets connections afterwards."""
    make, act, least = SCENES[scene]
    ended = program(LOOP + f"every({make}, {act})\n")
    assert ended.returncode == 0, ended.stderr
    allocations, failed = map(int, ended.stdout.split())
    print(f"{scene}: {allocations} allocations, of which {failed} were errors")
    assert allocations >= least
    assert allocations == 0 or scene != "packets", "no packet allocates"


def test_an_unlimited_table_that_cannot_grow(program: Run) -> None:
    """Where an unlimited table can grow no more, new connections are refused one by one and those there live on."""
    ended = program(
        LOOP
        + """
engine = fastfw.Engine(settings={"nf_conntrack_max": 64})
engine.settings["nf_conntrack_max"] = 0
room = engine._table_statistics()["capacity"]
arm(NO_MEMORY, 1)
verdicts = [engine.decide(p.udp_packet(A, B, 1 + port, 53), now=NOW).reason for port in range(room + 1)]
assert disarm() >= 1
assert verdicts[:room - 8] == [None] * (room - 8) and "insert_failed" in verdicts, verdicts
assert engine.decide(p.udp_packet(B, A, 53, 1), now=NOW).state == "ESTABLISHED"
assert engine.decide(p.udp_packet(A, B, 60000, 53), now=NOW).verdict == "ACCEPT"
"""
    )
    assert ended.returncode == 0, ended.stderr
