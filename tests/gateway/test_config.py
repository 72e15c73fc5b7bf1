"""The daemon's configuration: strict, each fault by key and line."""

from __future__ import annotations

import pytest

pytest.importorskip("msgspec")

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
    ("[steering]\nhooks = ['INPUT', 'X']", "f:2: steering.hooks: invalid enum value 'X'"),
    ("[steering]\nhooks = []", "f:2: steering.hooks: some of INPUT, FORWARD, OUTPUT expected"),
    ("[steering]\ntable = 'raw'", "f:2: steering.table: table raw has no chain INPUT or FORWARD"),
    ("[steering]\nexcept_interfaces = ['a b']", "f:2: steering.except_interfaces: an interface name"),
    ("[log]\nlevel = 'x'", "f:2: log.level: invalid enum value 'x'"),
    ("[metrics]\nlisten = 'abc'", "f:2: metrics.listen: HOST:PORT expected"),
    ("[state]\ninterval = 5", "f:2: state.interval: there is no state.file"),
    ("[rules]\nsave_at_stop = true", "f:2: rules.save_at_stop: there is no rules.ipv4"),
    ("[control]\nsocket = '" + "x" * 108 + "'", "f:2: control.socket: a path of up to 107 bytes"),
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


@pytest.mark.parametrize(
    ("text", "address"), [("127.0.0.1:9477", ("127.0.0.1", 9477)), ("[::1]:80", ("::1", 80)), ("gw:1", ("gw", 1))]
)
def test_listen_address(text: str, address: tuple[str, int]) -> None:
    """HOST:PORT, an IPv6 host in brackets."""
    assert listen_address(text) == address
