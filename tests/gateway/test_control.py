"""The control socket: who is let in, what is answered, and what becomes of its file."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("msgspec")

from fastfw.gateway.client import Client, NoDaemon
from fastfw.gateway.config import ControlSection
from fastfw.gateway.control import Control, ControlError
from fastfw.gateway.log import Log
from fastfw.gateway.protocol import ProtocolError, Reply, Request, encode, read_reply, read_request


def handler(request: Request) -> Iterator[Reply | None]:
    """Says what it was asked; `wait` first has nothing to say, `fail` is a fault, `many` says a lot."""
    if request.verb == "fail":
        yield Reply(out="begun")
        raise ValueError("a fault")
    if request.verb == "wait":
        yield None
        yield None
    for number in range(2000 if request.verb == "many" else 0):
        yield Reply(out=f"{number}:" + "x" * 1000)
    yield Reply(out=" ".join([request.verb, *request.args]), rows=request.rows, status=0)


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    """A socket that is served."""
    made = Control(
        ControlSection(socket=str(tmp_path / "run" / "control"), clients=4), handler, Log(file=io.StringIO())
    )
    made.start()
    yield made
    made.stop()


def test_requests(control: Control) -> None:
    """Requests of one client are answered in order, of several each to its own; bytes come back as they went; what has
    nothing to say yet is asked again."""
    with Client(control.section.socket, 20) as one, Client(control.section.socket, 20) as other:
        assert [reply.out for reply in one.ask("hello", "a", "b")] == ["hello a b"]
        assert [reply.out for reply in other.ask("wait")] == ["wait"]
        assert next(one.ask("x", rows=b"\0\xff")).rows == b"\0\xff"
        assert len(list(one.ask("many"))) == 2001
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(control.section.socket)
        raw.settimeout(20)
        raw.sendall(b"".join(encode(Request(1, f"v{number}")) for number in range(50)))
        lines = raw.makefile("rb")
        assert [read_reply(lines.readline()).out for _ in range(50)] == [f"v{number}" for number in range(50)]


def test_faults(control: Control) -> None:
    """A fault of the handler, or a request that is none, is answered with status 2; the client stays."""
    with Client(control.section.socket, 20) as client:
        *_, last = client.ask("fail")
        assert last.status == 2
        assert last.err == "fastfw: a fault in the daemon: ValueError: a fault\n"
        assert [reply.out for reply in client.ask("next")] == ["next"]
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(control.section.socket)
        raw.settimeout(20)
        for wrong in (b"\n", b"[]\n", b'{"v":2,"verb":"x"}\n', b'{"v":1,"verb":3}\n', b"\xff\n", b"[" * 100000 + b"\n"):
            raw.sendall(wrong)
            assert read_reply(raw.makefile("rb").readline()).status == 2


def test_file(tmp_path: Path) -> None:
    """The socket has the mode that was asked for, takes the place of one that nobody listens at any more, and goes at
    the end; neither another file nor a socket that somebody serves is touched."""
    path = tmp_path / "control"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
    section = ControlSection(socket=str(path), mode=0o640)
    control = Control(section, handler, Log(file=io.StringIO()))
    control.start()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o640
    with pytest.raises(ControlError, match="another daemon listens there"):
        Control(section, handler, Log(file=io.StringIO()))
    with Client(str(path), 20) as client:
        assert next(client.ask("still")).out == "still"
    control.stop()
    assert not path.exists()
    path.write_text("precious")
    with pytest.raises(ControlError, match="no socket"):
        Control(section, handler, Log(file=io.StringIO()))
    assert path.read_text() == "precious"
    with pytest.raises(ControlError, match="Not a directory"):
        Control(ControlSection(socket=str(path / "below")), handler, Log(file=io.StringIO()))


def test_a_successors_file_stays(tmp_path: Path) -> None:
    """A daemon that stops takes away its own socket, not the one that another made in its place."""
    path = tmp_path / "control"
    control = Control(ControlSection(socket=str(path)), handler, Log(file=io.StringIO()))
    control.start()
    path.unlink()
    path.write_text("another's")
    control.stop()
    assert path.read_text() == "another's"


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed")
def test_who_may(tmp_path: Path) -> None:
    """Whom neither users nor groups name is told so and hung up on, whatever the file's mode lets him do."""
    tmp_path.chmod(0o755)
    for directory in tmp_path.parents:
        if directory == Path("/tmp"):
            break
        directory.chmod(0o755)
    for users, groups, said in ((), (), "user 12345 may not"), (("12345",), (), "hello"), ((), ("54321",), "hello"):
        log = Log(file=io.StringIO())
        section = ControlSection(socket=str(tmp_path / "control"), mode=0o666, users=users, groups=groups)
        control = Control(section, handler, log)
        control.start()
        read, write = os.pipe()
        if not (child := os.fork()):
            os.setgid(54321)
            os.setuid(12345)
            with socket.socket(socket.AF_UNIX) as raw:
                raw.connect(section.socket)
                with contextlib.suppress(OSError):
                    raw.sendall(encode(Request(1, "hello")))
                os.write(write, raw.makefile("rb").readline())
            os._exit(0)
        os.close(write)
        os.waitpid(child, 0)
        assert said in os.read(read, 65536).decode()
        os.close(read)
        control.stop()
        log.close()
        assert ("event=control_refused reason=user uid=12345" in log.file.getvalue()) == (said != "hello")  # type: ignore[attr-defined]
    with pytest.raises(ControlError, match="there is no user 'nobody-of-that-name'"):
        Control(ControlSection(socket="x", users=("nobody-of-that-name",)), handler, Log(file=io.StringIO()))


def test_no_daemon(tmp_path: Path) -> None:
    """Where nobody listens the client's error says so."""
    with pytest.raises(NoDaemon, match="no daemon"):
        Client(str(tmp_path / "nothing"))
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead"))
    with pytest.raises(NoDaemon, match="no daemon listens any more"):
        Client(str(tmp_path / "dead"))


@pytest.mark.parametrize("line", [b"", b"{}", b'{"v":1}', b'{"v":1,"verb":"a","new":1}', b'{"v":"1","verb":"a"}'])
def test_no_requests(line: bytes) -> None:
    """What is no request is refused as such."""
    with pytest.raises(ProtocolError):
        read_request(line)
