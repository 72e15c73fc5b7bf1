"""Capture against input that nobody meant, and against tcpdump."""

import random
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers import capfiles as cf
from fastfw.drivers.capture import LINK_REASONS, Capture, CaptureError

SEEDS = [
    cf.pcap([cf.record(cf.ethernet(cf.IPV4, tags=(0x8100,))), cf.record(cf.snap(cf.IPV6))], linktype=1),
    cf.pcap([cf.record(cf.cooked2(cf.IPV4)), cf.record(cf.cooked2(cf.IPV6), wire=2000)], linktype=276, order=">"),
    cf.pcapng([cf.record(cf.IPV4), cf.record(cf.IPV6)]) + cf.pcapng([cf.record(cf.IPV4)], order=">"),
    cf.section()
    + cf.interface(1, tsresol=137, tsoffset=5, name="e")
    + cf.enhanced(cf.pppoe(cf.IPV4), 1 << 60)
    + cf.simple(cf.ethernet(cf.IPV6))
    + cf.obsolete(cf.ethernet(cf.IPV4), 7)
    + cf.block(5, bytes(12)),
]


def check(data: bytes) -> Capture | None:
    """Either one line of error, or arrays in which every packet lies within the file and every row is consistent."""
    try:
        cap = Capture.from_bytes(data)
    except CaptureError as caught:
        error = str(caught)
        cap = None
    if cap is None:
        assert error
        assert "\n" not in error
        return None
    end = cap.offset + cap.length
    assert (end <= len(data)).all()
    assert (end >= cap.offset).all()
    assert ((cap.length == 0) == (cap.link_reason != 0)).all()
    assert (cap.link_reason < len(LINK_REASONS)).all()
    assert (cap.wire_length >= cap.length).all()
    assert len(cap) * 12 <= len(data)
    if len(cap):
        assert cap.interface.max() < max(len(cap.interfaces), 1)
    assert all("\n" not in warning for warning in cap.warnings)
    assert len(cap.warnings) <= 5
    return cap


@given(st.binary(max_size=400), st.sampled_from([b"", *(seed[:24] for seed in SEEDS), *(seed[:48] for seed in SEEDS)]))
@settings(max_examples=600, deadline=None)
def test_random_bytes(tail: bytes, head: bytes) -> None:
    """Random bytes, bare or behind a valid file header, are an error or consistent arrays."""
    check(head + tail)


@given(
    st.sampled_from(SEEDS),
    st.lists(
        st.tuples(
            st.integers(0, 2000),
            st.sampled_from([b"\0", b"\xff", b"\x7f", b"\xff\xff\xff\xff", b"\0\0\0\0"])
            | st.binary(min_size=1, max_size=4).map(bytes),
        ),
        min_size=1,
        max_size=6,
    ),
    st.integers(0, 400),
)
@settings(max_examples=1500, deadline=None)
def test_mutated_files(data: bytes, edits: list[tuple[int, object]], cut: int) -> None:
    """Valid files with bytes overwritten and the end cut off are an error or consistent arrays."""
    changed = bytearray(data)
    for edit in edits:
        at, value = edit[0], edit[1]
        assert isinstance(value, bytes)
        at %= len(changed)
        changed[at : at + len(value)] = value
    check(bytes(changed[: len(changed) - cut % len(changed)]))


def test_every_single_byte_changed(patience: int) -> None:
    """Each byte of each seed file, set to each of a few extreme values, is an error or consistent arrays; under a
    sanitizer, each tenth byte from one of the first ten on.
    """
    for number, seed in enumerate(SEEDS):
        for at in range(number % patience, len(seed), patience):
            for value in (0, 1, 0x7F, 0x80, 0xFF, seed[at] ^ 4):
                changed = bytearray(seed)
                changed[at] = value
                check(bytes(changed))


LINKS = {1: cf.ethernet, 101: bytes, 113: cf.cooked, 276: cf.cooked2, 228: None, 0: None}


@pytest.mark.skipif(shutil.which("tcpdump") is None, reason="tcpdump is not installed")
@pytest.mark.parametrize("seed", range(8))
def test_agrees_with_tcpdump(tmp_path: Path, seed: int) -> None:
    """tcpdump prints as many records as we index, with the same times, for generated files of every flavour."""
    rng = random.Random(seed)
    print("seed", seed)
    path = tmp_path / "t.cap"
    for order in "<>":
        for flavour in ("us", "ns", "ng"):
            linktype = rng.choice([1, 101, 113, 276])
            frame = LINKS[linktype]
            assert frame is not None
            records = []
            for _ in range(rng.randrange(1, 60)):
                data = frame(rng.choice([cf.IPV4, cf.IPV6]) + rng.randbytes(rng.randrange(100)))
                kept = data[: rng.randrange(1, len(data) + 1)]
                records.append((rng.randrange(1, 2**31 * 10**9), kept, len(data)))
            if flavour == "ng":
                content = cf.pcapng(records, order=order, linktype=linktype)
            else:
                content = cf.pcap(records, order=order, linktype=linktype, nano=flavour == "ns")
            content = content[: len(content) - rng.choice([0, 0, 1, 7])]
            path.write_bytes(content)
            done = subprocess.run(
                ["tcpdump", "--time-stamp-precision=nano", "-tt", "-nqr", str(path)],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=60,
            )
            times = [int(Decimal(line.split()[0]) * 10**9) for line in done.stdout.splitlines() if line[:1].isdigit()]
            assert Capture(path).time_ns.tolist() == times, (order, flavour, linktype)
