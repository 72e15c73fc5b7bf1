"""Helpers are found by name and attached by NAME[:PROTO:PORT]."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import fastfw
import fastfw.helpers as helpers
from fastfw.helpers import TCP, Helper, HelperError, find, known, parse_spec

from .kernel import Ends, FakeFlow, Say, ends, packets

PAGE = Path(__file__).resolve().parents[2] / "docs" / "helpers.md"


class Own(Helper):
    """What a user's package would offer."""

    name = "own"


class Broken:
    """No helper at all."""


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package that offers helpers of its own, two of them unusable."""
    names = {"own": "Own", "broken": "Broken", "gone": "Gone"}
    found = [EntryPoint(name, f"{__name__}:{value}", helpers.ENTRY_POINTS) for name, value in names.items()]
    monkeypatch.setattr(helpers, "entry_points", lambda group: found if group == helpers.ENTRY_POINTS else [])
    monkeypatch.setattr(helpers, "import_module", lambda name: __import__("sys").modules[name])
    helpers._targets.cache_clear()
    yield
    helpers._targets.cache_clear()


def test_every_known_helper_can_be_had_and_is_what_it_says() -> None:
    """Each built-in helper bears its own name and has ports, a limit and a timeout that make sense."""
    for name in known():
        helper = find(name)
        assert helper.name == name
        assert all(protocol in (6, 17) and 0 < port < 65536 for protocol, port in helper.ports)
        limit, timeout = helper.policy(0)
        assert limit >= 0
        assert timeout > 0


def test_each_engine_has_its_own_instance() -> None:
    """Nothing of one engine's helper can leak into another's."""
    assert find("ftp") is not find("ftp")


def test_a_spec_names_the_helper_and_may_name_the_port() -> None:
    """`ftp` serves its own ports, `ftp:tcp:2121` that one."""
    assert parse_spec("ftp").ports == ((TCP, 21),)
    assert parse_spec("ftp:tcp:2121").ports == ((TCP, 2121),)
    assert parse_spec("ftp:TCP:65535").ports == ((TCP, 65535),)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "known are"),
        ("nosuch", "no helper is called 'nosuch'; known are"),
        ("FTP", "no helper is called 'FTP'"),
        ("ftp:21", "NAME or NAME:PROTO:PORT expected"),
        ("ftp:tcp:21:x", "NAME or NAME:PROTO:PORT expected"),
        ("ftp:sctp:21", "protocol tcp or udp expected"),
        ("ftp:udp:21", "works over tcp only"),
        ("ftp:tcp:0", "a port from 1 to 65535"),
        ("ftp:tcp:65536", "a port from 1 to 65535"),
        ("ftp:tcp:-1", "a port from 1 to 65535"),
        ("ftp:tcp:\u0661", "a port from 1 to 65535"),
    ],
)
def test_a_bad_spec_says_what_was_expected(text: str, complaint: str) -> None:
    """Every mistake is one HelperError that says what would do."""
    with pytest.raises(HelperError) as raised:
        parse_spec(text)
    assert complaint in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.usefixtures("installed")
def test_installed_packages_offer_helpers_of_their_own() -> None:
    """An entry point is found by its name; one that is broken is an error that names its origin."""
    assert isinstance(find("own"), Own)
    assert parse_spec("own:udp:7").ports == ((17, 7),)
    for text, complaint in (("own", "own:PROTO:PORT expected"), ("broken", "no subclass"), ("gone", "cannot be had")):
        with pytest.raises(HelperError, match=complaint):
            parse_spec(text)


def shown(name: str) -> type[Helper]:
    """The helper of that name in the documentation's code."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (code,) = (block for block in blocks if f"class {name}" in block)
    names: dict[str, object] = {}
    exec(compile(code, "docs/helpers.md", "exec"), names)
    made = names[name]
    assert isinstance(made, type)
    assert issubclass(made, Helper)
    return made


def test_the_worked_example_of_the_documentation_works() -> None:
    """The helper that docs/helpers.md shows is code that announces what it says."""
    made = shown("SampleHelper")
    flow = FakeFlow(made(), Ends(b"\x0a\0\0\1", b"\x0a\0\0\2", 40000, 7000), direction=1)
    assert made().on_payload(memoryview(b"PORT 4000\r\n"), flow) is None
    assert [(one.source, one.destination, one.port, one.timeout) for one in flow.waiting] == [
        (b"\x0a\0\0\1", b"\x0a\0\0\2", 4000, 60)
    ]


def test_the_stream_example_of_the_documentation_works() -> None:
    """The helper of a stream that docs/helpers.md shows reads a line that came in two segments, the second one first,
    and announces no privileged port."""
    made = shown("LinesHelper")
    engine = fastfw.Engine(helpers=[made()])
    who = ends(1, 4, 7001)
    said = [Say(1, b"00\nPORT 22\n", 7), Say(1, b"PORT 40", 0)]
    for packet in packets(said, who):
        assert engine.decide(packet, now=10**18).verdict == "ACCEPT"
    (one,) = map(str, engine.expectations())
    assert "dport=4000" in one


def test_the_documentation_lists_every_helper_with_its_own_numbers() -> None:
    """Names, ports, limits and timeouts in docs/helpers.md are those of the code."""
    text = PAGE.read_text()
    rows = dict(re.findall(r"^\| `([A-Za-z0-9.-]+)` \| (.*)$", text, re.MULTILINE))
    assert sorted(rows) == known()
    for name, row in rows.items():
        helper = find(name)
        limit, timeout = helper.policy(0)
        columns = row.split(" | ")
        assert all(str(port) in columns[0] for _, port in helper.ports)
        assert ("IPv4" in columns[0]) == (helper.families == (4,))
        assert columns[1].split()[0] == str(limit)
        assert columns[2] == f"{timeout} s"
