"""Cython code outside the package can cimport it: the declarations that are shipped are enough."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import fastfw

OUTSIDE = '''
"""Counts the packets an engine accepts, without Python in the loop."""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memset

from fastfw.core.engine cimport BATCH, Core, pthread_mutex_lock, pthread_mutex_unlock
from fastfw.core.terms cimport HOOK_FORWARD, VERDICT_ACCEPT
from fastfw.core.wire cimport Packet


def accepted(Core engine, const uint8_t[::1] packet, uint32_t times, long long now):
    """How many of `times` copies of one packet are accepted, at most BATCH of them."""
    cdef Packet batch[BATCH]
    cdef uint32_t i, count = 0
    memset(batch, 0, sizeof(batch))
    for i in range(times):
        batch[i].data = &packet[0]
        batch[i].have = batch[i].length = <uint32_t> packet.shape[0]
        batch[i].hook = HOOK_FORWARD
        batch[i].now = now
    with nogil:
        pthread_mutex_lock(&engine.lock)
        engine.run(batch, times)
        pthread_mutex_unlock(&engine.lock)
    for i in range(times):
        count += batch[i].verdict == VERDICT_ACCEPT
    return count
'''

BUILD = """
import sys
from Cython.Build import cythonize
from setuptools import Extension, setup

package = sys.argv.pop(1)
setup(
    name="outside",
    ext_modules=cythonize(
        [Extension("outside", ["outside.pyx"], include_dirs=[package + "/fastfw/core"])],
        include_path=[package],
        compiler_directives={"language_level": 3},
    ),
)
"""

# IPv4 and UDP from 10.0.0.1:1000 to 10.0.0.2:53, no checksum in the UDP header.
PACKET = bytes.fromhex("4500001c00010000401166ce0a0000010a000002 03e8003500080000")


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The outside module, compiled as its owner would."""
    place = tmp_path_factory.mktemp("outside")
    (place / "outside.pyx").write_text(OUTSIDE, encoding="utf-8")
    (place / "setup.py").write_text(BUILD, encoding="utf-8")
    package = str(Path(fastfw.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "setup.py", package, "-q", "build_ext", "--inplace"],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = place.glob("outside.*.so")
    spec = importlib.util.spec_from_file_location("outside", built)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_outside_module_decides_packets(outside: ModuleType) -> None:
    """A batch handed to the engine from outside Cython is tracked as from Python."""
    engine = fastfw.Engine()
    assert outside.accepted(engine, PACKET, 64, 10**9) == 64
    assert engine.conntrack_count == 1
    (connection,) = engine.connections()
    assert (connection.source_port, connection.destination_port) == (1000, 53)
    again = engine.process(np.frombuffer(PACKET, np.uint8), [0], [len(PACKET)], [2 * 10**9])
    assert again["verdict"].tolist() == [1]
    assert engine.conntrack_count == 1
