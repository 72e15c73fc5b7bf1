"""Every number a decision can carry has its word."""

from fastfw.cli.names import ABSENT, HOOK_NAMES, STATES, VERDICTS, Hook, Reason, State, Verdict, meaning, why
from fastfw.drivers.capture import LINK_REASONS


def test_every_code_has_a_word() -> None:
    """Verdicts, states and hooks print as iptables writes them, code 0 as absent where there is none."""
    assert [VERDICTS[int(v)] for v in Verdict] == [ABSENT, "ACCEPT", "DROP", "REJECT", "HOLD", "QUEUE"]
    assert [STATES[int(s)] for s in State] == [ABSENT, "NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED"]
    assert [HOOK_NAMES[int(h)] for h in Hook] == ["FORWARD", "INPUT", "OUTPUT"]


def test_every_reason_has_a_sentence() -> None:
    """A reason, the engine's or the capture's, has a name of its own and a sentence without placeholders."""
    names = [why(int(reason), 0) for reason in Reason]
    assert len(set(names)) == len(names)
    for reason in Reason:
        assert bool(meaning(int(reason), 0)) == bool(reason), reason
        assert "{" not in meaning(int(reason), 0)
    for link in range(1, len(LINK_REASONS)):
        assert meaning(0, link)
        assert why(0, link) == LINK_REASONS[link]
