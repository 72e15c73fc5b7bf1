"""What an engine is told of its host: how it is read, and what it answers."""

from __future__ import annotations

import ipaddress

import pytest
from tests.traffic import packets as p

import fastfw
from fastfw.declared import DeclarationError, Fib, declare, parse_local, parse_route


def kinds(text: str) -> list[tuple[str, str]]:
    return [(route.kind, str(route.network)) for route in parse_local(text)]


def test_an_address_brings_its_network_and_broadcast() -> None:
    """Only an IPv4 network of more than two addresses has a broadcast address; without a length there is the host."""
    assert kinds("192.0.2.1") == [("local", "192.0.2.1/32")]
    assert kinds("192.0.2.1/24%eth0") == [
        ("local", "192.0.2.1/32"), ("unicast", "192.0.2.0/24"), ("broadcast", "192.0.2.255/32"),
    ]  # fmt: skip
    assert kinds("192.0.2.1/31") == [("local", "192.0.2.1/32"), ("unicast", "192.0.2.0/31")]
    assert kinds("2001:db8::1/64") == [("local", "2001:db8::1/128"), ("unicast", "2001:db8::/64")]
    assert [route.devices for route in parse_local("192.0.2.1/32%eth0")] == [("eth0",)]


def test_broadcast_addresses_have_their_networks_masks() -> None:
    """Of every IPv4 network of more than two addresses; helpers see them of what the host itself sends."""
    told = declare(["192.0.2.1/24", "10.9.0.1/20%eth1", "192.0.2.9/25", "10.0.0.1", "10.1.0.1/31", "2001:db8::1/64"])
    found = {str(ipaddress.ip_address(one)): str(ipaddress.ip_address(mask)) for one, mask in told.broadcasts.items()}
    assert found == {
        "192.0.2.255": "255.255.255.0",
        "10.9.15.255": "255.255.240.0",
        "192.0.2.127": "255.255.255.128",
    }
    for hook, awaited in (("OUTPUT", 1), ("FORWARD", 0)):
        engine = fastfw.Engine(local=["192.0.2.1/24"], helpers=["snmp"])
        engine.decide(p.udp_packet(p.address("192.0.2.1"), p.address("192.0.2.255"), 5000, 161, b"?"), hook=hook)
        assert len(list(engine.expectations())) == awaited


def test_routes_are_read_as_they_are_printed() -> None:
    """What `ip route` prints: types, ways, metrics, several next hops; the default goes by its neighbours' family."""
    route = parse_route("default via 192.0.2.254 dev eth0 proto dhcp src 192.0.2.7 metric 100 onlink")
    assert (str(route.network), route.devices, route.gateway, route.metric) == ("0.0.0.0/0", ("eth0",), True, 100)
    assert str(parse_route("default via fe80::1 dev eth0 proto ra metric 1024 pref medium").network) == "::/0"
    assert parse_route("unreachable 10.0.0.0/8").kind == "unreachable"
    many = parse_route("10.0.0.0/8 nexthop via 192.0.2.1 dev a weight 1 nexthop via 192.0.2.2 dev b weight 1")
    assert many.devices == ("a", "b")
    assert parse_route("10.0.0.0/8 via inet6 fe80::1 dev a").gateway


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"local": ["here"]}, "address expected"),
        ({"routes": "unicast"}, "a network expected"),
        ({"routes": "10.0.0.1/8 dev a"}, "is not a network"),
        ({"routes": "10.0.0.0/8 by a"}, "`by' is not expected"),
        ({"routes": "10.0.0.0/8 dev"}, "`dev' is not expected"),
        ({"routes": "10.0.0.0/8 metric x"}, "not a number"),
        ({"routes": "10.0.0.0/8 metric " + "1" * 5000}, "not a number"),
        ({"assume": {"length": True}}, "expected one of bpf, "),
        ({"groups": {"eth0": -1}}, "from 0 to 4294967295"),
        ({"zone": 1440}, "less than a day"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, object], expected: str) -> None:
    """Each fault is one error that says what was expected."""
    with pytest.raises(DeclarationError, match=expected):
        declare(**arguments)  # type: ignore[arg-type]


def test_the_longest_route_of_the_lowest_metric_is_found() -> None:
    """Table local comes first whatever its lengths; what throws is not there."""
    lines = ["0.0.0.0/0 dev a", "10.0.0.0/8 dev b metric 9", "10.0.0.0/8 dev c metric 3", "10.1.0.0/16 dev d",
             "throw 10.1.1.0/24", "local 10.1.0.0/24 dev lo", "10.1.0.4 dev e"]  # fmt: skip
    fib = Fib(4, [parse_route(line) for line in lines], True)
    asked = ("1.1.1.1", "10.2.0.0", "10.1.1.1", "10.1.0.4")
    found = [fib.look_up(int(ipaddress.ip_address(text))) for text in asked]
    assert [route and route.devices for route in found] == [("a",), ("c",), ("d",), ("lo",)]


def test_rules_about_ways_back_need_routes() -> None:
    """rpfilter is answered only where routes are told; then by them."""
    rules = fastfw.Ruleset.parse("*raw\n-A PREROUTING -m rpfilter --invert -j DROP\nCOMMIT\n", family=4)
    packet = bytes.fromhex("4500001c00000000401166cf0a0000010a0000020001000200080000")
    with pytest.warns(fastfw.RulesetNotice, match="no routes are declared"):
        fastfw.Engine(rules4=rules)
    fw = fastfw.Engine(rules4=rules, routes="default dev eth0\n10.0.0.0/8 dev eth1")
    assert fw.decide(packet, iif="eth1").verdict == "ACCEPT"
    assert fw.decide(packet, iif="eth0").verdict == "DROP"
    assert fw.decide(packet, iif="lo").verdict == "ACCEPT"
