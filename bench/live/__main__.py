"""Measure and print: `python -m bench.live [--rounds N] [--seconds S]`; measure.py says what."""

from __future__ import annotations

import argparse
import sys

from bench.live.measure import missing, results, stand

parser = argparse.ArgumentParser(prog="python -m bench.live", description="The gateway on live packets, and others.")
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--seconds", type=float, default=0.3, help="that frames are sent for at one rate")
args = parser.parse_args()
if reason := missing():
    sys.exit(reason)
with stand() as bench:
    for _ in range(args.rounds):
        bench.round(args.seconds)
for form in bench.forms:
    each = ", ".join(f"{rate / 1e3:.0f}" for rate in form.rates)
    lost = ", ".join(f"{count} {where}" for where, count in form.lost.items() if count) or "nothing"
    print(f"{form.name}: {each}; {', '.join(f'{rate:.1f}' for rate in form.bulk)}; lost at higher rates: {lost}")
for result in results(bench.forms):
    goal = "" if result.goal is None else f" (goal {result.goal})"
    print(f"{result.name}: {result.value:.3g} {result.unit}{goal}")
