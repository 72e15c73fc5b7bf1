"""The daemon's configuration: strict, each fault by key and line."""

from __future__ import annotations

import inspect

import pytest

pytest.importorskip("msgspec")

import fastfw
from fastfw.gateway.config import Config, ConfigError, line_of, listen_address, parse_config

FAULTS = [
    ("[rules]\nipv4 = 3\n", "f:2: rules.ipv4: expected `str`, got `int`"),
    ("[rules]\nipv9 = 'x'\n", "f:2: rules.ipv9: no such key: one of ipv4, ipv6, sets, rejudge, save_at_stop expected"),
    ("[rules]\nipv4 = 'x'\nsets = 'y'\n", "f:3: rules.sets: expected `array`, got `str`"),
    ("\n\nnope = 1", "f:3: nope: no such key: one of rules, conntrack,"),
    ("[queue]\nfirst = 70000", "f:2: queue.first: expected `int` <= 65535"),
    ("[queue]\nfirst = 65535\ncount = 2", "f:3: queue.count: the last queue would be above 65535"),
    ("[queue]\ndriver = 'netfilterqueue'\nfail_open = true", "f:3: queue.fail_open: driver netfilterqueue cannot"),
    ("[queue]\ncopy_range = 99\ndriver = 'netfilterqueue'", "f:2: queue.copy_range: driver netfilterqueue cannot"),
    ("[queue]\ncopy_range = 20", "f:2: queue.copy_range: 0 or 68 to 65535 bytes expected"),
    ("[conntrack.settings]\nnf_conntrack_max = 5\nnf_x = 3", "f:3: conntrack.settings.nf_x: no such setting"),
    ("[conntrack.settings]\nnf_conntrack_max = 'a'", "f:2: conntrack.settings.nf_conntrack_max: expected `int`"),
    ("[conntrack.settings]\nnf_conntrack_max = -1", "f:2: conntrack.settings.nf_conntrack_max: a whole number"),
    ("rules.ipv4 = 'a'\nconntrack.helpers = ['ftp', 'zip']", "f:2: conntrack.helpers: no helper is called 'zip'"),
    (
        "[conntrack.settings]\nnf_conntrack_helper = 2",
        "f:2: conntrack.settings.nf_conntrack_helper: a whole number from 0 to 1 expected, not 2",
    ),
    ("[steering]\nhooks = ['INPUT', 'X']", "f:2: steering.hooks: invalid enum value 'X'"),
    ("[steering]\nhooks = []", "f:2: steering.hooks: some of INPUT, FORWARD, OUTPUT expected"),
    ("[steering]\ntable = 'raw'", "f:2: steering.table: table raw has no chain INPUT or FORWARD"),
    ("[steering]\nexcept_interfaces = ['a b']", "f:2: steering.except_interfaces: an interface name"),
    ("[log]\nlevel = 'x'", "f:2: log.level: invalid enum value 'x'"),
    ("[metrics]\nlisten = 'abc'", "f:2: metrics.listen: HOST:PORT expected"),
    ("[state]\ninterval = 5", "f:2: state.interval: there is no state.file"),
    ("[rules]\nsave_at_stop = true", "f:2: rules.save_at_stop: there is no rules.ipv4"),
    ("[control]\nsocket = '" + "x" * 108 + "'", "f:2: control.socket: a path of up to 107 bytes"),
    ("[host]\nlocal = ['10.0.0.1/24', 'x']", "f:2: host.local: x: an IPv4 or IPv6 address expected"),
    ("[host]\nroutes = ['10.0.0.0/8 dav eth0']", "f:2: host.routes: route `10.0.0.0/8 dav eth0': `dav'"),
    ("[host]\ngroups = {eth0 = 1, eth1 = -1}", "f:2: host.groups.eth1: expected `int` >= 0"),
    ("[host.groups]\neth0 = 1\neth1 = 'a'", "f:3: host.groups.eth1: expected `int`, got `str`"),
    ("[host.assume]\nowner = true\ncpu = 1", "f:3: host.assume.cpu: expected `bool`, got `int`"),
    ("[host]\nassume = {tcp = true}", "f:2: host.assume: match `tcp' is not assumed"),
    ("[host]\ntime_zone = 1440", "f:2: host.time_zone: time zone: minutes east of UTC"),
    ("[host]\nqueues = [70000]", "f:2: host.queues: expected `int` <= 65535"),
    ("[conntrack.timeouts.a]\nprotocol = 'tcp'\nx = 3", "f:3: conntrack.timeouts.a.x: no such key: one of protocol,"),
    ("[conntrack.timeouts.a]\nprotocol = 'tpc'", "f:2: conntrack.timeouts.a.protocol: one of tcp, udp,"),
    (
        "[conntrack.timeouts.a]\nprotocol = 'udp'\n[conntrack.timeouts.b]\nprotocol = 'udp'\nseconds.replied = 'x'",
        "f:5: conntrack.timeouts.b.seconds.replied: expected `int`, got `str`",
    ),
    (
        "[conntrack.timeouts.a]\nprotocol = 'udp'\n[conntrack.timeouts.a.seconds]\nestablished = 5",
        "f:4: conntrack.timeouts.a.seconds.established: one of unreplied, replied expected",
    ),
    ("[conntrack.timeouts.a]\nfamily = 6", "f:1: conntrack.timeouts.a: object missing required field `protocol`"),
    ("rules = 3", "f:1: rules: expected `object`, got `int`"),
    ("[rules\n", "f:1:7: Expected ']'"),
    ("a = ", "f:1"),
    ("a = 1\na = 2\n", "f:2"),
    ("[queue]\nlength = " + "1" * 5000, "f:2: a number of so many digits"),
]


