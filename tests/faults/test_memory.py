"""No memory at the n-th allocation, for every n: an error or a dropped packet, and an engine that works on."""

from __future__ import annotations

import pytest
from tests.faults.conftest import Run

LOOP = """
import atexit, tempfile
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

class Caller(fastfw.helpers.Helper):
    "Announces tunnels both ways."
    name, ports, limit = "caller", ((17, 7000),), 0
    def on_payload(self, payload, flow):
        ends = (flow.source, flow.source_port), (flow.destination, 1)
        for (a, key), (b, call) in (ends, ends[::-1]):
            flow.expect(source=a, source_port=key, destination=b, port=call, protocol=47)

def tunnels(kept=[]):
    "A saved table with calls."
    if not kept:
        with tempfile.NamedTemporaryFile(delete=False) as file:
            kept.append(file.name)
        atexit.register(os.unlink, file.name)
        engine = fastfw.Engine(helpers=[Caller()])
        for port in range(1, 81):
            engine.decide(p.udp_packet(A, B, port, 7000, b"!"), now=NOW)
        engine.save_state(file.name)
    return kept[0]

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
INTERFACES = r"""*filter
:FORWARD DROP [0:0]
-A FORWARD -i eth+ -o wan0 -j ACCEPT
-A FORWARD -m set --match-set inside src,src -j ACCEPT
COMMIT
"""
MANY = r"""
def many(family):
    "A ruleset long enough to be sorted by every fact there is: ends, ports, protocols, interfaces, states."
    at = "10.{}.{}.0/24" if family == 4 else "2001:db8:{:x}:{:x}::/64"
    states = "NEW", "RELATED,ESTABLISHED", "INVALID"
    lines = [f"-A FORWARD ! -s {at.format(9, 9)} -p tcp -m multiport --dports 9,99 -j ACCEPT"]
    lines += [f"-A FORWARD -s {at.format(1 + i // 200, i % 200)} -d {at.format(2, i % 7)} -p {('tcp', 'udp')[i % 2]} "
             f"--sport 1024: --dport {i * 9}:{i * 9 + 5} -i eth{i % 5} -m conntrack --ctstate {states[i % 3]} -j DROP"
             for i in range(600)]
    lines += [f"-A FORWARD -p tcp -m multiport --dports {i},{i + 9},{i + 500}:{i + 600} -j ACCEPT"
              for i in range(1, 99, 7)]
    return fastfw.Ruleset.parse("\n".join(["*filter", *lines, "COMMIT", ""]), family=family)
