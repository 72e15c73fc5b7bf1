"""The control socket's server: one thread, bounded in every direction.

It shares nothing with the queues' threads but the engine's lock, which a request holds as briefly as any reader. A
client that does not read is not waited for: its replies are made only as it takes them. One that sends too much, or is
not allowed to talk, is hung up on.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import selectors
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from fastfw.gateway.config import ControlSection
from fastfw.gateway.log import Log
from fastfw.gateway.protocol import REQUEST_LIMIT, ProtocolError, Reply, Request, encode, read_request

Handler = Callable[[Request], Iterator[Reply | None]]

READ = 65536
BACKLOG = 8
UNSENT = 1 << 20
"""Bytes waiting for a client, above which no further reply is made for it."""

SLICE = 0.02
"""Seconds of replies for one client before the others have their turn."""

IDLE = 0.05
"""Seconds after which a client that follows events is looked at again."""

PEER = struct.Struct("=iII")


class ControlError(RuntimeError):
    """The socket cannot be had."""


@dataclass(eq=False)
class Client:
    """A connection: what it sent and is not answered yet, what it is to be sent."""

    socket: socket.socket
    uid: int
    pid: int
    unread: bytearray = field(default_factory=bytearray)
    seen: int = 0
    unsent: bytearray = field(default_factory=bytearray)
    replies: Iterator[Reply | None] | None = None
    waits: bool = False
    closing: bool = False


class Control:
    """Serves requests at a Unix socket with `handler`, which yields replies; None among them: nothing yet, ask again
    soon."""

    def __init__(self, section: ControlSection, handler: Handler, log: Log) -> None:
        self.section = section
        self.handler = handler
        self.log = log
        self.refused = 0
        self.requests = 0
        self.clients: set[Client] = set()
        self._stopping = False
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector = selectors.DefaultSelector()
        self._allowed_users, self._allowed_groups = self._allowed()
        self._listener, self._made = self._bind()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="fastfw-control", daemon=True)

    def _allowed(self) -> tuple[set[int], set[int]]:
        users, groups = {0, os.geteuid()}, set()
        for name in self.section.users:
            try:
                users.add(int(name) if name.isdecimal() else pwd.getpwnam(name).pw_uid)
            except KeyError:
                raise ControlError(f"control.users: there is no user {name!r}") from None
        for name in self.section.groups:
            try:
                groups.add(int(name) if name.isdecimal() else grp.getgrnam(name).gr_gid)
            except KeyError:
                raise ControlError(f"control.groups: there is no group {name!r}") from None
        return users, groups

    def _bind(self) -> tuple[socket.socket, tuple[int, int]]:
        path = self.section.socket
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self._clear(path)
            if parent := os.path.dirname(path):
                os.makedirs(parent, 0o755, exist_ok=True)
            before = os.umask(0o777)
            try:
                listener.bind(path)
            finally:
                os.umask(before)
            if len(self._allowed_groups) == 1 and os.geteuid() == 0:
                os.chown(path, -1, next(iter(self._allowed_groups)))
            os.chmod(path, self.section.mode)
            listener.listen(BACKLOG)
            made = os.stat(path)
        except OSError as error:
            listener.close()
            raise ControlError(f"control socket {path}: {error.strerror}") from None
        except BaseException:
            listener.close()
            raise
        return listener, (made.st_dev, made.st_ino)

    def _clear(self, path: str) -> None:
        """Takes away the socket of a daemon that is gone; never that of one that listens, nor any other file."""
        try:
            mode = os.stat(path).st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise ControlError(f"control socket {path}: there is a file of that name that is no socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(2)
            try:
                probe.connect(path)
            except (ConnectionRefusedError, FileNotFoundError):
                os.unlink(path)
                return
        raise ControlError(f"control socket {path}: another daemon listens there")

    def start(self) -> None:
        """Serve, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Hang up on everybody and take the socket away."""
        self._stopping = True
        os.write(self._wake_write, b"x")
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(10)
        self._close()

    def _close(self) -> None:
        for client in list(self.clients):
            self._drop(client)
        self._selector.close()
        self._listener.close()
        try:
            now = os.stat(self.section.socket)
            if (now.st_dev, now.st_ino) == self._made:
                os.unlink(self.section.socket)
        except OSError:
            pass
        for end in (self._wake_read, self._wake_write):
            os.close(end)

    def _serve(self) -> None:
        while not self._stopping:
            busy = any(c.replies is not None and not c.waits and len(c.unsent) < UNSENT for c in self.clients)
            waits = any(c.waits for c in self.clients)
            ready = self._selector.select(0 if busy else IDLE if waits else None)
            for key, events in ready:
                if key.fileobj is self._listener:
                    self._accept()
                elif key.data is not None:
                    self._talk(key.data, events)
            for client in list(self.clients):
                self._advance(client)

    def _accept(self) -> None:
        try:
            made, _ = self._listener.accept()
        except OSError as error:
            self.log("warning", "control_accept_failed", error=error.strerror)
            time.sleep(0.1)  # out of descriptors: the backlog waits, the packets do not
            return
        made.setblocking(False)
        pid, uid, gid = PEER.unpack(made.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size))
        reason = ""
        if not self._may(uid, gid):
            reason = "user"
        elif len(self.clients) >= self.section.clients:
            reason = "clients"
        if reason:
            self.refused += 1
            self.log("warning", "control_refused", reason=reason, uid=uid, pid=pid)
            text = {
                "user": f"user {uid} may not talk to this daemon",
                "clients": f"the daemon has {self.section.clients} clients already",
            }[reason]
            with contextlib.suppress(OSError):
                made.send(encode(Reply(err=f"fastfw: {text}\n", status=2)))
            made.close()
            return
        client = Client(made, uid, pid)
        self.clients.add(client)
        self._selector.register(made, selectors.EVENT_READ, client)

    def _may(self, uid: int, gid: int) -> bool:
        if uid in self._allowed_users or gid in self._allowed_groups:
            return True
        if not self._allowed_groups:
            return False
        try:
            person = pwd.getpwuid(uid)
        except KeyError:
            return False
        return not self._allowed_groups.isdisjoint(os.getgrouplist(person.pw_name, person.pw_gid))

    def _drop(self, client: Client) -> None:
        if client.replies is not None:
            close = getattr(client.replies, "close", None)
            if close is not None:
                close()
        self.clients.discard(client)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(client.socket)
        client.socket.close()

    def _talk(self, client: Client, events: int) -> None:
        try:
            if events & selectors.EVENT_READ:
                came = client.socket.recv(READ)
                if not came:
                    self._drop(client)
                    return
                client.unread += came
                if len(client.unread) > REQUEST_LIMIT:
                    self.log("warning", "control_flooded", uid=client.uid, pid=client.pid, bytes=len(client.unread))
                    self._drop(client)
                    return
            if events & selectors.EVENT_WRITE:
                self._send(client)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._drop(client)

    def _send(self, client: Client) -> None:
        if client.unsent:
            sent = client.socket.send(client.unsent[:UNSENT])
            del client.unsent[:sent]
        if client.closing and not client.unsent:
            self._drop(client)

    def _advance(self, client: Client) -> None:
        """Answer what the client asked, as far as it takes the answers."""
        until = time.monotonic() + SLICE
        while client in self.clients and not client.closing and len(client.unsent) < UNSENT:
            if client.replies is None and not self._next_request(client):
                break
            assert client.replies is not None
            reply = self._next_reply(client)
            client.waits = reply is None
            if reply is None:
                break
            client.unsent += encode(reply)
            if reply.status is not None:
                client.replies = None
            if time.monotonic() > until:
                break
        if client not in self.clients:
            return
        try:
            self._send(client)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._drop(client)
            return
        if client in self.clients:
            # no further request is read while one is being answered, so that nothing piles up
            pending = len(client.unread) > READ and client.replies is not None
            events = (0 if pending else selectors.EVENT_READ) | (selectors.EVENT_WRITE if client.unsent else 0)
            self._watch(client, events)

    def _watch(self, client: Client, events: int) -> None:
        known = self._selector.get_map().get(client.socket)
        if known is None:
            if events:
                self._selector.register(client.socket, events, client)
        elif not events:
            self._selector.unregister(client.socket)
        elif known.events != events:
            self._selector.modify(client.socket, events, client)

    def _next_request(self, client: Client) -> bool:
        end = client.unread.find(b"\n", client.seen)
        if end < 0:
            client.seen = len(client.unread)
            return False
        line = bytes(client.unread[:end])
        del client.unread[: end + 1]
        client.seen = 0
        self.requests += 1
        try:
            client.replies = self.handler(read_request(line))
        except ProtocolError as error:
            client.replies = iter([Reply(err=f"fastfw: {error}\n", status=2)])
        return True

    def _next_reply(self, client: Client) -> Reply | None:
        assert client.replies is not None
        try:
            return next(client.replies)
        except StopIteration:
            return Reply(status=0)
        except Exception as error:
            self.log("error", "control_request_failed", error=f"{type(error).__name__}: {error}")
            return Reply(err=f"fastfw: a fault in the daemon: {type(error).__name__}: {error}\n", status=2)