@pytest.mark.parametrize(("text", "said"), FAULTS)
def test_faults(text: str, said: str) -> None:
    """Each fault is one line that begins with the file, the line and the key."""
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "f")
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_every_parameter_of_an_engine_has_its_key() -> None:
    """What an Engine is made with can be configured, its hash's seed apart, which is to be secret; and it gets it."""
    text = """
[conntrack]
helpers = ["ftp:tcp:2121"]
settings.nf_conntrack_max = 7
timeouts.short = { protocol = "udp", seconds = { replied = 3 } }
[host]
local = ["192.0.2.1/24%eth0"]
routes = ["default via 192.0.2.9 dev eth0"]
groups.eth0 = 7
assume.owner = true
time_zone = -60
queues = [3]
"""
    told = parse_config(text).told()
    read_elsewhere = {"rules4", "rules6", "sets", "seed"}
    assert {"self", *told, *read_elsewhere} == set(inspect.signature(fastfw.Engine.__init__).parameters)
    default = Config().told()
    assert all(told[name] != default[name] for name in told)
    engine = fastfw.Engine(**told)
    assert engine.settings["nf_conntrack_max"] == 7
    assert "ftp" in engine.helper_names()
    assert (engine.declared.zone, engine.declared.groups, engine.declared.assume) == (-60, {"eth0": 7}, {"owner": True})
    assert engine.declared.has_local
    assert engine.declared.fib[4].declared


def test_empty_is_the_default() -> None:
    """An empty file is a whole configuration: everything is accepted, and nothing is kept."""
    assert parse_config("") == Config()
    assert parse_config("").plan().hooks == ("INPUT", "FORWARD", "OUTPUT")
    assert not Config().queue.fail_open


def test_lines_of_keys() -> None:
    """A key is found by its table, dotted or quoted, and never in another table."""
    text = "# a\nx.y = 1\n[a]\ny = 1\n[x]\n'z' = 2 # z\n[x.w]\ny = 4\n"
    assert line_of(text, ("x", "y")) == 2
    assert line_of(text, ("x", "z")) == 6
    assert line_of(text, ("x", "w", "y")) == 8
    assert line_of(text, ("x", "w", "missing")) == 7
    assert line_of("a = 'b\x85\u2028c'\nd = 1\n", ("d",)) == 2


@pytest.mark.parametrize(
    ("text", "address"), [("127.0.0.1:9477", ("127.0.0.1", 9477)), ("[::1]:80", ("::1", 80)), ("gw:1", ("gw", 1))]
)
def test_listen_address(text: str, address: tuple[str, int]) -> None:
    """HOST:PORT, an IPv6 host in brackets."""
    assert listen_address(text) == address
