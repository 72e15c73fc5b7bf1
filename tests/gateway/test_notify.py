"""systemd's protocol, as a service manager sees it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from fastfw.gateway.notify import Notifier


def manager(address: str) -> socket.socket:
    """A service manager's socket."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(address)
    made.settimeout(20)
    return made


@pytest.mark.parametrize("abstract", [False, True])
def test_lines(abstract: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines go in one datagram to the socket that is named, by path or abstract; programs that are started inherit
    none of it."""
    name = f"@fastfw-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with manager(name.replace("@", "\0")) as boss:
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        notify = Notifier()
        assert "NOTIFY_SOCKET" not in os.environ
        assert notify("READY=1", "STATUS=well")
        assert boss.recv(100) == b"READY=1\nSTATUS=well"


def test_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a service manager, or with one that is gone, nothing happens."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not Notifier()("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    assert not Notifier()("READY=1")


def test_deaf_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A manager that does not read is not waited for."""
    with manager(str(tmp_path / "notify")):
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        notify = Notifier()
        assert not all(notify("WATCHDOG=1") for _ in range(10000))


@pytest.mark.parametrize(
    ("period", "owner", "seconds"),
    [("3000000", "", 3.0), ("3000000", "me", 3.0), ("3000000", "1", 0.0), ("x", "", 0.0), ("", "", 0.0)],
)
def test_watchdog(period: str, owner: str, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signs of life are wanted as often as the manager says, if it is this process that it means."""
    monkeypatch.setenv("WATCHDOG_USEC", period)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if owner == "me" else owner)
    assert Notifier().watchdog == seconds
