"""The FTP helper against the kernel's own, line by line."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from tests.kernel.oracle import Oracle
from tests.traffic import packets as p

from fastfw.helpers import find

from .ftp_lines import conversation, scattered
from .kernel import Ends, Say, ask_kernel, differences, ends, missing

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

CONVERSATIONS = 3000
"""Of each kind and seed; each leaves at most one expectation, and nf_conntrack_expect_max is 4096."""


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    # Lines out of place must reach the helper: without windows every segment of a live connection is ESTABLISHED.
    with Oracle({"nf_conntrack_tcp_be_liberal": 1}, helpers=[("ftp", "tcp", 21)]) as made:
        yield made


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", [conversation, scattered])
def test_same_drops_and_expectations(
    oracle: Oracle, family: int, kind: Callable[[random.Random, Ends], list[Say]], seed: int
) -> None:
    """Valid, odd, mutated, cut, repeated and misplaced lines: same packets dropped, same expectations left."""
    chance = random.Random(f"{seed} {family} {kind.__name__}")
    talks = []
    for number in range(1, CONVERSATIONS + 1):
        who = ends(number, family, 21)
        if kind is scattered:
            who.first = tuple(chance.choice([1000, 2**31 - 20, 2**32 - chance.randrange(100)]) for _ in "01")  # type: ignore[assignment]
        talks.append((who, kind(chance, who)))
    found = differences(oracle, find("ftp"), talks)
    assert not found, f"seed {seed}: {len(found)} of {len(talks)} differ, such as\n{found[0]}"


def test_the_kernel_was_really_asked(oracle: Oracle) -> None:
    """A plain PORT is expected and a cut one dropped: the comparison above does not compare silence with silence."""
    greeting = [Say(1, b"220\r\n"), Say(0, b"USER x\r\n")]
    good, cut = ask_kernel(
        oracle,
        [
            (ends(1, 4, 21), [*greeting, Say(0, b"PORT 10,1,0,1,4,5\r\n")]),
            (ends(2, 4, 21), [*greeting, Say(0, b"PORT 10,1,0,2,4")]),
        ],
    )
    assert good.passed == (True, True, True)
    assert [(one.port, one.destination) for one in good.expected] == [(1029, p.address("10.1.0.1"))]
    assert cut.passed == (True, True, False)
    assert cut.expected == ()
