"""The command line as a whole: verbs, exit status, one line for whatever cannot be used."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from drivers import capfiles as cf
from fastfw import __version__, cli


def run(*argv: str, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fastfw", *argv],
        capture_output=True,
        text=True,
        timeout=60,
        **more,  # type: ignore[call-overload]
    )


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    """--version and --help answer on standard output with status 0, for the program and for every verb."""
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"fastfw {__version__}\n"
    assert cli.main(["--help"]) == 0
    assert all(verb in capsys.readouterr().out for verb in ("replay",))
    for verb in cli.VERBS:
        assert cli.main([verb, "--help"]) == 0
        assert f"fastfw {verb}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "a verb is expected"),
        (["replya"], "did you mean replay?"),
        (["dance"], "no verb `dance'"),
        (["replay"], "CAPTURE"),
        (["replay", "x", "--hook", "PREROUTING"], "--hook"),
        (["replay", "x", "--nonsense"], "--nonsense"),
        (["replay", "x", "--pack", "y"], "--pack"),
        (["conntrack"], "a command is expected"),
        (["iptables"], "a command is expected"),
        (["ip6tables", "--control", "x"], "see `fastfw ip6tables --help'"),
    ],
)
def test_wrong_command_lines(argv: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A command line that makes no sense is one line on standard error and status 2."""
    assert cli.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert words in err


def test_module_runs_as_a_program() -> None:
    """`python -m fastfw` is the command, with its exit status."""
    assert run("--version").returncode == 0
    done = run("replay", "/nonexistent.pcap")
    assert (done.returncode, done.stderr) == (2, "fastfw: /nonexistent.pcap: No such file or directory\n")


def test_closed_pipe_is_quiet(tmp_path: Path) -> None:
    """When the reader of our output goes away, we end without a word."""
    path = tmp_path / "many.pcap"
    path.write_bytes(cf.pcap([cf.record(cf.IPV4)] * 50_000))
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "fastfw", "replay", str(path), "--packets", "-"], stdout=write, stderr=subprocess.PIPE
    )
    os.close(write)
    assert os.read(read, 10)
    os.close(read)
    _, err = process.communicate(timeout=60)
    assert err == b""
    assert process.returncode == cli.PIPE_CLOSED


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams(closed: str) -> None:
    """A standard stream that was closed before we began is as good as /dev/null."""
    for arguments, status in (("--version", 0), ("replay /nonexistent.pcap", 2), ("rules check -", 0)):
        command = f"exec {shlex.quote(sys.executable)} -m fastfw {arguments} {closed}"
        done = subprocess.run(command, shell=True, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        assert "fault in fastfw" not in done.stdout + done.stderr
        assert done.returncode == status


def test_interrupt_is_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C ends with the shell's status for it and no words."""

    def stop(prog: str, argv: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("fastfw.cli.replay.main", stop)
    assert cli.main(["replay", "x"]) == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ModuleNotFoundError("No module named 'rich.table'", name="rich.table"), "pip install 'fastfw[cli]'"),
        (ModuleNotFoundError("No module named 'msgspec'", name="msgspec"), "pip install 'fastfw[gateway]'"),
        (MemoryError("no memory for a table of 5 connections"), "not enough memory: no memory for a table"),
        (PermissionError(13, "Permission denied", "out.csv"), "out.csv: Permission denied"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (RuntimeError("first\nsecond"), "a fault in fastfw itself: RuntimeError: first second"),
    ],
)
def test_whatever_goes_wrong_is_one_line(
    error: Exception, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No failure shows a traceback: a missing extra is named, so is the file, and the status is 2."""

    def fail(prog: str, argv: list[str]) -> int:
        raise error

    monkeypatch.setattr("fastfw.cli.replay.main", fail)
    monkeypatch.delenv(cli.TRACEBACK, raising=False)
    assert cli.main(["replay", "x"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert words in err
