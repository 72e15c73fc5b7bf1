"""A stateful gateway: iptables rules, connection tracking and helpers on a kernel queue, with asyncio.

    iptables -t mangle -A FORWARD -j NFQUEUE --queue-num 0
    python gateway_daemon.py rules.v4 --helper ftp --state /var/lib/gateway.state

SIGHUP reads the rules anew, SIGTERM saves the table and ends; both lose no connection. SIGUSR1 prints the table and the
rules with their counters.
"""

import argparse
import asyncio
import contextlib
import importlib
import signal
from pathlib import Path

import fastfw


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rules", type=Path, help="iptables-save text")
    parser.add_argument("rules6", type=Path, nargs="?", help="ip6tables-save text")
    parser.add_argument("--queue", type=int, default=0)
    parser.add_argument("--driver", choices=["nfqueue", "netfilterqueue"], default="nfqueue")
    parser.add_argument("--helper", action="append", default=[])
    parser.add_argument("--state", type=Path, help="where the table is kept while the daemon is not running")
    options = parser.parse_args()

    def rules() -> dict[str, fastfw.Ruleset | None]:
        read6 = options.rules6 and fastfw.Ruleset.parse(options.rules6.read_text(), family=6)
        return {"rules4": fastfw.Ruleset.parse(options.rules.read_text()), "rules6": read6}

    def reload() -> None:
        try:
            engine.replace(**rules())
            print("reloaded", flush=True)
        except (OSError, fastfw.RulesetError) as error:  # the rules in force stay
            print(f"not reloaded: {error}", flush=True)

    def show() -> None:
        print(*engine.connections(), engine.counters_text(4), engine.counters_text(6), "--", sep="\n", flush=True)

    engine = fastfw.Engine(helpers=options.helper, settings={"nf_conntrack_tcp_loose": 0}, **rules())
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    if options.state and options.state.exists():
        engine.load_state(options.state, behind=True)  # connections went on since it was saved
    driver = importlib.import_module(f"fastfw.drivers.{options.driver}")
    with driver.Queue(engine, options.queue) as queue:
        loop.add_reader(queue.fileno(), queue.poll)
        loop.add_signal_handler(signal.SIGHUP, reload)
        loop.add_signal_handler(signal.SIGTERM, over.set)
        loop.add_signal_handler(signal.SIGUSR1, show)
        print("ready", flush=True)
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), timeout=1)
            queue.poll()  # once a second whether or not packets come: fragments that wait have an end
            engine.expire(queue.clock)
            if options.state:
                engine.save_state(options.state)
        loop.remove_reader(queue.fileno())


if __name__ == "__main__":
    asyncio.run(main())
