"""TCP: every rule has its smallest conversation in transcripts/, and the running kernel gives the same answers."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.core.transcript import (
    Conversation,
    EngineSide,
    KernelSide,
    Transcript,
    everything,
    expected,
    play,
    same_entry,
)
from tests.kernel.oracle import Oracle, missing

TRANSCRIPTS = everything()
STANDARD = "6.18."


@pytest.mark.parametrize("family", [4, 6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda each: each.name)
def test_conversation(transcript: Transcript, family: int) -> None:
    """The engine answers every segment, with its reason, and remembers what the transcript says."""
    wrong = play(transcript, EngineSide({}), family)
    assert not wrong, "\n".join([transcript.name, *wrong])


def test_every_conversation_says_something() -> None:
    """No two transcripts bear one name, and each asks for an answer."""
    names = [each.name for each in TRANSCRIPTS]
    assert len(set(names)) == len(names) > 150
    for each in TRANSCRIPTS:
        assert any(expected(line)[0] for _, line in each.lines), each.name


def test_a_wrong_answer_is_noticed() -> None:
    """A transcript whose answer, reason or entry is not the tracker's is reported, line by line."""
    lines = ((1, "→ SYN | ESTABLISHED"), (2, "← SYN | ESTABLISHED REPLY tcp_state"), (3, "= SYN_SENT 120"))
    wrong = play(Transcript("wrong", "none.txt", lines), EngineSide({}))
    assert [each.split("\n")[0] for each in wrong] == [f"none.txt:{at}: {line}" for at, line in lines]


def test_entries_are_compared_with_their_time() -> None:
    """An entry's seconds may be less than expected by the slack, never more; its flags must be the same."""
    assert same_entry("CLOSE 10 ASSURED", "CLOSE 9 ASSURED", 2)
    assert not same_entry("CLOSE 10 ASSURED", "CLOSE 7 ASSURED", 2)
    assert not same_entry("CLOSE 10 ASSURED", "CLOSE 11 ASSURED", 2)
    assert not same_entry("CLOSE 10 ASSURED", "CLOSE 10", 2)
    assert not same_entry("none", "CLOSE 10", 2)


def test_unanswered_syn_does_not_live_by_being_sent_again() -> None:
    """However often a SYN is sent again, the entry ends when the first one's time is up."""
    side, talk = EngineSide({}), Conversation()
    side.say(talk.packet("→ SYN"))
    for _ in range(119):
        side.wait(1)
        assert side.say(talk.packet("→ SYN seq 1000"))[0] == "NEW"
    assert side.entry() == "SYN_SENT 1 UNREPLIED"
    side.wait(1)
    assert side.entry() == "none"


def test_retransmissions_are_counted_in_a_byte() -> None:
    """The count of retransmissions starts over after 255, as the kernel's does, and the time with it."""
    side, talk = EngineSide({"nf_conntrack_tcp_timeout_max_retrans": 100}), Conversation()
    for line in ("→ SYN", "← SYN ACK", "→ ACK", "→ ACK len 100", *["→ ACK seq -100 len 100"] * 255):
        side.say(talk.packet(line))
    assert side.entry() == "ESTABLISHED 100 ASSURED"
    side.say(talk.packet("→ ACK seq -100 len 100"))
    assert side.entry() == "ESTABLISHED 300 ASSURED"


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    with Oracle() as opened:
        print(f"kernel {opened.kernel}")
        yield opened


@pytest.mark.kernel
@pytest.mark.skipif(missing() is not None, reason=str(missing()))
@pytest.mark.parametrize("family", [4, 6], ids=["IPv4", "IPv6"])
def test_the_kernel_says_the_same(oracle: Oracle, family: int) -> None:
    """The running kernel answers every segment of every transcript as written, and its table agrees."""
    wrong = []
    for transcript in TRANSCRIPTS:
        if family == 6 and transcript.waits:
            continue
        side = KernelSide(oracle)
        wrong += play(transcript, side, family)
        side.restore()
    if wrong and not os.uname().release.startswith(STANDARD):
        pytest.xfail(f"this is not Linux {STANDARD}x: " + "\n".join(wrong))
    assert not wrong, "\n".join(wrong)


@pytest.mark.kernel
@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_the_kernel_counts_retransmissions_in_a_byte(oracle: Oracle) -> None:
    """The running kernel's count of retransmissions starts over after 255."""
    side, talk = KernelSide(oracle), Conversation()
    side.set("nf_conntrack_tcp_timeout_max_retrans", 100)
    for line in ("→ SYN", "← SYN ACK", "→ ACK", "→ ACK len 100", *["→ ACK seq -100 len 100"] * 255):
        side.say(talk.packet(line))
    assert same_entry("ESTABLISHED 100 ASSURED", side.entry(), 2)
    side.say(talk.packet("→ ACK seq -100 len 100"))
    assert same_entry("ESTABLISHED 300 ASSURED", side.entry(), 2)
    side.restore()
