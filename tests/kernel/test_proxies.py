"""Targets that keep packets to the host, and connections' labels, beside the kernel's: verdicts and counters agree."""

from __future__ import annotations

import pytest
from tests.kernel.oracle import missing
from tests.kernel.test_counters import agree

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(missing() is not None, reason=str(missing()))]


def proxied(seed: int, family: int) -> str:
    """A proxy of handshakes for what is new, one for what is INVALID, and rules that count what both let go on."""
    return """*filter
-A FORWARD -p tcp -m tcp --dport 22
-A FORWARD -p tcp -m conntrack --ctstate INVALID -j SYNPROXY --sack-perm --timestamp --wscale 7 --mss 1460
-A FORWARD -p tcp -m conntrack --ctstate INVALID -m tcp --tcp-flags RST RST -j ACCEPT
-A FORWARD -p tcp -m tcp --sport 1024:40000 -m conntrack --ctstate NEW -j SYNPROXY --mss 1400
-A FORWARD -p tcp
COMMIT
"""


def taken(seed: int, family: int) -> str:
    """A transparent proxy whose sockets are not there."""
    return """*mangle
-A PREROUTING -p tcp -m tcp --dport 80 -j TPROXY --on-port 3128 --tproxy-mark 0x1/0x1
-A PREROUTING -p udp -m udp --dport 53 -j TPROXY --on-port 53
-A PREROUTING -m mark --mark 0x1/0x1
-A FORWARD -p tcp
COMMIT
"""


def labelled(seed: int, family: int) -> str:
    """Labels that some packets set and others are asked for, in every table before and after tracking."""
    return """*raw
-A PREROUTING -m connlabel --label 1 --set
-A PREROUTING -m connlabel ! --label 1
-A PREROUTING -p udp -j CT --notrack
COMMIT
*mangle
-A PREROUTING -p tcp -m connlabel --label 127 --set
-A PREROUTING -m connlabel ! --label 64
-A FORWARD -p tcp -m tcp --dport 80 -m connlabel --label 0 --set
-A FORWARD -m conntrack --ctdir REPLY -m connlabel --label 0
-A FORWARD -m length --length 100: -m connlabel ! --label 63 --set
COMMIT
*filter
-A FORWARD -m connlabel --label 63
-A FORWARD -m connlabel --label 127 -m connlabel ! --label 0 -j ACCEPT
-A FORWARD -m connlabel ! --label 5 -m connlabel ! --label 64 --set
COMMIT
"""


@pytest.mark.parametrize("rules", [proxied, taken, labelled])
@pytest.mark.parametrize("seed", [3600, 3601])
@pytest.mark.filterwarnings("ignore::fastfw.RulesetNotice")
def test_what_stays_with_the_host_and_what_is_labelled(seed: int, rules: object) -> None:
    """SYNPROXY keeps what opens a connection and what acknowledges, TPROXY without a socket all; a label is there for
    all later packets of its connection."""
    agree(seed, 3_000, rules)  # type: ignore[arg-type]
