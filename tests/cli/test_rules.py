"""fastfw rules: what check and save print, and their exit statuses."""

import json
import sys
from pathlib import Path

import pytest

from fastfw.cli import main

EXAMPLES = Path(__file__).parents[2] / "examples"

FAULTY = """\
*filter
:INPUT ACCEPT [3:120]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p tcp -j DROP
-A INPUT -p tcp --dport 22 -j ACCEPT
COMMIT
"""


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    path = tmp_path / "faulty.rules"
    path.write_text(FAULTY)
    return path


def test_check_names_each_fault_with_its_place(faulty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A fault is one line: file, line, column, level, kind, rule and why; the last line sums up; the status is 1."""
    assert main(["rules", "check", str(faulty)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{faulty}:6:1: fault: shadowed: filter:INPUT:rule:2: this rule never matches: "
        "line 5 takes every packet that it asks for",
        f"{faulty}: 2 rules in 3 chains, 1 fault, 0 notes",
    ]


def test_check_as_json(faulty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same as JSON, every finding with the same fields."""
    assert main(["rules", "check", "--json", str(faulty)]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found == {
        "file": str(faulty),
        "error": None,
        "faults": 1,
        "notes": 0,
        "findings": [
            {
                "level": "fault",
                "kind": "shadowed",
                "line": 6,
                "column": 1,
                "table": "filter",
                "chain": "INPUT",
                "rule": 2,
                "text": "this rule never matches: line 5 takes every packet that it asks for",
            }
        ],
    }


def test_the_example_is_clean_with_its_helper(capsys: pytest.CaptureFixture[str]) -> None:
    """The shipped ruleset has no fault once told that the FTP helper is attached, and one if not."""
    path = str(EXAMPLES / "gateway.rules")
    assert main(["rules", "check", path, "--helper", "ftp"]) == 0
    assert main(["rules", "check", path]) == 1
    assert "related-without-helper" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["check", "save"])
def test_refused_text_is_one_line(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What iptables-restore would refuse is one line, FILE:LINE:COLUMN: reason, for programs to read; status 2."""
    path = tmp_path / "x.rules"
    path.write_text("*filter\n-A INPUT -p tcp --dport 99999 -j ACCEPT\nCOMMIT\n")
    assert main(["rules", verb, str(path)]) == 2
    out, error = capsys.readouterr()
    assert not out
    assert error.startswith(f"{path}:2:25: ")
    assert error.count("\n") == 1


def test_refused_text_shows_the_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal the line is shown below, with a caret under the column."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    path = tmp_path / "x.rules"
    path.write_text("*filter\n-A INPUT\t-p tcp --dport 99999 -j ACCEPT\nCOMMIT\n")
    assert main(["rules", "check", str(path)]) == 2
    out, error = capsys.readouterr()
    first, line, caret = error.splitlines()
    assert not out
    assert first.startswith(f"{path}:2:25: ")
    assert line == "  -A INPUT -p tcp --dport 99999 -j ACCEPT"
    assert line[caret.index("^") :].startswith("99999")


def test_refused_text_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON, the place and the reason stand under `error`."""
    path = tmp_path / "x.rules"
    path.write_text("*nonsense\n")
    assert main(["rules", "check", str(path), "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert found["error"]["line"] == 1
    assert "nonsense" in found["error"]["reason"]


def test_long_lines_are_shown_around_the_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a long line only the surroundings of the fault are shown, its control characters made harmless."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    path = tmp_path / "x.rules"
    path.write_text(f'*filter\n-A INPUT -m comment --comment "{"y" * 200}\x1b[31m" -p tcp --nothing\nCOMMIT\n')
    assert main(["rules", "check", str(path)]) == 2
    _, line, caret = capsys.readouterr().err.splitlines()
    assert len(line) < 250
    assert "\x1b" not in line
    assert line[caret.index("^") :].startswith("--nothing")


def test_save_prints_canonical_text(faulty: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """save prints what iptables-save would: matches named, rules' counters only if asked for."""
    assert main(["rules", "save", str(faulty)]) == 0
    out = capfdbinary.readouterr().out.decode()
    assert "\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n" in out
    assert main(["rules", "save", "--counters", str(faulty)]) == 0
    assert "\n[0:0] -A INPUT -p tcp -j DROP\n" in capfdbinary.readouterr().out.decode()


def test_family(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """IPv6 rules are read as such when told so, and refused otherwise."""
    path = tmp_path / "x.rules"
    path.write_text("*filter\n-A INPUT -s 2001:db8::1 -j ACCEPT\nCOMMIT\n")
    assert main(["rules", "check", str(path), "--family", "6"]) == 0
    assert main(["rules", "check", str(path)]) == 2


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "check or save expected"),
        (["show"], "not `show'"),
        (["save", "--json", "x"], "--json"),
        (["check", "--counters", "x"], "--counters"),
        (["check", "x", "y"], "y"),
        (["check", "/nowhere"], "/nowhere: No such file"),
        (["check", "x", "--helper", "nobody"], "nobody"),
        (["save", "x", "--family", "5"], "--family"),
    ],
)
def test_bad_arguments(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What does not apply is refused in one line with status 2."""
    assert main(["rules", *argv]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error
