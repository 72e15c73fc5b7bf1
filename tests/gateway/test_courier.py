"""Answers sent with CAP_NET_ADMIN alone."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest

pytest.importorskip("msgspec")

from fastfw.core.terms import Hook
from fastfw.drivers.rejected import Rejected
from fastfw.gateway.answers import ICMPV6, answer, checksum, pseudo
from fastfw.gateway.courier import packet_of, verdict
from gateway.namespaced import live_test, script
from traffic.packets import SYN, address, tcp_packet, udp_packet

ENDS = {4: (address("10.0.0.1"), address("10.0.0.2")), 6: (address("fd00::1"), address("fd00::2"))}
USUAL = {4: address("10.0.0.254"), 6: address("fd00::ffff")}


def rejected(packet: bytes, family: int, hook: Hook) -> Rejected:
    """A packet that a rule refused."""
    return Rejected(packet, family, hook, 0, "eth0", True)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("local", [True, False])
def test_whole_packets(family: int, local: bool) -> None:
    """What a courier takes is a whole packet, its checksums right: a reset from whom it was sent to, an error from this
    host."""
    hook = Hook.HOOK_INPUT if local else Hook.HOOK_FORWARD
    at = slice(12, 16) if family == 4 else slice(8, 24)
    reset = answer(rejected(tcp_packet(*ENDS[family], 1000, 80, SYN), family, hook), "tcp-reset")
    assert reset.whole(USUAL[family]) == reset.data
    kind = "icmp-port-unreachable" if family == 4 else "icmp6-port-unreachable"
    error = answer(rejected(udp_packet(*ENDS[family], 1000, 80, b"x"), family, hook), kind)
    whole = error.whole(USUAL[family])
    source = ENDS[family][1] if local else USUAL[family]
    assert whole[at] == source
    if family == 4:
        assert checksum(whole[:20]) == 0
        assert checksum(whole[20:]) == 0
        assert struct.unpack_from(">H", whole, 2)[0] == len(whole)
    else:
        assert whole[24:40] == ENDS[6][0]
        assert checksum(pseudo(source, ENDS[6][0], ICMPV6, len(whole) - 40) + whole[40:]) == 0
        assert (whole[6], struct.unpack_from(">H", whole, 4)[0]) == (ICMPV6, len(whole) - 40)


def test_messages() -> None:
    """A queued packet's number and contents are found; a verdict has the new contents, padded, or none and drops."""
    body = struct.pack("=HH", 11, 1) + b"\0\0\0\7\0\0\1" + b"\0" + struct.pack("=HH", 7, 10) + b"abc\0"
    message = struct.pack("=IHHIIBBH", 20 + len(body), 0x300, 0, 0, 0, 2, 0, 0) + body
    assert packet_of(message) == (b"\0\0\0\7", b"abc")
    assert packet_of(struct.pack("=IHHII", 20, 2, 0, 0, 0) + bytes(4)) == (None, b"")
    passed, dropped = verdict(5, b"\0\0\0\7", b"abc"), verdict(5, b"\0\0\0\7", None)
    assert len(passed) == struct.unpack_from("=I", passed)[0] == 40
    assert passed[-8:] == struct.pack("=HH", 7, 10) + b"abc\0"
    assert dropped[20:] == struct.pack("=HH", 12, 2) + b"\0\0\0\0\0\0\0\7"


RULES = """*filter
:FORWARD ACCEPT [0:0]
-A FORWARD -p tcp -m tcp --dport 7001 -j REJECT --reject-with tcp-reset
-A FORWARD -p udp -m udp --dport 7002 -j REJECT
-A FORWARD -p tcp -m tcp --dport 7003 -j REJECT --reject-with {prohibited}
COMMIT
"""

