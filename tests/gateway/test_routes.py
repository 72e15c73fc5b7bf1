"""What the kernel's routes say of an address, and live connections judged anew by them."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

pytest.importorskip("msgspec")

from fastfw import Engine, Ruleset
from fastfw.connection import Connection
from fastfw.gateway.rejudge import first_packet, place, rejudge
from fastfw.gateway.routes import LOCAL, UNICAST, Route
from gateway.namespaced import live, script
from traffic.packets import SYN, address, echo, tcp_packet, udp_packet

NOW = 10**18


class TestLive:
    """In a network namespace."""

    pytestmark = live

    def test_kinds(self, tmp_path: Path) -> None:
        """An address is this host's, another's, a broadcast, a group's, or leads nowhere; which interface leads there
        is said; an answer is good for a moment and no longer."""
        said = script(
            tmp_path,
            r"""
ip link add left type veth peer name right; ip addr add 10.9.0.1/24 broadcast + dev left; ip link set left up
ip link set right up; ip addr add fd09::1/64 dev left nodad
"$PYTHON" - <<'PY'
import ipaddress, socket, subprocess, time
from fastfw.gateway.routes import ANYCAST, BROADCAST, LOCAL, MULTICAST, UNICAST, Routes
names = {LOCAL: "local", UNICAST: "unicast", BROADCAST: "broadcast", MULTICAST: "multicast", ANYCAST: "anycast"}
routes = Routes()
for text in ("127.0.0.1", "10.9.0.1", "10.9.0.7", "10.9.0.255", "8.8.8.8", "::1", "fd09::1", "fd09::7", "2001::1"):
    found = routes.to(ipaddress.ip_address(text).packed)
    print(text, names.get(found.kind), socket.if_indextoname(found.interface) if found.interface else "")
packed = ipaddress.ip_address("8.8.8.8").packed
subprocess.run("ip route add default via 10.9.0.7", shell=True, check=True)
print("kept", routes.kind(packed) is None)
time.sleep(1.1)
print("anew", names[routes.kind(packed)])
for number in range(5000):
    routes.kind(ipaddress.ip_address(0x0a090000 + number).packed)
print("bounded", len(routes._known))
routes.close()
PY""",
        )
        assert "127.0.0.1 local lo\n10.9.0.1 local lo\n10.9.0.7 unicast left\n10.9.0.255 broadcast left\n" in said
        assert "left\n8.8.8.8 None \n::1 local lo\n" in said
        assert "::1 local lo\nfd09::1 local lo\nfd09::7 unicast left\n2001::1 None \nkept True\nanew unicast\n" in said
        assert "bounded 4096" in said


def connections(*packets: bytes) -> list[Connection]:
    """The connections that packets begin."""
    engine = Engine()
    for packet in packets:
        assert engine.decide(packet, now=NOW).state == "NEW"
    return list(engine.connections())


@pytest.mark.parametrize("family", [4, 6])
def test_first_packets(family: int) -> None:
    """The packet made for a connection begins the same one."""
    ends = (address("10.0.0.1"), address("10.0.0.2")) if family == 4 else (address("fd00::1"), address("fd00::2"))
    made = connections(tcp_packet(*ends, 4000, 80, SYN), udp_packet(*ends, 4000, 53), echo(*ends, 77, 1))
    assert len(made) == 3
    for connection in made:
        packet = first_packet(connection)
        assert packet is not None
        (again,) = connections(packet)
        for name in ("family", "protocol", "source", "destination", "source_port", "destination_port"):
            assert getattr(again, name) == getattr(connection, name)


def test_places() -> None:
    """Which chain a connection's first packet meets is told by where its ends are."""
    here, there, nowhere = Route(LOCAL, 1), Route(UNICAST, 1), Route(None, 0)
    assert place(there, here) == ("INPUT", "lo", "")
    assert place(here, here) == ("INPUT", "lo", "")
    assert place(here, there) == ("OUTPUT", "", "lo")
    assert place(there, there) == ("FORWARD", "lo", "lo")
    assert place(nowhere, there) == ("FORWARD", "", "lo")


def test_judged_anew() -> None:
    """What the rules would not let begin is forgotten, and nothing else; what a helper announced is kept."""
    here = address("127.0.0.1")
    rules = "*filter\n:INPUT DROP\n-A INPUT -p tcp --dport 22 -j ACCEPT\n-A INPUT -p udp -j REJECT\nCOMMIT\n"
    engine = Engine()
    for packet in (tcp_packet(here, here, 4000, 22, SYN), tcp_packet(here, here, 4001, 23, SYN),
                   udp_packet(here, here, 4002, 53), echo(here, here, 7, 1)):  # fmt: skip
        engine.decide(packet, now=NOW, hook="INPUT", iif="lo")
    engine.replace(rules4=Ruleset.parse(rules))
    assert engine.conntrack_count == 4
    assert rejudge(engine) == (4, 3)
    (left,) = engine.connections()
    assert (left.destination_port, str(ip_address(left.source))) == (22, "127.0.0.1")
