"""The comparison sees differences where there are some, and its reduction keeps what matters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from tests.kernel.compare import (
    Asked,
    Setup,
    ask,
    compare,
    differing,
    entries,
    explained,
    placed,
    shrink,
    table_differences,
)
from tests.kernel.oracle import ANSWER, TICK, Oracle, missing
from tests.kernel.parity import seeds
from tests.traffic import packets as p
from tests.traffic.describe import flow_key

LINE = (
    "ipv4     2 udp      17 {} src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1"
    + (" mark=0 zone=0 use={}")
)


def test_seconds_are_those_of_the_time_in_which_the_table_was_read() -> None:
    """An entry's seconds may be ours at either end of the reading or between, and nothing else."""
    for seconds, right in ((31, False), (30, True), (29, True), (28, True), (27, False)):
        found = table_differences([LINE.format(seconds, 2)], [LINE.format(30, 2)], [LINE.format(28, 3)])
        assert (found == []) == right


def test_an_entry_on_one_side_only_is_a_difference_unless_it_ended_meanwhile() -> None:
    """An entry the other side lacks is a difference, but for one of ours that ended while the table was read."""
    line = LINE.format(1, 2)
    assert len(table_differences([line], [], [])) == 1
    assert len(table_differences([], [line], [line])) == 1
    assert table_differences([], [line], []) == table_differences([line], [line], []) == []
    assert len(table_differences([line, line], [line], [])) == 1


def test_equal_lines_are_counted() -> None:
    """Two entries that print alike are two entries."""
    assert entries([LINE.format(5, 2), LINE.format(4, 2)]) == {" ".join(LINE.format("", "").split()[:-1]): [4, 5]}


def test_shrinking_keeps_only_what_the_failure_needs() -> None:
    """Of a thousand packets the three that make the failure are left, in order."""
    packets = [number.to_bytes(2, "big") for number in range(1000)]
    needed = [packets[3], packets[500], packets[998]]
    assert shrink(packets, lambda left: all(packet in left for packet in needed)) == needed


def test_seeds_are_ranges() -> None:
    """Seeds are given as numbers and ranges."""
    assert seeds("1,3-5") == [1, 3, 4, 5]


@pytest.mark.kernel
@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_a_planted_difference_is_found() -> None:
    """Where the two sides are set up differently the comparison says so: packet and table."""
    one, two = p.address("10.1.0.1"), p.address("10.2.0.1")
    stray = [p.tcp_packet(one, two, 40000, 80, p.ACK, 1, 1)]
    with Oracle({"nf_conntrack_tcp_loose": 0}) as oracle:
        found = compare(Setup(), oracle, stray)
    assert [difference.index for difference in found.differences] == [0, -1]
    assert differing(found.kernel, found.ours).tolist() == [0]
    assert np.all(found.kernel["state"] == 4)


def test_packets_are_placed_in_time() -> None:
    """Where some choice of ticks leaves nothing wrong it is found, also of several packets at once; where none does
    that is said, however many there are."""
    answers = np.zeros(40, ANSWER)
    answers["late_ns"][::3] = 2 * TICK
    asked = Asked([b""] * 40, answers, [], [], 0, 0)
    unsure = list(range(0, 40, 3))
    wanted = {3: TICK, 9: 2 * TICK, 36: TICK}

    def wrong(times: npt.NDArray[np.int64]) -> int | None:
        return next((index for index in range(40) if times[index] != wanted.get(index, 0)), None)

    assert placed(asked, unsure, wrong)
    assert not placed(asked, unsure, lambda times: 39)
    assert not placed(asked, unsure, lambda times: 0 if times[0] != 3 * TICK else None)
    assert not placed(asked, [], wrong)


@pytest.mark.kernel
@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_a_clock_that_moved_explains_what_it_can_and_nothing_else() -> None:
    """A packet at the edge of a timeout may be judged on either side of it; one far from it may not."""
    one, two = p.address("10.1.0.1"), p.address("10.2.0.1")
    there, back = p.echo(one, two, 5, 1), p.echo(two, one, 5, 1, reply=True)
    setup = Setup()
    with setup.oracle() as oracle:
        asked = ask(setup, oracle, [there, back, there])
    first, last = asked.answers["time_ns"], asked.answers["late_ns"]
    last[:2] = first[1] = first[0]
    edge = int(first[0]) + 30_000_000_000  # from here on the connection is gone
    asked = replace(asked, since=edge - TICK, until=edge + TICK)
    for early, late, right in ((edge, edge + TICK, False), (edge - TICK, edge, True), (edge, edge, False)):
        first[2], last[2] = early, late
        assert explained(setup, asked, flow_key(there)) == right
