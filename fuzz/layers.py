"""What is fuzzed in Python: bytes go in, and a result or the one documented error comes out."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from fuzz.packets import tcp, udp

import fastfw
from fastfw.helpers import known, parse_spec

SCRATCH = Path(tempfile.mkdtemp(prefix="fastfw-fuzz-"))


def ruleset(data: bytes) -> None:
    """Text that parses is written as text that parses, to the same text."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        rules = fastfw.Ruleset.parse(text)
    except fastfw.RulesetError as error:
        if error.line < 0 or not error.reason:
            raise AssertionError("an error that does not say where and why") from error
        return
    saved = rules.save()
    assert fastfw.Ruleset.parse(saved).save() == saved


def capture(data: bytes) -> None:
    """Every record of a capture that can be opened lies inside the file."""
    path = SCRATCH / str(os.getpid())
    path.write_bytes(data)
    try:
        cap = fastfw.Capture(str(path))
    except fastfw.CaptureError:
        return
    ends = cap.offset + cap.length
    assert not len(ends) or int(ends.max()) <= cap.data.size
    fastfw.Engine(settings={"nf_conntrack_max": 64}).process(cap.data, cap.offset, cap.length, cap.time_ns)


def helper(data: bytes) -> None:
    """Payload never stops a helper: the first byte chooses it, the second the direction of the rest."""
    if len(data) < 2:
        return
    every = known()
    spec = parse_spec(every[data[0] % len(every)])
    engine = fastfw.Engine(settings={"nf_conntrack_checksum": 0})
    engine.attach(spec)
    for protocol, port in spec.ports:
        payload = data[2:1400]
        if protocol == 17:
            engine.decide(udp(1, 2, 4000, port, payload), now=1)
            engine.decide(udp(2, 1, port, 4000, payload), now=2)
            continue
        engine.decide(tcp(1, 2, 4000, port, 0x02, 99, 0), now=1)
        engine.decide(tcp(2, 1, port, 4000, 0x12, 499, 100), now=2)
        engine.decide(tcp(1, 2, 4000, port, 0x10, 100, 500), now=3)
        if data[1] & 1:
            engine.decide(tcp(2, 1, port, 4000, 0x18, 500, 100, payload), now=4)
        else:
            engine.decide(tcp(1, 2, 4000, port, 0x18, 100, 500, payload), now=4)