four, six = many(4), many(6)
"""
CHANGING = r"""*mangle
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1200
COMMIT
"""
LABELLING = """*filter
-A FORWARD -m connlabel --label 5 --set -j ACCEPT
COMMIT
"""
GROWN = "create g hash:ip\n" + "".join(f"add g 10.0.{number >> 8}.{number & 255}\n" for number in range(300))
ELEMENTS = """create a hash:ip
add a 10.0.0.1
create l list:set
add l a
create n hash:net,iface
add n 10.0.0.0/8,eth+
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
    "a ruleset that keeps what it counts": (
        "fastfw.Engine",
        f"lambda e: e.replace(rules4=fastfw.Ruleset.parse({KEEPING!r}), sets='create seen hash:ip\\n')",
        9,
    ),
    "labels": (
        "fastfw.Engine",
        f"lambda e: e.replace(rules4=fastfw.Ruleset.parse({LABELLING!r}))",
        3,
    ),
    "tunnels that are announced": (
        "lambda: fastfw.Engine(helpers=[Caller()])",
        "lambda e: [e.decide(p.udp_packet(A, B, port, 7000, b'!'), now=NOW) for port in range(1, 81)]",
        18,
    ),
    "tunnels that are taken over": (
        "lambda: tunnels() and fastfw.Engine(helpers=[Caller()])",
        "lambda e: (e.expire(NOW), e.load_state(tunnels()))",
        18,
    ),
    "a set that grows": (
        "fastfw.Engine",
        f"lambda e: e.replace(rules4=fastfw.Ruleset.parse('*filter\\nCOMMIT\\n'), sets={GROWN!r})",
        5,
    ),
    "IPv6 fragments": (
        "fastfw.Engine",
        "lambda e: [e.decide(piece, now=NOW) for number in range(3) "
        "for piece in p.fragments(p.udp_packet(A * 4, B * 4, 7, 9, bytes(4000)), 800, number)]",
        5,
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
        "((p.ACK, 1, 1, b'USER '), (p.ACK, 9, 1, b'e'), (p.ACK, 6, 1, b'abc'))]",
        39,
    ),
    "CT options": ("fastfw.Engine", "lambda e: [e._template(zone, False, 0, {}, 0, 0) for zone in range(20)]", 20),
    "a long ruleset": ("fastfw.Engine", "lambda e: e.replace(rules4=four)", 20),
    "a long ruleset of IPv6": ("fastfw.Engine", "lambda e: e.replace(rules6=six)", 20),
    "a name that a long ruleset hears": (
        "lambda: fastfw.Engine(four, six)",
        "lambda e: e.decide(p.udp_packet(A, B, 7, 8), iif='eth1', oif='eth9', now=NOW)",
        4,
    ),
    "rules that change headers": (
        "fastfw.Engine",
        f"lambda e: e.replace(rules4=fastfw.Ruleset.parse({CHANGING!r}))",
        3,
    ),
    "queues that are read": ("lambda: None", "lambda _: fastfw.Engine(queues=[1, 2])", 3),
    "sets with elements": (
        "fastfw.Engine",
        f"lambda e: e.replace(rules4=fastfw.Ruleset.parse('*filter\\nCOMMIT\\n'), sets={ELEMENTS!r})",
        5,
    ),
    "logging": ("fastfw.Engine", "lambda e: e.watch_logs(100)", 1),
    "explaining a packet": (
        f"lambda: fastfw.Engine(rules4=fastfw.Ruleset.parse({RULES!r}))",
        "lambda e: watched(e, p.tcp_packet(A, B, 7, 80, p.SYN, 1), 40, 1, '', '', NOW)",
        1,
    ),
    "a capture": ("lambda: None", "lambda _: fastfw.Capture('examples/gateway.pcap')", 0),
}


def test_a_name_that_cannot_be_remembered(program: Run) -> None:
    """Where memory is short when an interface's name is first heard, the packet is refused and the name is asked again:
    rules meet it then, and no name that takes its number is taken for it."""
    ended = program(
        LOOP
        + f"""
packet, nth, failed = p.udp_packet(A, B, 7, 8), 0, 0
def verdict(*names):
    return engine.decide(packet, iif=names[0], oif=names[1], now=NOW).verdict
while True:
    nth += 1
    engine = fastfw.Engine(rules4=fastfw.Ruleset.parse({INTERFACES!r}), sets="create inside hash:net,iface\\n"
                           "add inside 10.1.0.0/16,ppp0\\n")
    arm(NO_MEMORY, nth)
    try:
        assert verdict("eth0", "wan0") == "ACCEPT"
    except MemoryError:
        failed += 1
    if disarm() < nth:
        break
    assert verdict("dmz0", "wan0") == "DROP"
    assert verdict("ppp0", "dmz0") == "ACCEPT"
    assert verdict("eth0", "dmz0") == "DROP"
    assert verdict("eth0", "wan0") == "ACCEPT"
print(nth - 1, failed)
"""
    )
    assert ended.returncode == 0, (ended.returncode, ended.stderr)
    allocations, failed = map(int, ended.stdout.split())
    print(f"{allocations} allocations, of which {failed} were errors")
    assert allocations == failed >= 4


@pytest.mark.parametrize("scene", SCENES)
def test_without_memory(program: Run, scene: str) -> None:
    """Each allocation of the package's own fails once: nothing crashes, what is raised says that memory is short, and
    the engine finds, begins and forgets connections afterwards."""
    make, act, least = SCENES[scene]
    ended = program(LOOP + (MANY if "long ruleset" in scene else "") + f"every({make}, {act})\n")
    assert ended.returncode == 0, ended.stderr
    allocations, failed = map(int, ended.stdout.split())
    print(f"{scene}: {allocations} allocations, of which {failed} were errors")
    assert allocations >= least
    assert allocations == 0 or scene != "packets", "no packet allocates"
    assert failed or scene != "tunnels that are taken over", "a saved call that there is no memory for is told of"


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
