"""The daemon's state on disk and its figures, without a queue."""

from __future__ import annotations

import io
import socket
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("msgspec")

from fastfw.gateway.config import Config, RulesSection, StateSection
from fastfw.gateway.daemon import Daemon, StartError
from fastfw.gateway.log import Log
from fastfw.gateway.status import status
from traffic.packets import SYN, address, tcp_packet, udp_packet

ENDS = address("10.0.0.1"), address("10.0.0.2")
RULES = "*filter\n:INPUT DROP [7:8]\n[3:4] -A INPUT -p tcp -j ACCEPT\nCOMMIT\n"


def daemon(tmp_path: Path, **rules: object) -> Daemon:
    """A daemon that is not started."""
    config = Config(state=StateSection(file=str(tmp_path / "state")), rules=RulesSection(**rules))  # type: ignore[arg-type]
    return Daemon(config, log=Log(file=io.StringIO()))


def said(of: Daemon) -> str:
    """Its log."""
    of.log.close()
    return of.log.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_kept(tmp_path: Path) -> None:
    """What one daemon saved the next one has."""
    first = daemon(tmp_path)
    first.engine.expire()
    for port in range(1, 40):
        first.engine.decide(tcp_packet(*ENDS, port, 80, SYN), now=first.engine.now)
    assert first.save_state()
    second = daemon(tmp_path)
    second._load_state()
    assert second.engine.conntrack_count == 39
    assert "event=state_saved" in said(first)
    assert "event=state_loaded" in (text := said(second))
    assert "connections=39 refused=0 expectations=0" in text


def test_absent(tmp_path: Path) -> None:
    """A first start finds nothing, and says so."""
    first = daemon(tmp_path)
    first._load_state()
    assert "level=info event=state_absent" in said(first)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"fastfw state 2\n\0" + bytes(100)])
def test_refused(content: bytes, tmp_path: Path) -> None:
    """A file that is no table is set aside under another name, and the daemon starts without."""
    (tmp_path / "state").write_bytes(content)
    first = daemon(tmp_path)
    first._load_state()
    assert first.engine.conntrack_count == 0
    assert (tmp_path / "state.refused").read_bytes() == content
    assert not (tmp_path / "state").exists()
    assert f"kept_as={tmp_path}/state.refused" in said(first)


def test_unreadable(tmp_path: Path) -> None:
    """What cannot be read is told with the system's reason."""
    (tmp_path / "state").mkdir()
    first = daemon(tmp_path)
    first._load_state()
    assert "event=state_refused file=" in (text := said(first))
    assert 'error="Is a directory"' in text


def test_not_saved(tmp_path: Path) -> None:
    """A table that cannot be written is counted and told, and the old file stays."""
    first = daemon(tmp_path)
    (tmp_path / "state").mkdir()
    assert not first.save_state()
    assert first.state_failures == 1
    assert "event=state_not_saved" in said(first)


def test_rules_are_written_back(tmp_path: Path) -> None:
    """Rules go back to their file with their counters, whole, with the mode that it had; one that cannot be written is
    told."""
    rules = tmp_path / "rules"
    rules.write_text(RULES)
    rules.chmod(0o640)
    first = daemon(tmp_path, ipv4=str(rules), ipv6=str(tmp_path / "absent" / "rules6"))
    from fastfw.gateway.rulebook import read_rules

    first.rulebook.put(read_rules(str(rules), 4))
    first.engine.decide(tcp_packet(*ENDS, 1, 80, SYN), hook="INPUT", iif="eth0", now=first.engine.now)
    assert first.save_rules() == [str(rules)]
    assert "[4:44] -A INPUT -p tcp -j ACCEPT" in rules.read_text()
    assert rules.stat().st_mode & 0o777 == 0o640
    assert "event=rules_not_saved" in said(first)


def test_check(tmp_path: Path) -> None:
    """--check refuses rules that are no rules, by file, line and column."""
    (tmp_path / "rules").write_text("*filter\n-A INPUT -p nothing -j ACCEPT\nCOMMIT\n")
    with pytest.raises(StartError, match=r"rules:2:\d+: "):
        daemon(tmp_path, ipv4=str(tmp_path / "rules")).check()


def test_which_rules(tmp_path: Path) -> None:
    """What an engine cannot do is told by the file it stands in; what it does otherwise than the kernel is a line of
    the log."""
    for name, match in (("rules", "owner --uid-owner 0"), ("rules6", "set --match-set s src")):
        (tmp_path / name).write_text(f"*filter\n:OUTPUT ACCEPT\n-A OUTPUT -m {match} -j DROP\nCOMMIT\n")
    first = daemon(tmp_path, ipv4=str(tmp_path / "rules"), ipv6=str(tmp_path / "rules6"))
    with pytest.raises(StartError, match=r"/rules6:3:1: set `s' does not exist"):
        first.check()
    (tmp_path / "rules6").write_text("")
    first.check()
    assert f'event=rules_notice text="{tmp_path}/rules:3:' in said(first)


def test_metrics(tmp_path: Path) -> None:
    """Prometheus is served every figure of the status, with its labels, and anew at every call; at the end the port is
    free again."""
    pytest.importorskip("prometheus_client")
    from fastfw.gateway.metrics import LABELLED, PLAIN, serve

    first = daemon(tmp_path)
    first.answerer.sent["reset"] += 3
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    close = serve(first, f"127.0.0.1:{port}")
    try:
        for count in (1, 2):
            first.engine.decide(udp_packet(*ENDS, count, 53), now=first.engine.now)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as page:
                text = page.read().decode()
            assert f"\nfastfw_connections {count}.0\n" in text
    finally:
        close()
    assert 'fastfw_reject_answers_total{kind="reset"} 3.0' in text
    assert 'fastfw_conntrack_total{event="insert"} 2.0' in text
    for name in (*(name for name, *_ in PLAIN.values()), *(name for name, *_ in LABELLED.values())):
        assert f"# HELP {name}" in text
    assert set(PLAIN) | set(LABELLED) | {"release", "pid", "fail_open", "fragments", "queues"} == set(status(first))
    with socket.create_server(("127.0.0.1", port)):
        pass
