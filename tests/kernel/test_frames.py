"""What frames say of their packets: the kernel, asked through a veth pair, and captures of the same frames agree."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
import textwrap

import pytest
from tests.kernel.oracle import missing
from tests.traffic.packets import address, udp_packet

import fastfw
from drivers import capfiles as cf

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]

NEAR, FAR, OTHER = (bytes([2, 0, 0, 0, 0, last]) for last in (1, 2, 3))
TARGETS = (NEAR, b"\xff" * 6, bytes([1, 0, 0x5E, 0, 0, 9]), OTHER)
OF_FAR = address("fd00::")[:8] + bytes([0, 0, 0, 0xFF, 0xFE, 0, 0, 2])

ASKING = """\
*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -i near -m mac --mac-source 02:00:00:00:00:02
-A PREROUTING -i near -m mac ! --mac-source 02:00:00:00:00:02
-A PREROUTING -i near -m pkttype --pkt-type unicast
-A PREROUTING -i near -m pkttype --pkt-type broadcast
-A PREROUTING -i near -m pkttype ! --pkt-type multicast
EUI64COMMIT
"""
RULES = {4: ASKING.replace("EUI64", ""), 6: ASKING.replace("EUI64", "-A PREROUTING -i near -m eui64\n")}

PROGRAM = """
import json, socket, subprocess, sys
asked = json.load(sys.stdin)
def shell(command, text=None):
    return subprocess.run(command, shell=True, check=True, input=text, capture_output=True, text=True).stdout
shell("ip link add near address 02:00:00:00:00:01 type veth peer name far address 02:00:00:00:00:09")
for command in ("addr add 10.9.0.1/24 dev near", "addr add fd00::1/64 dev near nodad", "link set far arp off"):
    shell("ip " + command)
for name in ("near", "far"):
    open(f"/proc/sys/net/ipv6/conf/{name}/addr_gen_mode", "w").write("1")
    open(f"/proc/sys/net/ipv6/conf/{name}/accept_ra", "w").write("0")
    shell(f"ip link set {name} up")
shell("iptables-legacy-restore -c", asked["4"])
shell("ip6tables-legacy-restore -c", asked["6"])
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind(("far", 0))
hear = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
hear.bind(("near", 3))
hear.settimeout(20)
heard = []
for frame in map(bytes.fromhex, asked["frames"]):
    wire.send(frame)
    while True:
        data, (_, protocol, kind, hardware, sender) = hear.recvfrom(2048)
        if data == frame[14:]:      # not what the kernel says for itself
            break
    heard.append([protocol, kind, hardware, sender.hex(), data.hex()])
print(json.dumps({"heard": heard, "4": shell("iptables-legacy-save -c"), "6": shell("ip6tables-legacy-save -c")}))
"""


def counts(text: str) -> list[str]:
    return re.findall(r"^\[(\d+:\d+)\] -A PREROUTING", text, re.M)


@pytest.fixture(scope="module")
def frames() -> list[bytes]:
    """Both families from two senders to each kind of destination; one's IPv6 source is made of its hardware address."""
    ends = [(address("10.9.0.2"), address("10.9.0.1")), (address("fd00::2"), address("fd00::1")),
            (OF_FAR, address("fd00::1"))]  # fmt: skip
    return [
        target + sender + struct.pack(">H", 0x0800 if len(source) == 4 else 0x86DD) + udp_packet(source, here, 9, 9)
        for sender in (FAR, OTHER, FAR)
        for target in TARGETS
        for source, here in ends
    ]


@pytest.fixture(scope="module")
def asked(frames: list[bytes]) -> dict[str, str]:
    """The kernel's counters, and what a packet socket heard."""
    question = {"frames": [frame.hex() for frame in frames], "4": RULES[4], "6": RULES[6]}
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", textwrap.dedent(PROGRAM)],
        input=json.dumps(question), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


def cooked(heard: list[object], second: bool) -> bytes:
    """A record as a capture on all interfaces has it."""
    protocol, kind, hardware, sender, data = heard
    source = bytes.fromhex(str(sender)).ljust(8, b"\0")
    if second:
        return struct.pack(">HHIHBB", protocol, 0, 2, hardware, kind, 6) + source + bytes.fromhex(str(data))
    return struct.pack(">HHH", kind, hardware, 6) + source + struct.pack(">H", protocol) + bytes.fromhex(str(data))


@pytest.mark.parametrize("form", ["ethernet", "cooked", "cooked2"])
def test_frames_are_asked_as_the_kernel_does(
    form: str, frames: list[bytes], asked: dict[str, list[list[object]]]
) -> None:
    """mac, pkttype and eui64 count in the engine, which has a capture of the frames, what they count in the kernel."""
    linktype = {"ethernet": 1, "cooked": 113, "cooked2": 276}[form]
    if form == "ethernet":
        # what is for somebody else the host's IP never sees, and the capture does not tell it apart
        records = [frame for frame in frames if frame[:6] != OTHER]
    else:
        records = [cooked(one, form == "cooked2") for one in asked["heard"] if one[1] != 3]
    capture = fastfw.Capture.from_bytes(cf.pcap([cf.record(one) for one in records], linktype=linktype))
    engine = fastfw.Engine(rules4=fastfw.Ruleset.parse(RULES[4]), rules6=fastfw.Ruleset.parse(RULES[6], family=6))
    whole = slice(None)
    engine.process(
        capture.data,
        capture.offset,
        capture.length,
        capture.time_ns,
        hook="INPUT",
        iif="near",
        link=capture.links(whole),
    )
    assert capture.framed
    for family in (4, 6):
        theirs = counts(str(asked[str(family)]))
        assert len(theirs) == (5 if family == 4 else 6)
        assert counts(engine.counters_text(family, "raw")) == theirs
        assert len(set(theirs)) > 1, "the rules tell frames apart"
