"""``python -m tests.kernel.facts``: ask the running kernel every question and print docs/kernel-facts.md."""

from __future__ import annotations

import argparse
import os

from tests.kernel.facts import icmp, ip, state, tcp
from tests.kernel.oracle import missing

QUESTIONS = {question.__name__: question for module in (ip, tcp, icmp, state) for question in module.ALL}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.kernel.facts", description=__doc__)
    parser.add_argument("--only", action="append", choices=sorted(QUESTIONS), help="ask only this; may be repeated")
    options = parser.parse_args()
    reason = missing()
    if reason:
        raise SystemExit(reason)
    print("# What the kernel does\n")
    print(
        f"Observed on Linux {os.uname().release} by `python -m tests.kernel.facts`; "
        "settings have their defaults unless a row says otherwise.\n"
    )
    for name in options.only or QUESTIONS:
        print(QUESTIONS[name]().markdown())


if __name__ == "__main__":
    main()
