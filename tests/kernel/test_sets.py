"""Sets of the real ipset in the kernel, and in the engine: counters, verdicts and contents agree."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from tests.kernel.counted import counted_otherwise
from tests.kernel.oracle import IN_DEVICE, OUT_DEVICE, Oracle, missing, pack
from tests.traffic.generate import generate
from tests.traffic.packets import SYN, icmp_packet, tcp_packet, udp_packet
from tests.traffic.sets import asking, sets

import fastfw
from fastfw.core.terms import Verdict
from fastfw.sets import Sets

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
    pytest.mark.skipif(shutil.which("ipset") is None, reason="the real ipset is not installed"),
]

_LEAVES_OUT = re.compile(r" initval 0x[0-9a-f]+| forceadd")
_TIMEOUT = re.compile(r" timeout [1-9][0-9]*")


def restore(oracle: Oracle, text: str, folder: Path) -> None:
    """Load sets in the oracle's namespace; skip where its kernel does not know their types."""
    path = folder / "sets"
    path.write_text(text)
    try:
        oracle.command("ipset", "restore", "-file", str(path))
    except RuntimeError as error:
        if "not supported" not in str(error):
            raise
        pytest.skip(f"this kernel lacks a type of set: {error}")


def content(text: str, timeouts: bool = False) -> list[str]:
    """Lines of sets in one order, without what depends on chance, or on the clock unless `timeouts` are wanted."""
    lines = (_LEAVES_OUT.sub("", line) for line in text.splitlines())
    return sorted(line if timeouts else _TIMEOUT.sub(" timeout N", line) for line in lines)


@pytest.mark.parametrize("seed", range(3600, 3604))
def test_sets_are_asked_and_changed_as_the_kernel_does(seed: int, tmp_path: Path) -> None:
    """Every type, option and extension: each rule's counters, each packet's verdict and each element at the end."""
    texts = {family: asking(seed, family) for family in (4, 6)}
    packets = generate(seed, 2_000)
    with Oracle() as oracle:
        print(f"kernel {oracle.kernel}, seed {seed}, {len(packets)} packets")
        restore(oracle, sets(seed), tmp_path)
        before = oracle.command("ipset", "save")
        oracle.load(texts[4], texts[6])
        answers = oracle.ask(packets)
        counted = {family: fastfw.Ruleset.parse(oracle.counters(family), family) for family in (4, 6)}
        after = oracle.command("ipset", "save")
    parsed = Sets.parse(sets(seed))
    assert content(parsed.save()) == content(before)
    rules = {family: fastfw.Ruleset.parse(text, family) for family, text in texts.items()}
    engine = fastfw.Engine(rules4=rules[4], rules6=rules[6], sets=parsed)
    out = engine.process(*pack(packets), answers["time_ns"], iif=IN_DEVICE, oif=OUT_DEVICE)
    found = counted_otherwise(engine, counted)
    found += [
        f"packet {index}: kernel {bool(answers['answered'][index])}, ours {out['verdict'][index]}"
        for index in np.flatnonzero((out["verdict"] == Verdict.VERDICT_ACCEPT) != answers["answered"])
    ]
    theirs, ours = content(after), content(engine.sets.save())
    found += [f"kernel's alone: {line}" for line in theirs if line not in ours]
    found += [f"ours alone: {line}" for line in ours if line not in theirs]
    assert not found, f"seed {seed}: {len(found)} differences\n" + "\n".join(found[:20])


FULL = (
    "create one hash:ip maxelem 7\ncreate two hash:ip,port maxelem 3 counters\ncreate both list:set\n"
    "add both two\nadd both one\n"
)
ADDING = (
    "*mangle\n-A FORWARD -p tcp -j SET --add-set one src\n-A FORWARD -p udp -j SET --add-set both src,src\n"
    "-A FORWARD -m set --match-set one src\n-A FORWARD -m set --match-set both src,src\nCOMMIT\n"
)  # fmt: skip


def test_a_full_set_takes_no_more(tmp_path: Path) -> None:
    """Packets add up to maxelem elements, to the first set of a list that lets them."""
    hosts = [bytes([10, 1, 0, last]) for last in range(1, 12)]
    server = bytes([10, 2, 0, 1])
    first = [tcp_packet(host, server, 1000, 80, SYN, 1) for host in hosts[:8]]
    then = [udp_packet(host, server, 1000, 53, b"x") for host in hosts]
    asked = first * 2 + then * 2
    with Oracle() as oracle:
        restore(oracle, FULL, tmp_path)
        oracle.load(ADDING, None)
        answers = oracle.ask(asked)
        counted = {4: fastfw.Ruleset.parse(oracle.counters(4), 4)}
        after = oracle.command("ipset", "save")
    engine = fastfw.Engine(rules4=fastfw.Ruleset.parse(ADDING, 4), sets=FULL)
    engine.process(*pack(asked), answers["time_ns"], iif=IN_DEVICE, oif=OUT_DEVICE)
    assert counted_otherwise(engine, counted) == []
    assert content(engine.sets.save()) == content(after)


TIMES = (
    "*mangle\n-A FORWARD -p tcp -j SET --add-set short src --timeout 2\n-A FORWARD -p udp -j SET --add-set short src "
    "--exist\n-A FORWARD -m set --match-set short src\n-A FORWARD -m set --match-set given src\nCOMMIT\n"
)


def test_elements_leave_when_their_time_is_over(tmp_path: Path) -> None:
    """A packet adds for the time of its rule or of the set, --exist begins it anew; what a file says counts
    from the first packet on."""
    one, two, three, server = (bytes([10, side, 0, last]) for side, last in ((1, 1), (1, 2), (1, 3), (2, 1)))
    text = "create short hash:ip timeout 6\ncreate given hash:ip timeout 0\n" + "".join(
        f"add given {'.'.join(map(str, host))} timeout {seconds}\n"
        for host, seconds in ((one, 2), (two, 6), (three, 0))
    )
    asked = [tcp_packet(host, server, 1000, 80, SYN, 1) for host in (one, two)]
    asked += [udp_packet(host, server, 1000, 53, b"x") for host in (two, three)]
    look = [icmp_packet(host, server, 8, 0) for host in (one, two, three)]
    with Oracle() as oracle:
        restore(oracle, text, tmp_path)
        oracle.load(TIMES, None)
        answers = [oracle.ask(asked)]
        for pause in (0.5, 3.5, 3.5):
            time.sleep(pause)
            answers.append(oracle.ask(look))
        counted = {4: fastfw.Ruleset.parse(oracle.counters(4), 4)}
    engine = fastfw.Engine(rules4=fastfw.Ruleset.parse(TIMES, 4), sets=text)
    times = np.concatenate(answers)["time_ns"]
    engine.process(*pack(asked + look * 3), times, iif=IN_DEVICE, oif=OUT_DEVICE)
    assert counted_otherwise(engine, counted) == []
