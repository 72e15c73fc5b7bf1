"""The flow map's programs on packets, one by one: what passes, what does not, and what a packet takes away."""

from __future__ import annotations

import contextlib
import ctypes
import io
import itertools
import os
import random
import re
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("msgspec")

from fastfw import Engine
from fastfw.core.snapshot import entries
from fastfw.drivers.bypass import BITS_OF_WAY, GENERATIONS, Bypass
from fastfw.gateway import bypass as module
from fastfw.gateway import flowmap, steer
from fastfw.gateway.bypass import MapSkipping
from fastfw.gateway.config import ConfigError, parse_config
from fastfw.gateway.flowmap import FlowMap, assembled, load
from fastfw.gateway.log import Log
from fastfw.gateway.steer import MapSkip, Plan, SteerError
from gateway.namespaced import live_test, script

TEST_RUN, LOOKUP = 10, 1
WAY, GENERATION = 3, 9
GRANT = GENERATION << BITS_OF_WAY | WAY
ENDS = {4: ("10.0.0.1", "10.9.8.7"), 6: ("fd00::1", "fd00::7:2")}
UDP, TCP = 17, 6
ACK, SYN, FIN, RST = 0x10, 0x02, 0x01, 0x04
COARSE = 6
"""CLOCK_MONOTONIC_COARSE."""


def packed(family: int, host: str) -> bytes:
    return socket.inet_pton(socket.AF_INET if family == 4 else socket.AF_INET6, host)


def key(family: int, back: bool = False, proto: int = UDP, port: int = 7000) -> bytes:
    """A map's key."""
    ends = [(packed(family, host), at) for host, at in zip(ENDS[family], (port, 9000), strict=True)]
    (source, sport), (target, dport) = reversed(ends) if back else ends
    return source + target + struct.pack(">HH", sport, dport) + proto.to_bytes(4, "little")


def packet(
    family: int, back: bool = False, proto: int = UDP, port: int = 7000, flags: int = ACK, **changed: int
) -> bytes:
    """An IP packet; `changed` are bytes by their offset."""
    source, target, ports = (
        key(family, back, proto, port)[at]
        for at in (slice(0, 4 if family == 4 else 16), slice(4, 8) if family == 4 else slice(16, 32), slice(-8, -4))
    )
    body = ports + (
        struct.pack(">HH", 12, 0) + b"data" if proto == UDP else struct.pack(">IIBBHHH", 1, 1, 0x50, flags, 9, 0, 0)
    )
    if family == 4:
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, proto, 0) + source + target
        total = sum(struct.unpack(">10H", head))
        made = head[:10] + struct.pack(">H", ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF) + head[12:] + body
    else:
        made = struct.pack(">IHBB", 6 << 28, len(body), proto, 64) + source + target + body
    held = bytearray(made)
    for at, value in changed.items():
        held[int(at[1:])] = value
    return bytes(held)


class Place:
    """Maps, and the program of one way."""

    def __init__(self, made: FlowMap) -> None:
        self.map = made
        self.program = load(assembled(self.map.maps, self.map.config, WAY))
        self.map.force(GENERATION << BITS_OF_WAY)

    def close(self) -> None:
        os.close(self.program)

    def grant(self, family: int, name: bytes, grant: int = GRANT, idle: float = 0, lifetime: float = 30) -> None:
        """Enter a direction, of which a packet passed so many seconds ago."""
        last = time.clock_gettime_ns(COARSE) - int(idle * 1e9)
        value = struct.pack("=IIQQ", grant, 0, last, int(lifetime * 1e9))
        self.map._element(flowmap.MAP_UPDATE, self.map.maps[family == 6], name, ctypes.create_string_buffer(value))

    def holds(self, family: int, name: bytes) -> tuple[int, int, int, int] | None:
        """What the map has of a direction."""
        value = ctypes.create_string_buffer(flowmap.FLOW_SIZE)
        with contextlib.suppress(FileNotFoundError):
            self.map._element(LOOKUP, self.map.maps[family == 6], name, value)
            return struct.unpack("=IIQQ", value.raw)
        return None

    def passes(self, data: bytes) -> bool:
        """Whether the program lets a packet pass."""
        frame = bytes(12) + b"\x08\x00" + data
        held = ctypes.create_string_buffer(frame, len(frame))
        words = bytearray(struct.pack("=IIIIQQII", self.program, 0, len(frame), 0, ctypes.addressof(held), 0, 1, 0))
        buffer = (ctypes.c_char * 80).from_buffer(words.ljust(80, b"\0"))
        number = flowmap.NUMBERS[os.uname().machine]
        assert ctypes.CDLL(None, use_errno=True).syscall(number, TEST_RUN, buffer, 80) == 0, ctypes.get_errno()
        answer: int = struct.unpack_from("=I", buffer, 4)[0]
        return answer == 1


