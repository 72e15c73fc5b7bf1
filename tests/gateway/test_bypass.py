"""Connections that skip the queue: what they are granted, how that is taken back, and when it cannot be."""

from __future__ import annotations

import contextlib
import io
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("msgspec")

from tests.traffic import packets as p

from fastfw import Engine
from fastfw.core.terms import Hook
from fastfw.drivers import nfqueue
from fastfw.drivers.bypass import GENERATIONS, Bypass
from fastfw.gateway import bypass as module
from fastfw.gateway import steer
from fastfw.gateway.bypass import Skipping
from fastfw.gateway.config import Config, ConfigError, parse_config
from fastfw.gateway.hostct import HostConntrack, tuple_of
from fastfw.gateway.log import Log
from fastfw.gateway.netlink import attribute, attributes, message
from fastfw.gateway.rulebook import Rulebook, RulesError
from fastfw.gateway.steer import Plan, Skip, SteerError
from fastfw.ruleset import Ruleset
from gateway.namespaced import live_test, script

QUEUE_PACKET = 0x300
NF_FORWARD = 2


class Host:
    """Stands in for the kernel's table."""

    def __init__(self) -> None:
        self.cleared = 0
        self.deaf = False

    def check(self) -> None:
        if self.deaf:
            raise OSError(105, "no")

    def clear(self, mask: int) -> int:
        self.cleared += 1
        return 0

    def close(self) -> None: ...


@pytest.fixture
def skipping(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Skipping, list[Plan]]]:
    """Grants whose kernel is a list of the plans it was given."""
    plans: list[Plan] = []
    monkeypatch.setattr(module, "HostConntrack", Host)
    monkeypatch.setattr(steer, "change", plans.append)
    made = Skipping(Engine(), 0xFFFF0000, False, Log(file=io.StringIO()))
    made.start(Plan())
    yield made, plans
    made.stop()


def test_every_change_is_another_generation(skipping: tuple[Skipping, list[Plan]]) -> None:
    """Whenever grants are taken back the kernel's rules get a generation that no connection has; changes within one
    another take them back once; where the numbers come round, marks are cleared while no rule asks for them."""
    made, plans = skipping
    host: Any = made.host
    seen = []
    for number in range(GENERATIONS + 3):
        with made.taken_back(), made.taken_back():
            seen.append(plans[-1].skip.generation)  # type: ignore[union-attr]
        assert made.revoked == number + 1
    assert all(0 < generation < GENERATIONS for generation in seen)
    assert seen[: GENERATIONS - 1] != seen[1:GENERATIONS]
    assert len(set(seen)) == GENERATIONS - 1
    assert host.cleared == seen.count(1) >= 1
    assert len(plans) == GENERATIONS + 4