PROVE = r"""
mkdir -p /run/netns; mount -t tmpfs none /run/netns  # names of its own
ip netns add near; ip netns add far
for side in near far; do
    n=1; [ $side = far ] && n=2
    ip link add $side type veth peer name eth0 netns $side
    ip addr add 10.$n.0.1/24 dev $side; ip addr add fd0$n::1/64 dev $side nodad; ip link set $side up
    ip -n $side addr add 10.$n.0.2/24 dev eth0; ip -n $side addr add fd0$n::2/64 dev eth0 nodad
    ip -n $side link set eth0 up; ip -n $side route add default via 10.$n.0.1
    ip -n $side -6 route add default via fd0$n::1
done
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.rp_filter=1
for _ in $(seq 100); do ip netns exec near ping -c1 -W1 fd02::2 >/dev/null 2>&1 && break; done
: >log
setpriv --bounding-set=-all,+net_admin --inh-caps=-all --no-new-privs \
    "$PYTHON" -m fastfw run --control "$FASTFW_CONTROL" --rules rules --rules6 rules6 2>>log & daemon=$!
for _ in $(seq 600); do grep -q event=started log && break; sleep 0.05; done
ip netns exec near tcpdump --immediate-mode -i eth0 -nn -U -w seen.pcap 2>dump & dump=$!
for _ in $(seq 100); do grep -q listening dump && break; sleep 0.05; done
ip netns exec near "$PYTHON" - <<'PY'
import socket
for host, family in (("10.2.0.2", socket.AF_INET), ("fd02::2", socket.AF_INET6)):
    for port in (7001, 7003):
        try: socket.create_connection((host, port), timeout=20)
        except OSError as error: print(port, type(error).__name__, error.strerror)
    udp = socket.socket(family, socket.SOCK_DGRAM); udp.connect((host, 7002)); udp.settimeout(20); udp.send(b"x")
    try: udp.recv(9)
    except OSError as error: print(7002, type(error).__name__)
PY
sleep 0.5; kill $dump; wait $dump
tcpdump -nnvv -r seen.pcap 2>/dev/null | grep -e unreachable -e 'Flags \[R' -e wrong
iptables-nft -t raw -F 2>/dev/null; ip netns exec near "$PYTHON" -c "
import socket
try: socket.create_connection(('10.2.0.2', 7001), timeout=1)
except OSError as error: print('rules gone', type(error).__name__)"
logged answer_failed; stop; iptables-nft-save | grep -c FASTFW; cat log
"""


@live_test
@pytest.mark.skipif(shutil.which("iptables-nft") is None, reason="iptables-nft works with CAP_NET_ADMIN alone")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv takes capabilities away")
@pytest.mark.skipif(shutil.which("tcpdump") is None, reason="tcpdump sees the answers")
def test_forwarded(tmp_path: Path) -> None:
    """A gateway with CAP_NET_ADMIN alone, reverse paths checked, resets connections in the server's name and sends
    errors in its own, checksums right; where the kernel's rules for that are gone the log says so."""
    (tmp_path / "rules6").write_text(RULES.format(prohibited="icmp6-adm-prohibited"))
    said = script(tmp_path, PROVE, RULES.format(prohibited="icmp-host-prohibited"))
    for prohibited in ("OSError No route to host", "PermissionError Permission denied"):
        assert (
            f"7001 ConnectionRefusedError Connection refused\n7003 {prohibited}\n7002 ConnectionRefusedError\n" in said
        )
    assert "10.2.0.2.7001 > 10.1.0.2." in said
    assert "10.1.0.1 > 10.1.0.2: ICMP 10.2.0.2 udp port 7002 unreachable" in said
    assert "fd01::1 > fd01::2: [icmp6 sum ok] ICMP6, destination unreachable, unreachable port" in said
    resets = [line for line in said.splitlines() if "Flags [R" in line]
    assert len(resets) == 2
    assert all("(correct)" in line for line in resets)
    assert "wrong" not in said
    assert "rules gone TimeoutError\n" in said
    assert "the kernel's rules for answers are gone" in said
    assert "stopped 0\n0\n" in said