@pytest.fixture
def empty() -> Iterator[FlowMap]:
    """Maps; skipped where there can be none."""
    try:
        made = FlowMap("/nowhere/fastfw", 64)
    except OSError as error:
        pytest.skip(f"BPF maps cannot be had here: {error}")
    yield made
    made.close()


@pytest.fixture
def place(empty: FlowMap) -> Iterator[Place]:
    """Maps that a program asks."""
    made = Place(empty)
    yield made
    made.close()


@pytest.mark.parametrize("family", [4, 6])
def test_passes(place: Place, family: int) -> None:
    """What has a grant of this generation and way, by its addresses, ports and protocol, and nothing else."""
    assert not place.passes(packet(family))
    place.grant(family, key(family), idle=10)
    before = place.holds(family, key(family))
    assert place.passes(packet(family))
    after = place.holds(family, key(family))
    assert before is not None
    assert after is not None
    assert 9e9 < after[2] - before[2] < 30e9
    assert not place.passes(packet(family, back=True))
    assert not place.passes(packet(family, port=7001))
    assert not place.passes(packet(family, proto=TCP))
    for other in (GRANT + 1, GRANT + (1 << BITS_OF_WAY), GRANT - WAY, 0):
        place.grant(family, key(family), other)
        assert not place.passes(packet(family))
    place.grant(family, key(family))
    place.map.force((GENERATION + 1) << BITS_OF_WAY)
    assert not place.passes(packet(family))
    assert place.map.clear() == 1
    assert place.holds(family, key(family)) is None


@pytest.mark.parametrize("family", [4, 6])
def test_time(place: Place, family: int) -> None:
    """Nothing passes after its time: the engine has forgotten the connection by then."""
    place.grant(family, key(family), idle=31)
    assert not place.passes(packet(family))
    place.grant(family, key(family), idle=29)
    assert place.passes(packet(family))
    assert place.passes(packet(family))


