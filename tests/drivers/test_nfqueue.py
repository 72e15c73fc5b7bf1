"""What both queue drivers do on real traffic, in a network namespace of its own."""

from __future__ import annotations

import pytest

from drivers.queue_space import DRIVERS, in_namespace, live


@pytest.mark.parametrize("driver", DRIVERS)
class TestLive:
    """A queue on the loopback device, the engine's rules alone deciding."""

    pytestmark = live

    def test_rules_decide(self, driver: str) -> None:
        """What the rules accept arrives, what they drop does not, what they reject is handed to on_reject."""
        result = in_namespace(
            """
            rejected = []
            queue = Queue(engine, 3, on_reject=rejected.append)
            thread = threading.Thread(target=queue.run)
            thread.start()
            good, bad, refused = receiver(5000), receiver(5001), receiver(5002)
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            for port in (5000, 5001, 5002):
                sender.sendto(b"hello", ("127.0.0.1", port))
            got = [arrives(good), arrives(bad, 1), arrives(refused, 1)]
            queue.stop()
            thread.join()
            told = [[r.packet[-5:].decode(), engine.rule_name(r.family, r.rule), r.hook, r.in_interface, r.vouched]
                    for r in rejected]
            print(json.dumps({"got": [g and g.decode() for g in got], "rejected": told, **queue.statistics(),
                              "count": engine.conntrack_count}))
        """,
            driver,
        )
        assert result["got"] == ["hello", None, None]
        assert result["rejected"] == [["hello", "filter:INPUT:rule:3", 1, "lo", True]]
        assert (result["received"], result["accepted"], result["dropped"]) == (3, 1, 2)
        assert result["count"] == 1, "what is dropped leaves no entry"

    def test_bulk_tcp(self, driver: str) -> None:
        """Super-packets with checksums not yet written, cut at the copy range, pass as the stream they are."""
        result = in_namespace(
            """
            queue = Queue(engine, 3)
            thread = threading.Thread(target=queue.run)
            thread.start()
            server = socket.create_server(("127.0.0.1", 6000))
            client = socket.create_connection(("127.0.0.1", 6000), timeout=10)
            peer, _ = server.accept()
            total = 0
            def drain():
                global total
                while chunk := peer.recv(1 << 20):
                    total += len(chunk)
            reader = threading.Thread(target=drain)
            reader.start()
            for _ in range(50):
                client.sendall(bytes(1_000_000))
            client.close()
            reader.join()
            lines = [str(c) for c in engine.connections()]
            queue.stop()
            thread.join()
            print(json.dumps({"total": total, "lines": lines, "invalid": engine.counters["invalid"],
                              **queue.statistics()}))
        """,
            driver,
        )
        assert result["total"] == 50_000_000
        assert result["invalid"] == 0
        assert result["dropped"] == 0
        assert "[ASSURED]" in result["lines"][0]  # type: ignore[index]

    def test_event_loop(self, driver: str) -> None:
        """Without a thread: poll() judges what has come and says how much that was."""
        result = in_namespace(
            """
            import select
            with Queue(engine, 3) as queue:
                sender, sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), receiver(5000)
                idle = queue.poll()
                for _ in range(10):
                    sender.sendto(b"x", ("127.0.0.1", 5000))
                select.select([queue.fileno()], [], [], 2)
                print(json.dumps({"idle": idle, "judged": queue.poll(), "first": arrives(sink).decode()}))
        """,
            driver,
        )
        assert result == {"idle": 0, "judged": 10, "first": "x"}

    def test_fragments(self, driver: str) -> None:
        """The pieces of a datagram wait for the last one and then share its decision: all go on, or none does."""
        result = in_namespace(
            """
            # addresses a router forwards to, unlike loopback ones
            shell("ip link set lo mtu 1500; ip addr add 10.0.0.1/32 dev lo; ip addr add fd00::1/128 dev lo nodad")
            for tables in ("iptables-legacy", "ip6tables-legacy"):
                shell(f"{tables} -F; {tables} -t mangle -A PREROUTING -j NFQUEUE --queue-num 3")
            rules = fastfw.Ruleset.parse(FORWARD_RULES)
            got = {}
            with Queue(fastfw.Engine(rules4=rules, rules6=None), 3) as queue:
                thread = threading.Thread(target=queue.run)
                thread.start()
                for family, host in ((socket.AF_INET, "10.0.0.1"), (socket.AF_INET6, "fd00::1")):
                    for port in (5000, 5001):
                        receiver, sender = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
                        receiver.bind((host, port))
                        for size in (5000, 4000, 100):
                            sender.sendto(bytes(size), (host, port))
                        comes = 0 if family == socket.AF_INET and port == 5001 else 3
                        sizes = []
                        while (data := arrives(receiver, 20 if len(sizes) < comes else 1)) is not None:
                            sizes.append(len(data))
                        got[f"{host} {port}"] = sizes
                queue.stop()
                thread.join()
                print(json.dumps({**got, "held": queue.statistics()["held"]}))
        """,
            driver,
        )
        assert result == {
            "10.0.0.1 5000": [5000, 4000, 100],
            "10.0.0.1 5001": [],
            "fd00::1 5000": [5000, 4000, 100],
            "fd00::1 5001": [5000, 4000, 100],
            "held": 0,
        }

    def test_taken_queue(self, driver: str) -> None:
        """A queue that another program has is one clear error."""
        result = in_namespace(
            """
            first = Queue(engine, 3)
            try:
                Queue(engine, 3)
                said = ""
            except QueueError as error:
                said = str(error)
            first.close()
            Queue(engine, 3).close()
            print(json.dumps({"said": said}))
        """,
            driver,
        )
        assert "queue 3" in str(result["said"])

    def test_verdicts_in_runs(self, driver: str) -> None:
        """Of many packets in one batch each has its own verdict, whatever its neighbours have, and the order stays."""
        result = in_namespace(
            """
            import random
            with Queue(engine, 3) as queue:
                good, bad = receiver(5000), receiver(5001)
                good.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
                senders = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
                chance, sent = random.Random(5), []
                for i in range(600):
                    port = 5000 if chance.random() < 0.7 else 5001
                    senders[port == 5001].sendto(str(i).encode(), ("127.0.0.1", port))
                    if port == 5000:
                        sent.append(i)
                judged = queue.poll()
                got = [int(arrives(good)) for _ in sent]
                print(json.dumps({"judged": judged, "same": got == sent, "good": len(sent), "more": arrives(bad, 0.5),
                                  **queue.statistics()}))
        """,
            driver,
        )
        assert result["judged"] == 600
        assert result["same"], "what is accepted arrives in order"
        assert result["more"] is None
        assert (result["accepted"], result["dropped"]) == (result["good"], 600 - int(str(result["good"])))

    def test_marks(self, driver: str) -> None:
        """A mark that the rules set goes to the kernel with the verdict, and one that a packet brought stays."""
        result = in_namespace(
            """
            shell("iptables-legacy -F; iptables-legacy -t mangle -A INPUT -p udp -j NFQUEUE --queue-num 3")
            shell("iptables-legacy -t mangle -A OUTPUT -p udp --dport 5001 -j MARK --set-mark 9")
            for mark in (7, 9):
                shell(f"iptables-legacy -A INPUT -p udp -m mark --mark {mark}")
            marking = fastfw.Ruleset.parse("*mangle\\n:INPUT ACCEPT\\n-A INPUT -p udp --dport 5000 -j MARK --set-mark 7"
                                           "\\nCOMMIT\\n")
            with Queue(fastfw.Engine(rules4=marking), 3) as queue:
                sinks = receiver(5000), receiver(5001)
                sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                for _ in range(3):
                    for port in (5000, 5001, 5001):
                        sender.sendto(b"x", ("127.0.0.1", port))
                queue.poll()
            saved = ["iptables-legacy-save", "-c", "-t", "filter"]
            counted = subprocess.run(saved, capture_output=True, text=True).stdout
            print(json.dumps({"counts": [line.split(":")[0] for line in counted.splitlines() if line[0] == "["]}))
        """,
            driver,
        )
        assert result["counts"] == ["[3", "[6"]

    def test_frames(self, driver: str) -> None:
        """`-m mac` sees the address that a frame came from, `-m pkttype` for whom its packet was; a packet of the
        loopback device came from no address."""
        result = in_namespace(
            """
            shell("ip link add near address 02:00:00:00:00:01 type veth peer name far; ip link set near up")
            shell("ip link set far up; ip addr add 10.9.0.1/24 dev near; ip link set far arp off")
            rules = ("*filter\\n:INPUT DROP\\n-A INPUT -m mac --mac-source 02:00:00:00:00:07 -j ACCEPT\\n"
                     "-A INPUT -m mac ! --mac-source 02:00:00:00:00:08\\n-A INPUT -m pkttype --pkt-type broadcast\\n"
                     "-A INPUT -m pkttype --pkt-type multicast\\nCOMMIT\\n")
            def datagram(last, to):
                head = bytearray.fromhex("4500001d00000000401100000a090002") + to
                total = sum(int.from_bytes(head[i:i + 2], "big") for i in range(0, 20, 2))
                head[10:12] = (~(total + (total >> 16)) & 0xffff).to_bytes(2, "big")
                return bytes(head) + bytes.fromhex("1000138800090000") + bytes([last])
            wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            wire.bind(("far", 0))
            engine = fastfw.Engine(rules4=fastfw.Ruleset.parse(rules))
            with Queue(engine, 3) as queue:
                sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                sink.bind(("10.9.0.1", 5000))
                here = bytes([10, 9, 0, 1])
                for last, to, target in ((8, here, "020000000001"), (6, here, "020000000001"),
                                         (6, b"\\xff" * 4, "ffffffffffff"), (6, b"\\xe0\\0\\0\\1", "01005e000001"),
                                         (7, here, "020000000001")):
                    source = bytes([2, 0, 0, 0, 0, last])
                    wire.send(bytes.fromhex(target) + source + b"\\x08\\x00" + datagram(last, to))
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 5000))
                judged = 0
                while judged < 6 and select.select([queue.fileno()], [], [], 20)[0]:
                    judged += queue.poll()
                text = engine.counters_text()
                counts = [line.split(":")[0] for line in text.splitlines() if line[0] == "["]
                print(json.dumps({"got": list(arrives(sink)), "counts": counts, "judged": judged}))
        """,
            driver,
        )
        assert result["judged"] == 6
        assert result["got"] == [7]
        assert result["counts"] == ["[1", "[3", "[1", "[1"]

    def test_several_queues(self, driver: str) -> None:
        """Several queues, a thread each, share one engine and its table; each stops at once while packets come."""
        result = in_namespace(
            """
            shell("iptables-legacy -F; iptables-legacy -A INPUT -p udp -j NFQUEUE --queue-balance 3:4")
            queues = [Queue(engine, number) for number in (3, 4)]
            threads = [threading.Thread(target=queue.run) for queue in queues]
            for thread in threads:
                thread.start()
            sink = receiver(5000)
            senders = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(64)]
            for place, sender in enumerate(senders):
                sender.bind((f"127.0.1.{place}", 0))     # queues are balanced by address
                sender.sendto(b"x", ("127.0.0.1", 5000))
            got = sum(arrives(sink) == b"x" for _ in senders)
            flooding = True
            def flood():
                while flooding:
                    senders[0].sendto(b"x", ("127.0.0.1", 5000))
            flooder = threading.Thread(target=flood)
            flooder.start()
            began = time.monotonic()
            for queue in queues:
                queue.close()
            for thread in threads:
                thread.join()
            took = time.monotonic() - began
            flooding = False
            flooder.join()
            print(json.dumps({"got": got, "each": [queue.received for queue in queues], "took": took,
                              "count": engine.conntrack_count}))
        """,
            driver,
        )
        assert result["got"] == 64
        assert all(result["each"])  # type: ignore[call-overload]
        assert result["count"] == 64
        assert float(str(result["took"])) < 10

    def test_stopped_at_any_moment(self, driver: str) -> None:
        """A thread that stops a queue may be held up anywhere in it, and a second stop may come while the first is
        obeyed: `run` ends each time without an error, and runs again afterwards."""
        result = in_namespace(
            """
            write, read = os.eventfd_write, os.eventfd_read
            def late_write(*wakeup):
                time.sleep(1.5)     # longer than `run` sleeps unasked
                write(*wakeup)
            def stopped_again(wakeup):
                os.eventfd_read = read
                queue.stop()
                return read(wakeup)
            errors = []
            threading.excepthook = lambda what: errors.append(repr(what.exc_value))
            def runs():
                thread = threading.Thread(target=queue.run)
                thread.start()
                return thread
            ended = []
            with Queue(engine, 3) as queue:
                for patch in ("eventfd_write", late_write), ("eventfd_read", stopped_again):
                    thread = runs()
                    setattr(os, *patch)
                    queue.stop()
                    thread.join(20)
                    os.eventfd_write = write
                    ended.append(not thread.is_alive())
                # the second stop is owed still: it ends the next run, and no other
                runs().join(20)
                thread = runs()
                sink = receiver(5000)
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 5000))
                got = arrives(sink) == b"x"
                queue.close()
                thread.join(20)
            print(json.dumps({"errors": errors, "ended": ended, "got": got}))
        """,
            driver,
        )
        assert result == {"errors": [], "ended": [True, True], "got": True}

    def test_full_queue(self, driver: str) -> None:
        """What finds the queue full is dropped and counted."""
        result = in_namespace(
            """
            with Queue(engine, 3, length=10) as queue:
                sink, sender = receiver(5000), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                for _ in range(30):
                    sender.sendto(b"x", ("127.0.0.1", 5000))
                judged = queue.poll()
                print(json.dumps({"judged": judged, **queue.statistics()}))
        """,
            driver,
        )
        assert (result["judged"], result["queue_dropped"]) == (10, 20)

    def test_many_fragments(self, driver: str) -> None:
        """Pieces of datagrams that never become whole fill no more than half the queue; the oldest go first."""
        result = in_namespace(
            """
            shell("ip link set lo mtu 1500; ip addr add 10.0.0.1/32 dev lo")
            shell("iptables-legacy -F; iptables-legacy -t mangle -A PREROUTING -f -j DROP")
            shell("iptables-legacy -t raw -A PREROUTING ! -f -j NFQUEUE --queue-num 3")
            with Queue(fastfw.Engine(), 3, length=40) as queue:
                sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                for _ in range(30):
                    sender.sendto(bytes(2000), ("10.0.0.1", 5000))
                queue.poll()
                print(json.dumps(queue.statistics()))
        """,
            driver,
        )
        assert (result["received"], result["held"], result["dropped"]) == (30, 20, 10)
