"""One engine may be shared by threads: its lock is held for a batch at a time."""

from __future__ import annotations

import threading
import time

import numpy as np

import fastfw

THREADS = 4
PACKETS = 20_000


def udp(source: int, port: int) -> bytes:
    """IPv4 and UDP from 10.0.0.SOURCE:PORT to 10.9.9.9:53, no UDP checksum; a right header checksum."""
    head = bytearray(bytes.fromhex("4500001c00010000401100000a0000000a090909"))
    head[15] = source
    words = np.frombuffer(bytes(head), ">u2").sum(dtype=np.uint64)
    folded = int(words % 0xFFFF)
    head[10:12] = (0xFFFF - folded).to_bytes(2, "big")
    return bytes(head) + port.to_bytes(2, "big") + bytes.fromhex("003500080000")


def test_one_packet_waits_for_a_batch() -> None:
    """A packet that comes while another thread has the engine is decided when that has done, and holds up no thread
    meanwhile."""
    engine = fastfw.Engine()
    begun, waiting = threading.Event(), threading.Event()
    told: list[str] = []

    def hold() -> None:
        begun.set()
        assert waiting.wait(60)
        time.sleep(0.2)
        told.append("done")

    def decide() -> None:
        begun.wait()
        waiting.set()
        told.append(engine.decide(udp(1, 1024), now=1).verdict)

    threads = [threading.Thread(target=engine._held, args=(hold,)), threading.Thread(target=decide)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == ["done", "ACCEPT"]


def test_threads_share_one_table() -> None:
    """Four threads that send the packets of their own connections, and one that lists, lose nothing."""
    engine = fastfw.Engine(settings={"nf_conntrack_max": 100_000})
    failures: list[BaseException] = []
    done = threading.Event()

    def send(source: int) -> None:
        try:
            data = b"".join(udp(source, 1024 + i % 5000) for i in range(PACKETS))
            offset = np.arange(PACKETS, dtype=np.uint64) * 28
            length = np.full(PACKETS, 28, np.uint32)
            out = engine.process(data, offset, length, np.zeros(PACKETS, np.int64))
            assert (out["verdict"] == 1).all()
        except BaseException as error:
            failures.append(error)

    def watch() -> None:
        try:
            while not done.is_set():
                assert len(list(engine.connections())) <= THREADS * 5000
                engine.settings["nf_conntrack_udp_timeout"] = 30
        except BaseException as error:
            failures.append(error)

    watcher = threading.Thread(target=watch)
    watcher.start()
    senders = [threading.Thread(target=send, args=(source,)) for source in range(1, THREADS + 1)]
    for thread in senders:
        thread.start()
    for thread in senders:
        thread.join()
    done.set()
    watcher.join()
    assert failures == []
    assert engine.conntrack_count == THREADS * 5000
    assert engine.counters["insert"] == THREADS * 5000