def test_not_taken_back(skipping: tuple[Skipping, list[Plan]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel's rules cannot be changed nothing else is, and grants go on as before."""
    made, plans = skipping

    def refuse(plan: Plan) -> None:
        raise SteerError("no")

    monkeypatch.setattr(steer, "change", refuse)
    before = made.plan(Plan())
    with pytest.raises(SteerError), made.taken_back():
        pytest.fail("it is changed")
    assert made.plan(Plan()) == before

    @contextlib.contextmanager
    def around() -> Iterator[None]:
        try:
            with made.taken_back():
                yield
        except SteerError as error:
            raise RulesError(str(error)) from None

    book = Rulebook(Engine(), lambda: None, around=around)
    with pytest.raises(RulesError, match="no"):
        book.put(Ruleset.parse("*filter\n-A INPUT -j DROP\nCOMMIT\n"))
    assert book.engine.ruleset(4) is None
    assert not plans


class Grants:
    """A driver whose every connection is nearly over; the generation it grants in."""

    def __init__(self) -> None:
        self.generation = 0

    def grant(self, generation: int) -> None:
        self.generation = generation


def test_nothing_skips_that_nobody_keeps(
    skipping: tuple[Skipping, list[Plan]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the kernel's table cannot be asked what still passes, every packet is queued again, through changes of
    rules too, and connections skip anew once it can."""
    made, plans = skipping
    grants, host = Grants(), Host()
    monkeypatch.setattr(made, "driver", grants)
    monkeypatch.setattr(made, "host", host)
    monkeypatch.setattr(made, "keep", host.check)
    monkeypatch.setattr(made, "plan", lambda plan: plan)
    made.look_after()
    assert not plans
    host.deaf = True
    for _ in range(2):
        with pytest.raises(OSError, match="no"):
            made.look_after()
        assert grants.generation == 0
        assert len(plans) == made.revoked == 1
    with made.taken_back():
        assert len(plans) == 2
    assert grants.generation == 0
    host.deaf = False
    made.look_after()
    assert grants.generation != 0
    assert len(plans) == 2
    monkeypatch.undo()


def test_rules() -> None:
    """The kernel's rules: a grant is saved with the connection and used by its interfaces; whatever ends a connection
    takes it away."""
    ways = (((0, "a", "b"), (0, "b", "a")), ((1, "a", ""), (2, "", "a")), ((0, "", "gone"), (0, "gone", "")))
    chain = Plan(skip=Skip(16, 3, ways), answer_mark=7).chain()
    granted = "-m mark --mark 0x0 -m conntrack --ctstate ESTABLISHED -j FASTFW-WAYS"
    assert chain[:2] == [  # before what few packets are
        f"-A FASTFW -p udp {granted}",
        f"-A FASTFW -p tcp -m tcp --tcp-flags FIN,SYN,RST NONE {granted}",
    ]
    assert chain[-1].endswith("-j NFQUEUE --queue-num 0")
    assert [line for line in chain if line.startswith("-A FASTFW-WAYS")] == [
        '-A FASTFW-WAYS -i "a" -o "b" -m connmark --mark 0xc10000/0xffff0000 -j ACCEPT',
        '-A FASTFW-WAYS -i "b" -o "a" -m connmark --mark 0xc10000/0xffff0000 -j ACCEPT',
        '-A FASTFW-WAYS -i "a" -m addrtype --dst-type LOCAL -m connmark --mark 0xc20000/0xffff0000 -j ACCEPT',
        '-A FASTFW-WAYS -o "a" -m addrtype --src-type LOCAL -m connmark --mark 0xc20000/0xffff0000 -j ACCEPT',
    ]
    assert "-A FASTFW -m mark --mark 0xc00000/0xffc00000 -j FASTFW-GRANTED" in chain


def queued(number: int, packet: bytes) -> bytes:
    """A packet as the kernel's queue hands it over when it is to be passed on."""
    body = attribute(1, number.to_bytes(4, "big") + b"\x08\0" + bytes([NF_FORWARD])) + attribute(10, packet)
    return message(QUEUE_PACKET, 0, 0, b"\x02\0\0\0" + body)


def test_granted_once_both_ways_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection whose packets both take a remembered way to ACCEPT asks for that way to be opened, and is granted
    that it skips the queue once it is."""
    kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    monkeypatch.setattr(nfqueue, "open_queue", lambda *options: ours)
    engine = Engine(Ruleset.parse("*filter\n-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT\nCOMMIT\n"))
    driver = Bypass(engine, 0xFFFF0000)
    driver.grant(1)
    ends = p.address("10.0.0.1"), p.address("10.0.0.2")
    there, back = (*ends, 4000, 80), (*ends[::-1], 80, 4000)
    opening = [
        p.tcp_packet(*there, p.SYN, 99),
        p.tcp_packet(*back, p.SYN | p.ACK, 499, 100),
        *[p.tcp_packet(*there, p.ACK, 100, 500), p.tcp_packet(*back, p.ACK, 500, 100)] * 2,
    ]
    with kernel, nfqueue.Queue(engine, 7, bypass=driver) as queue:
        for number, packet in enumerate(opening):
            kernel.send(queued(number, packet))
        assert queue.poll() == len(opening)
        end = (int(Hook.HOOK_FORWARD), "", "")
        assert (driver.asked(), driver.granted) == (((end, end),), 0)
        driver.open(1)
        kernel.send(queued(len(opening), opening[-1]))
        assert queue.poll() == 1
        assert driver.granted == 1


@pytest.mark.parametrize("mask", [0, 0xFFFF, 0xFFFF0000, 0xFFFE0000, 0x1FFFF, 0x0FFFF000, 0xFF00FF])
def test_mask(mask: int) -> None:
    """Sixteen neighbouring bits are a mask, wherever; anything else is refused by key and line."""
    good = mask in (0xFFFF, 0xFFFF0000, 0x0FFFF000)
    with contextlib.nullcontext() if good else pytest.raises(ValueError, match="16 neighbouring bits"):
        assert Bypass(Engine(), mask).mask == mask
    text = f"[bypass]\nmode = 'auto'\nmask = {mask:#x}\n"
    with contextlib.nullcontext() if good else pytest.raises(ConfigError, match="f:3: bypass"):
        assert parse_config(text, "f").bypass.mask == mask


@pytest.mark.parametrize("line", ["queue.driver = 'netfilterqueue'", "steering.install = false"])
def test_cannot(line: str) -> None:
    """What makes it impossible is refused where it must be, and taken where it may be."""
    with pytest.raises(ConfigError, match="f:1: bypass"):
        parse_config(f"bypass.mode = 'on'\n{line}\n", "f")
    assert parse_config(f"bypass.mode = 'auto'\n{line}\n", "f") != Config()


def test_messages() -> None:
    """A connection's name is nested attributes, addresses and ports in network byte order."""
    name = tuple_of((4, b"\x0a\x00\x00\x01", b"\x0a\x00\x00\x02", 17, 1000, 53))
    ((kind, inner),) = attributes(name)
    parts = {number: dict(attributes(value)) for number, value in attributes(inner)}
    assert kind == 1
    assert parts == {1: {1: b"\x0a\0\0\1", 2: b"\x0a\0\0\2"}, 2: {1: b"\x11", 2: b"\x03\xe8", 3: b"\0\x35"}}
    assert list(attributes(b"\x08\0\1\0ab")) == []  # longer than it is


TABLE = r"""
"$PYTHON" - <<'PY'
import socket, subprocess
from fastfw.gateway.hostct import HostConntrack
def run(command):
    subprocess.run(command, shell=True, check=True)
run("iptables-legacy -t mangle -A OUTPUT -m conntrack --ctstate NEW -j CONNMARK --set-mark 0x50007")
server = socket.create_server(("::", 9000), family=socket.AF_INET6, dualstack_ipv6=True, backlog=999)
names, kept = [], []
for host, family in (("127.0.0.1", 4), ("::1", 6)):
    run(f"{'ip6tables' if family == 6 else 'iptables'}-legacy -t mangle -I OUTPUT -m conntrack --ctstate NEW "
        "-j CONNMARK --set-mark 0x50007")
    for _ in range(200):
        made = socket.create_connection((host, 9000), timeout=20)
        kept.append(made)
        place = socket.inet_pton(made.family, host)
        names.append((family, place, place, 6, made.getsockname()[1], 9000))
table = HostConntrack()
table.check()
absent = (4, bytes([127, 0, 0, 1]), bytes([127, 0, 0, 1]), 6, 1, 1)
left = table.left([*names[:200], absent, *names[200:]], 0xffff0000)
print("left", sum(400000 < one <= 432000 for one in left), left[200], max(table.left(names, 0xff000000)))
print("cleared", table.clear(0xffff0000), table.clear(0xffff0000), max(table.left(names, 0xffff0000)))
print("others' bits", open("/proc/net/nf_conntrack").read().count("mark=7 "))
PY
"""


@live_test
def test_the_kernels_table(tmp_path: Path) -> None:
    """The kernel tells what time connections have left, of both families and many at once, and of none that it has not
    or that has no mark; marks are cleared under the mask alone."""
    said = script(tmp_path, TABLE)
    assert "left 400 0 0\ncleared 400 0 0\nothers' bits 400\n" in said


@pytest.mark.parametrize(("asked", "late", "next_"), [(0, 1, 3), (1 << 31, (1 << 31) + 1, 1)], ids=["first", "anew"])
def test_late_answers(asked: int, late: int, next_: int) -> None:
    """Answers to questions that were given up are not taken for those to the next ones, also where the numbers of those
    begin anew."""
    ends = (4, b"\x0a\0\0\1", b"\x0a\0\0\2", 17, 1000, 53)
    answer = bytes(4) + attribute(8, b"\0\1\0\0")  # its mark; then the seconds it has left
    host = HostConntrack()
    host.close()
    host._sequence = asked
    given, host.socket = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    host.socket.settimeout(0.05)
    with pytest.raises(TimeoutError):
        host.left([ends, ends], 0xFFFF0000)
    host.socket.settimeout(10)
    for sequence, seconds in ((late, 7), (late + 1, 8), (next_ + 1, 9), (next_, 5)):
        given.send(message(0x100, 0, sequence, answer + attribute(7, seconds.to_bytes(4, "big"))))
    assert host.left([ends, ends], 0xFFFF0000) == [5, 9]
    given.close()
    host.close()


def test_no_netlink(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a kernel that can be asked, that is an OSError."""
    host = HostConntrack()
    monkeypatch.setattr(host, "_dump", lambda *given: (_ for _ in ()).throw(OSError(95, "Operation not supported")))
    with pytest.raises(OSError, match="not supported"):
        host.check()
    host.close()
