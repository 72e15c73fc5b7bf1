"""Recorded conversations of real programs, and spoiled copies of them, through the kernel's helpers and ours."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest
from tests.kernel.compare import Setup
from tests.traffic.describe import is_fragment

from fastfw.helpers import find

from . import h323_talk
from .kernel import ends, missing
from .kernel import packets as spoken
from .talks import TALKS, cases
from .whole import differences, meeting, read, spoiled

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

COPIES = int(os.environ.get("FASTFW_COPIES", "3"))
"""Spoiled copies of each capture."""

HERE = Path(__file__).parent
HELPER_OF = {"vsftpd": "ftp", "pure_ftpd": "ftp", "tftp": "tftp", "irc": "irc", "sip_udp": "sip", "sip_tcp": "sip"}
CASES = [
    pytest.param(path, HELPER_OF[path.stem[:-1]], id=path.stem) for path in sorted((HERE / "captures").glob("*.pcap"))
]
CASES.append(pytest.param(HERE.parent / "kernel/captures/calls4.pcap", "pptp", id="calls4"))
WORDS = {6: "tcp", 17: "udp"}


def setup(name: str, **settings: int) -> Setup:
    return Setup(helpers=tuple((name, WORDS[protocol], port) for protocol, port in find(name).ports), settings=settings)


@pytest.mark.parametrize(("path", "name"), CASES)
def test_recorded(path: Path, name: str) -> None:
    """Every packet gets the kernel's answer; after each the same is expected; what meets it is RELATED to both."""
    packets = read(str(path))
    assert not any(map(is_fragment, packets))
    given = setup(name)
    with given.oracle() as oracle:
        found = differences(given, oracle, packets)
        _, listed = oracle.follow(packets)
        ever = {line.split(" ", 1)[1]: at for at, lines in reversed([*enumerate(listed)]) for line in lines}
        for line, at in ever.items():
            found += differences(given, oracle, [*packets[: at + 1], *meeting([f"0 {line}"])])
    assert ever, "something is expected"
    assert not found, f"{len(found)} differences, such as\n{found[0]}"


@pytest.mark.parametrize(("path", "name"), CASES)
def test_spoiled(path: Path, name: str, seed: int) -> None:
    """The same of copies whose control connections are cut, changed, lost, doubled or out of order."""
    chance = Random(f"{seed} {path.stem}")
    packets = read(str(path))
    given = setup(name, nf_conntrack_tcp_be_liberal=1)
    with given.oracle() as oracle:
        for copy in range(COPIES):
            spoilt = spoiled(chance, packets, find(name).ports)
            found = differences(given, oracle, spoilt)
            assert not found, f"copy {copy}: {len(found)} differences, such as\n{found[0]}"


GENERATED = TALKS | {
    "Q.931": lambda chance, who: h323_talk.q931(chance, who, odd=False),
    "RAS": lambda chance, who: h323_talk.ras(chance, who, odd=False),
}
GROUPS, EACH = 2, 15


@pytest.mark.parametrize(("name", "protocol", "port", "family"), cases(GENERATED))
def test_generated(name: str, protocol: int, port: int, family: int, seed: int) -> None:
    """Conversations made from the protocol's specification, right and odd, and connections that meet what they leave
    expected."""
    if name in ("Q.931", "RAS"):
        pytest.importorskip("asn1tools", reason="H.323 is encoded by asn1tools, not installed")
    chance = Random(f"{seed} {name} {protocol} {family}")
    given = setup(name, nf_conntrack_tcp_be_liberal=1)
    met = 0
    with given.oracle() as oracle:
        for group in range(GROUPS):
            packets = []
            for number in range(1, EACH + 1):
                who = ends(group * EACH + number, family, port, protocol)
                packets += spoken(GENERATED[name](chance, who), who)
            oracle.flush()
            _, listed = oracle.follow(packets)
            follow = meeting(listed[-1])
            met += len(follow)
            found = differences(given, oracle, packets + follow)
            assert not found, f"group {group}: {len(found)} differences, such as\n{found[0]}"
    assert met > GROUPS * EACH // 4, "something is expected and met"
