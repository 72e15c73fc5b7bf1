"""The daemon's life: what signals do to it."""

import subprocess
import sys
import time

import pytest

SCRIPT = """
import threading, time
from fastfw.gateway.config import Config
from fastfw.gateway.daemon import Daemon

threading.Thread(target=time.sleep, args=(60,), daemon=True).start()  # as NumPy's, older than the daemon

class Busy(Daemon):
    def start(self): print("started", flush=True)
    def stop(self): print("stopped", flush=True)
    def reload(self): print("reloaded", flush=True)
    def tick(self):
        print("busy", flush=True)
        time.sleep(1)

Busy(Config()).serve()
"""


@pytest.mark.parametrize("number", ["TERM", "INT"])
def test_a_signal_finds_it_busy(number: str) -> None:
    """A signal that another thread could take, while the main one is at work, still does what it should."""
    with subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["started\n", "busy\n"]
        subprocess.run(["kill", "-HUP", str(process.pid)], check=True)
        while process.stdout.readline() != "reloaded\n":
            assert process.poll() is None
            time.sleep(0.01)
        while process.stdout.readline() != "busy\n":
            assert process.poll() is None
        subprocess.run([f"kill -{number} {process.pid}"], shell=True, check=True)
        rest, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert rest.endswith("stopped\n")
