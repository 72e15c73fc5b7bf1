"""What the driver that speaks netlink itself can do and others cannot, and how it fails."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from drivers.queue_space import in_namespace, live
from fastfw import Engine
from fastfw.drivers.nfqueue import Queue


class TestLive:
    """A queue on the loopback device."""

    pytestmark = live

    def test_payload(self) -> None:
        """Whole packets are asked for while a rule reads payload: what was queued cut before comes once more, and when
        no rule does any longer packets are cut again."""
        result = in_namespace("""
            rule = "-A INPUT -p udp -m string --string secret --algo bm -j DROP"
            reading = RULES.replace("-A INPUT", rule + "\\n-A INPUT", 1)
            with Queue(engine, 3) as queue:
                sink, sender = receiver(5000), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                copied = [queue.copying]
                for text in (b"secret", b"public"):
                    sender.sendto(bytes(1000) + text, ("127.0.0.1", 5000))
                engine.replace(rules4=fastfw.Ruleset.parse(reading))
                judged = [queue.poll()]
                copied.append(queue.copying)
                sender.sendto(bytes(2000) + b"secret", ("127.0.0.1", 5000))
                judged.append(queue.poll())
                got = [arrives(sink)[-6:].decode(), arrives(sink, 0.5)]
                engine.replace(rules4=None)
                time.sleep(1.1)
                queue.poll()
                copied.append(queue.copying)
                print(json.dumps({"copied": copied, "judged": judged, "got": got, **queue.statistics()}))
        """)
        assert result["copied"] == [128, 65531, 128]
        assert result["repeated"] == 2
        assert (result["accepted"], result["dropped"]) == (1, 2)
        assert result["got"] == ["public", None]

    def test_rules_that_found_no_memory_ask_for_no_payload(self) -> None:
        """Where rules that read payload cannot be put in force, packets are cut as the rules before them asked."""
        result = in_namespace("""
            import fastfw.ruleset.compile as compiler

            class Short(compiler.Rules):
                "Knows names until it waits for the lock, and finds no memory for them then."
                asked = 0
                def bind_interface(self, number, name):
                    self.asked += 1
                    if self.asked > 2 * known:  # when made, before the lock, behind it
                        raise MemoryError

            known, compiler.Rules = len(engine._interface_names()), Short
            reading = RULES.replace("-A INPUT", "-A INPUT -m string --string secret --algo bm -j DROP\\n-A INPUT", 1)
            failed = False
            try:
                engine.replace(rules4=fastfw.Ruleset.parse(reading))
            except MemoryError:
                failed = True
            with Queue(engine, 3) as queue:
                print(json.dumps({"failed": failed, "copied": queue.copying}))
        """)
        assert result == {"failed": True, "copied": 128}

    def test_fail_open(self) -> None:
        """A queue that fails open lets pass what finds it full."""
        result = in_namespace("""
            with Queue(engine, 3, length=10, fail_open=True) as queue:
                sink, sender = receiver(5000), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                for i in range(30):
                    sender.sendto(b"x", ("127.0.0.1", 5000))
                open_got = sum(arrives(sink) == b"x" for _ in range(20))
                print(json.dumps({"judged": queue.poll(), "open": open_got, **queue.statistics()}))
        """)
        assert (result["judged"], result["open"], result["queue_dropped"]) == (10, 20, 0)

    def test_full_socket(self) -> None:
        """What finds the socket full is lost, counted, and told of in the log."""
        result = in_namespace("""
            import logging
            lines = []
            class Keep(logging.Handler):
                def emit(self, record):
                    lines.append(record.getMessage())
            logging.getLogger("fastfw.drivers").addHandler(Keep())
            with Queue(engine, 3, receive_buffer=20000) as queue:
                sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                for _ in range(500):
                    sender.sendto(b"x", ("127.0.0.1", 5000))
                judged = queue.poll()
                print(json.dumps({"judged": judged, "lines": lines, **queue.statistics()}))
        """)
        lost = int(str(result["user_dropped"]))
        assert lost > 0
        assert int(str(result["judged"])) + lost == 500
        assert result["lines"] == [f"queue 3: lost packets ({lost}: the socket was full)"]

    def test_interface_goes(self) -> None:
        """Packets whose interface is gone are the kernel's to drop: the verdicts it refuses are counted, and the queue
        goes on."""
        result = in_namespace("""
            shell("ip link add gone type veth peer name other; ip link set other up")
            shell("ip addr add 10.9.0.1/24 dev gone; ip link set gone up")
            shell("iptables-legacy -F; iptables-legacy -A OUTPUT -p udp -j NFQUEUE --queue-num 3")
            shell("ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:01 dev gone")
            with Queue(engine, 3) as queue:
                sink, sender = receiver(5000), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                sender.sendto(b"x", ("10.9.0.2", 5000))
                shell("ip link del gone")
                judged = [queue.poll()]
                sender.sendto(b"y", ("127.0.0.1", 5000))
                judged.append(queue.poll())
                queue.poll()
                print(json.dumps({"judged": judged, "got": arrives(sink).decode(), **queue.statistics()}))
        """)
        assert result["received"] == 2
        assert result["refused_verdicts"] == 1
        assert result["got"] == "y"

    def test_dead_socket(self) -> None:
        """A socket that fails ends `run` with a QueueError that names the queue."""
        result = in_namespace("""
            said = []
            queue = Queue(engine, 3)
            def serve():
                try:
                    queue.run()
                except QueueError as error:
                    said.append(str(error))
            os.dup2(os.open("/dev/zero", os.O_RDONLY), queue.fileno())
            thread = threading.Thread(target=serve)
            thread.start()
            thread.join(20)
            print(json.dumps({"said": said}))
        """)
        assert "queue 3" in str(result["said"])

    def test_close_from_a_call(self) -> None:
        """on_reject may close the queue it is called from, and no second thread can serve a queue that is served."""
        result = in_namespace("""
            seen = []
            def refuse(rejected):
                try:
                    threading.Thread(target=second).start()
                    turn.wait(20)
                finally:
                    queue.stop()
            def second():
                try:
                    queue.run()
                except RuntimeError as error:
                    seen.append(str(error))
                turn.set()
            turn = threading.Event()
            queue = Queue(engine, 3, on_reject=refuse)
            thread = threading.Thread(target=queue.run)
            thread.start()
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 5002))
            thread.join(30)
            queue.close()
            queue.close()
            print(json.dumps({"seen": seen, "alive": thread.is_alive(), "closed": queue.fileno()}))
        """)
        assert result == {"seen": ["queue 3: another thread serves it"], "alive": False, "closed": -1}


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [({"number": 70000}, "number"), ({"copy_range": 20}, "copy_range"), ({"length": 0}, "length")],
)
def test_bad_arguments(arguments: dict[str, int], wrong: str) -> None:
    """Arguments out of range are refused by name before anything is opened."""
    with pytest.raises(ValueError, match=wrong):
        Queue(Engine(settings={"nf_conntrack_max": 10}), **arguments)


def test_without_rights() -> None:
    """Without CAP_NET_ADMIN the error says so."""
    if os.geteuid() == 0:
        code = (
            "import os, fastfw; from fastfw.drivers.nfqueue import Queue; os.setgid(65534); os.setuid(65534)\n"
            "try: Queue(fastfw.Engine(settings={'nf_conntrack_max': 10}), 9)\n"
            "except PermissionError as error: print(error)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "CAP_NET_ADMIN" in done.stdout + done.stderr
    else:
        with pytest.raises(PermissionError, match="CAP_NET_ADMIN"):
            Queue(Engine(settings={"nf_conntrack_max": 10}), 9)