@pytest.mark.parametrize("family", [4, 6])
def test_shape(place: Place, family: int) -> None:
    """Fragments, options, extension headers and what is cut come to the queue; random bytes pass nothing."""
    place.grant(family, key(family))
    whole = packet(family)
    odd = (
        [packet(4, b0=0x46), packet(4, b6=0x20), packet(4, b7=1)]
        if family == 4
        else [packet(6, b6=44), packet(6, b6=0)]
    )
    assert place.passes(whole)
    assert not any(place.passes(one) for one in odd)
    for size in range(20 if family == 4 else 40, len(whole) - 4):  # all of the UDP header is asked for
        assert not place.passes(whole[:size])
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for _ in range(2000):
        data = bytearray(packet(family, proto=chance.choice((UDP, TCP))))
        for _ in range(chance.randrange(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        where = 20 if family == 4 else 40
        same = (
            data[where - 8 if family == 4 else 8 : where + 4] == whole[where - 8 if family == 4 else 8 : where + 4]
            and data[9 if family == 4 else 6] == UDP
        )
        if place.passes(bytes(data)):
            assert same, data.hex()


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("flag", [FIN, SYN, RST])
def test_end(place: Place, family: int, flag: int) -> None:
    """What ends a TCP connection, from either side, takes both directions away; others' stay."""
    for back in (False, True):
        for each in (False, True):
            place.grant(family, key(family, each, TCP))
        place.grant(family, key(family, False, TCP, 7001))
        assert place.passes(packet(family, False, TCP))
        assert place.passes(packet(family, True, TCP, flags=ACK | 0x08))
        assert not place.passes(packet(family, back, TCP, flags=flag | ACK))
        assert place.holds(family, key(family, False, TCP)) is None
        assert place.holds(family, key(family, True, TCP)) is None
        assert place.passes(packet(family, False, TCP, 7001))
        assert not place.passes(packet(family, False, TCP))


@pytest.mark.parametrize("family", [4, 6])
def test_heard(place: Place, family: int) -> None:
    """How long ago a connection's packet passed, in the direction in which one did last; nothing of one that is not
    there."""
    engine = Engine()
    for at in (0, 1):
        engine.decide(packet(family, back=bool(at)), hook="FORWARD", now=1_000_000_000 * (at + 1))
    engine.decide(packet(family, port=7001), hook="FORWARD", now=2_000_000_000)
    driver = Bypass(engine, maps=place.map.maps)
    table, _, _ = entries(engine)
    place.grant(family, key(family), idle=20, lifetime=25)
    place.grant(family, key(family, True), idle=4, lifetime=25)
    (ago, lifetime), nothing = sorted(driver.heard(table).tolist(), reverse=True)
    assert 4e9 <= ago < 14e9
    assert lifetime == 25e9
    assert nothing == [0, 0]


def test_directory(empty: FlowMap, tmp_path: Path) -> None:
    """A directory that is on no BPF file system is refused, and nothing is left in it."""
    empty.directory = tmp_path / "map"
    with pytest.raises(PermissionError):
        empty.check()
    empty.close()
    assert not list(tmp_path.iterdir())


@live_test
def test_refused(tmp_path: Path) -> None:
    """Where there can be no flow map the daemon does not start, or does without, and says why in one line."""
    started = "start -c config; logged event=started; logged bypass_off; kill -TERM $daemon; wait $daemon; cat log"
    refused = "fastfw run -c config 2>&1; echo status $?"
    for mode, text, said in (
        ("on", refused, r"bypass.mode: a flow map cannot be had in .*/map: .*\nstatus 2"),
        ("auto", started, r"event=bypass_off .*flow map(.*\n)*.*event=started"),
    ):
        (tmp_path / "config").write_text(f"bypass = {{ mode = '{mode}', map = '{tmp_path}/map' }}\n")
        told = script(tmp_path, text)
        assert "Traceback" not in told
        assert re.search(said, told), told
        assert not (tmp_path / "map").exists()


class Kernel:
    """Stands in for the maps in the kernel: what was forced, and how often they were cleared."""

    def __init__(self, directory: str) -> None:
        self.directory, self.maps = Path(directory), (1000, 1001)
        self.forced: list[int] = []
        self.cleared: list[int] = []
        self.deaf = False

    def program(self, way: int) -> Path:
        return self.directory / f"7-{way}"

    def force(self, grant: int) -> None:
        if self.deaf:
            raise OSError(9, "Bad file descriptor")
        self.forced.append(grant)

    def clear(self) -> int:
        self.cleared.append(self.forced[-1])
        return 0

    def close(self) -> None: ...


def test_generations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Grants are taken back by one value in the kernel, its rules left alone; where the numbers come round the maps are
    emptied while none is in force; where the value cannot be changed, nothing else is."""
    monkeypatch.setattr(module, "FlowMap", Kernel)
    plans: list[Plan] = []
    monkeypatch.setattr(steer, "change", plans.append)
    made = MapSkipping(Engine(), "/b", False, Log(file=io.StringIO()))
    kernel: Any = made.map
    made.start(Plan())
    for number in range(GENERATIONS + 3):
        with made.taken_back(), made.taken_back():
            assert made.revoked == number + 1
    assert kernel.cleared == [0]
    in_force = [grant for grant in kernel.forced if grant]
    assert {grant & (1 << BITS_OF_WAY) - 1 for grant in in_force} == {0}
    assert len(set(in_force)) == GENERATIONS - 1
    assert all(one != other for one, other in itertools.pairwise(in_force))
    assert not plans
    kernel.deaf = True
    with pytest.raises(SteerError, match="Bad file"), made.taken_back():
        pytest.fail("it is changed")
    made.stop()


def test_rules() -> None:
    """Each way's program is asked between its interfaces, before what few packets are; an interface that has gone has
    no rule."""
    ways = (((0, "a", "b"), (0, "b", "a")), ((1, "a", ""), (2, "", "a")), ((0, "", "gone"), (0, "gone", "")))
    plan = Plan(skip=MapSkip(ways, ("/b/1", "/b/2", "/b/3")), answer_mark=7)
    chains, lines = plan.rules("mangle")
    assert chains == ("FASTFW", "FASTFW-WAYS")
    assert lines[0] == "-A FASTFW -m mark --mark 0x0 -j FASTFW-WAYS"
    assert [line for line in lines if line.startswith("-A FASTFW-WAYS")] == [
        '-A FASTFW-WAYS -i "a" -o "b" -m bpf --object-pinned /b/1 -j ACCEPT',
        '-A FASTFW-WAYS -i "b" -o "a" -m bpf --object-pinned /b/1 -j ACCEPT',
        '-A FASTFW-WAYS -i "a" -m addrtype --dst-type LOCAL -m bpf --object-pinned /b/2 -j ACCEPT',
        '-A FASTFW-WAYS -o "a" -m addrtype --src-type LOCAL -m bpf --object-pinned /b/2 -j ACCEPT',
    ]
    found = steer.find("*mangle\n:FASTFW - [0:0]\n" + "\n".join(lines))
    assert found.programs == ("/b/1", "/b/1", "/b/2", "/b/2")


@pytest.mark.parametrize("name", ["map", "/a b", '/a"', "/" + "a" * 300])
def test_name(name: str) -> None:
    """A directory that iptables could not be told is refused by key and line."""
    with pytest.raises(ConfigError, match=r"f:2: bypass\.map: an absolute path"):
        parse_config(f"[bypass]\nmap = '{name}'\n", "f")
