"""The words and numbers of decisions: they are a file format, and every reason has its sentence."""

from __future__ import annotations

import pytest

from fastfw.core.engine import DECISION
from fastfw.core.reasons import SENTENCES, TCP_STATES, flag_names, reason_name, sentence
from fastfw.core.terms import Hook, Reason, State, Status, Verdict


def test_numbers_never_change() -> None:
    """The codes in result arrays are what they always were: programs store them."""
    assert {each.name: each.value for each in Verdict} == {
        "VERDICT_NONE": 0, "VERDICT_ACCEPT": 1, "VERDICT_DROP": 2, "VERDICT_REJECT": 3, "VERDICT_HOLD": 4,
        "VERDICT_QUEUE": 5,
    }  # fmt: skip
    assert {each.name: each.value for each in State} == {
        "STATE_NONE": 0, "STATE_NEW": 1, "STATE_ESTABLISHED": 2, "STATE_RELATED": 3, "STATE_INVALID": 4,
        "STATE_UNTRACKED": 5,
    }  # fmt: skip
    assert [each.value for each in Hook] == [0, 1, 2]
    assert DECISION.itemsize == 16
    assert {name: DECISION.fields[name][1] for name in DECISION.names} == {
        "verdict": 0, "state": 1, "direction": 2, "assured": 3, "seen_reply": 4, "expected": 5, "rule": 8, "reason": 6,
        "mark": 12,
    }  # fmt: skip


def test_status_bits_are_the_kernels() -> None:
    """The low bits of a connection's status are nf_conntrack's own, one bit each."""
    assert (Status.STATUS_EXPECTED, Status.STATUS_SEEN_REPLY, Status.STATUS_ASSURED, Status.STATUS_CONFIRMED) == (
        1, 2, 4, 8,
    )  # fmt: skip
    assert all(each & (each - 1) == 0 for each in Status)


@pytest.mark.parametrize("reason", [each for each in Reason if each], ids=reason_name)
def test_every_reason_has_a_sentence(reason: Reason) -> None:
    """Each reason is put in words with its two numbers, and nothing of the template is left over."""
    assert reason in SENTENCES
    text = sentence(reason, (5, 3))
    assert text
    assert not set("{}") & set(text)
    assert text[0].islower() or text.startswith(("IP", "TCP", "UDP", "ICMP", "SCTP", "GRE", "SYN", "ACK", "FIN", "RST"))


def test_no_reason_says_nothing() -> None:
    """Without a reason there is no sentence and the name is a dash."""
    assert sentence(Reason.REASON_NONE) == ""
    assert reason_name(0) == "-"
    assert reason_name(Reason.TCP_SEQ_OVER) == "tcp_seq_over"


def test_numbers_are_put_in() -> None:
    """The numbers stand where the sentence needs them: bounds, flags and states by name."""
    assert sentence(Reason.TCP_SEQ_OVER, (4021, 3999)) == "sequence 4021 is past the window's upper edge 3999"
    assert sentence(Reason.TCP_STATE, (0x02, 3)) == "SYN cannot follow in state ESTABLISHED"
    assert "state ?" in sentence(Reason.TCP_STATE, (0x02, 200))


def test_flag_names() -> None:
    """A flag byte is told bit by bit, lowest first; none is `none`."""
    assert flag_names(0) == "none"
    assert flag_names(0x12) == "SYN ACK"
    assert flag_names(0xFF) == "FIN SYN RST PSH ACK URG ECE CWR"


def test_states_have_the_kernels_names() -> None:
    """TCP's states are numbered and named as in /proc/net/nf_conntrack."""
    assert TCP_STATES[1:10] == (
        "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE", "SYN_SENT2",
    )  # fmt: skip
