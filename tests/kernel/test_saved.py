"""Tables as `conntrack -o save` text, out of the engine into the kernel and out of the kernel into the engine."""

from __future__ import annotations

import re
import shutil
import tempfile

import numpy as np
import pytest
from tests.kernel.compare import Setup, ours_in_words, packet_differs, table_differences
from tests.kernel.oracle import IN_DEVICE, OUT_DEVICE, Oracle, missing, pack, words
from tests.traffic.describe import can_be_sent_on, describe, is_fragment
from tests.traffic.generate import generate

from fastfw.listing import line, read_save, save_line

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
    pytest.mark.skipif(shutil.which("conntrack") is None, reason="conntrack(8) reads and writes the kernel's table"),
]

EVERYTHING = ("tcp", "tcp", "udp", "icmp", "sctp", "gre", "udplite", "other")
SECOND = 1_000_000_000
ZONES = "*raw\n-A PREROUTING -p udp -j CT --zone 7\nCOMMIT\n"


def saved(oracle: Oracle) -> list[str]:
    """The kernel's table as conntrack prints it to be loaded again; it has no word for one of SCTP's states."""
    text = oracle.command("conntrack", "-L", "-o", "save")
    return text.replace("(null)", "HEARTBEAT_SENT").splitlines()


def listed(oracle: Oracle) -> list[str]:
    return oracle.command("conntrack", "-L").replace("(null)", "HEARTBEAT_SENT").splitlines()


def untimed(text: str) -> str:
    """A line without the seconds its connection has left, which two readings of a clock need not agree on."""
    return re.sub(r"-t \d+|(?<=\d) \d+(?= [A-Z\ds])", "T", text, count=1)


def traffic(seed: int, count: int) -> list[bytes]:
    return [packet for packet in generate(seed, count, 0.1, EVERYTHING) if not is_fragment(packet)]


@pytest.mark.parametrize("rules", ["", ZONES])
def test_the_kernels_text_is_ours(rules: str) -> None:
    """What conntrack saves and lists of the kernel's table is what the engine saves and lists of its own; loaded into
    another engine it is the same table."""
    packets = traffic(31, 4_000)
    setup = Setup(rules4=rules or None, rules6=rules or None)
    with setup.oracle() as oracle:
        answers = oracle.ask(packets)
        since = oracle.moment()
        kernel, lines = saved(oracle), listed(oracle)
    engine = setup.engine()
    engine.process(*pack(packets), answers["time_ns"], iif=IN_DEVICE, oif=OUT_DEVICE)
    engine.expire(since)
    for theirs, ours in ((kernel, save_line), (lines, line)):
        assert sorted(map(untimed, map(ours, engine.connections()))) == sorted(map(untimed, theirs))


@pytest.mark.parametrize("rules", ["", ZONES])
@pytest.mark.parametrize("seed", [41, 42, 43])
def test_a_table_loaded_from_text_decides_as_the_kernels(rules: str, seed: int) -> None:
    """The same saved text loaded by conntrack into the kernel and into an engine is the same table, and what comes
    next is decided alike."""
    packets = traffic(seed, 6_000)
    setup = Setup(rules4=rules or None, rules6=rules or None)
    first = setup.engine()
    first.process(*pack(packets[:3000]), np.full(3000, SECOND), iif=IN_DEVICE, oif=OUT_DEVICE)
    # conntrack itself cannot load these of its own: the kernel refuses EXPECTED, and some states are none to it
    text = [save_line(each) for each in first.connections() if each.state != "HEARTBEAT_SENT" and each.protocol != 33]
    engine = setup.engine()
    with setup.oracle() as oracle, tempfile.NamedTemporaryFile("w") as file:
        file.write("\n".join([*text, ""]))
        file.flush()
        engine.expire(oracle.moment())
        assert all(engine.insert(connection) for connection in read_save(text))
        oracle.command("conntrack", "-R", file.name)
        assert sorted(map(untimed, saved(oracle))) == sorted(map(untimed, text))
        since, table = oracle.moment(), oracle.table()
        engine.expire(since)
        before = [str(connection) for connection in engine.connections()]
        engine.expire(oracle.moment())
        assert not table_differences(table, before, list(map(str, engine.connections())))
        answers = oracle.ask(packets[3000:])
    ours = engine.process(*pack(packets[3000:]), answers["time_ns"], iif=IN_DEVICE, oif=OUT_DEVICE)
    differing = [
        f"{describe(packet)}: kernel {words(theirs)}, ours {ours_in_words(mine)}"
        for packet, theirs, mine in zip(packets[3000:], answers, ours, strict=True)
        if packet_differs(theirs, mine) and can_be_sent_on([packet])
    ]
    assert differing == []
