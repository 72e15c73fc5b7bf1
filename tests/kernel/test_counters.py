"""Random rulesets in the engine and in the real iptables: every packet's verdict and every rule's counters agree."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from random import Random

import numpy as np
import pytest
from tests.kernel.oracle import IN_DEVICE, OUT_DEVICE, Oracle, missing, pack
from tests.traffic.generate import generate
from tests.traffic.rulesets import ruleset, tables

import fastfw
from fastfw.core.terms import Verdict

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

STANDARD = "6.18."
NOT_OURS = ("OUTPUT", "POSTROUTING")
"""Chains that count packets the kernel itself sends."""


CLOCK_SETTLED = 960
"""Seconds after boot. The kernel takes what is left to a connection that is not confirmed for an end on its tick count,
which begins 300 s before it wraps to 0: until the longest timeout of a first packet, 600 s, has gone by after that,
--ctexpire says of such a connection what depends on when the machine was started. From then on it says 0."""

Make = Callable[[int, int], str]


def settled(text: str) -> str:
    """The rules, those that ask for the time left restricted to confirmed connections while the machine is young."""
    if time.clock_gettime(time.CLOCK_BOOTTIME) > CLOCK_SETTLED:
        return text
    asks = "-m conntrack --ctstatus CONFIRMED "
    return "\n".join(
        line.replace("-m conntrack ", asks + "-m conntrack ", 1) if "--ctexpire" in line else line
        for line in text.split("\n")
    )


def differences(seed: int, count: int, rules: Make = ruleset, settings: dict[str, int] | None = None) -> list[str]:
    """The rules whose counters, and the packets whose verdicts, differ between the kernel and the engine.

    Where the kernel's clock moved on while it judged a packet, what either end of that time makes of it is right.
    """
    texts = {family: settled(rules(seed, family)) for family in (4, 6)}
    packets = generate(seed, count)
    with Oracle(dict(settings or {}), texts[4], texts[6]) as oracle:
        print(f"kernel {oracle.kernel}, seed {seed}, {count} packets")
        answers = oracle.ask(packets)
        counted = {family: fastfw.Ruleset.parse(oracle.counters(family), family) for family in (4, 6)}
    found: list[str] = []
    for times in (answers["time_ns"], answers["late_ns"]):
        engine = fastfw.Engine(
            rules4=fastfw.Ruleset.parse(texts[4], 4), rules6=fastfw.Ruleset.parse(texts[6], 6), settings=settings
        )
        out = engine.process(*pack(packets), times, iif=IN_DEVICE, oif=OUT_DEVICE)
        told = counted_otherwise(engine, counted)
        told += [
            f"packet {index}: kernel {bool(answers['answered'][index])}, ours {out['verdict'][index]}"
            for index in np.flatnonzero((out["verdict"] == Verdict.VERDICT_ACCEPT) != answers["answered"])
        ]
        found = [text for text in told if text in found] if found else told
        if not found:
            break
    return found


def counted_otherwise(engine: fastfw.Engine, counted: dict[int, fastfw.Ruleset]) -> list[str]:
    """The rules and policies for which the engine's counters are not the kernel's."""
    found = []
    for family, kernel in counted.items():
        ours = engine.ruleset(family)
        assert ours is not None
        for name, table in ours.tables.items():
            for chain in table.chains.values():
                theirs = kernel.tables[name].chains[chain.name]
                if chain.policy is not None and chain.name not in NOT_OURS:
                    said, counts = (theirs.packets, theirs.bytes), (chain.packets, chain.bytes)
                    if said != counts:
                        found.append(f"{name} {chain.name} policy: kernel {said}, ours {counts}")
                for number, (rule, their) in enumerate(zip(chain.rules, theirs.rules, strict=False), 1):
                    said, counts = (their.packets, their.bytes), (rule.packets, rule.bytes)
                    if said != counts:
                        found.append(
                            f"IPv{family} {name} {chain.name} {number}{rule.save(family)}: {said}, ours {counts}"
                        )
    return found


def agree(seed: int, count: int, rules: Make = ruleset, settings: dict[str, int] | None = None) -> None:
    """Fail with every difference; on another kernel than the standard report them."""
    found = differences(seed, count, rules, settings)
    if not found:
        return
    said = f"seed {seed}: {len(found)} differences\n" + "\n".join(found[:20])
    if os.uname().release.startswith(STANDARD):
        pytest.fail(said)
    pytest.xfail(f"this is not Linux {STANDARD}x: {said}")


@pytest.mark.parametrize("seed", range(3000, 3006))
def test_rules_count_what_the_kernel_counts(seed: int) -> None:
    """Each rule of a random ruleset counts the packets and bytes the kernel's own rule counts."""
    agree(seed, 3_000)


@pytest.mark.parametrize("seed", range(3100, 3104))
def test_marks_and_zones_work_as_the_kernels(seed: int) -> None:
    """Rules of raw and mangle that exempt, zone and mark change what later rules count as they do in the kernel."""
    agree(seed, 3_000, tables)


COUNTING = (
    "-m dscp --dscp 0x08", "-m dscp ! --dscp 0x00", "-m tos --tos 0x10/0xff", "-m tos ! --tos 0x00/0x3f",
    "-m ecn --ecn-ip-ect 2", "-m ecn ! --ecn-ip-ect 0", "-p tcp -m ecn --ecn-tcp-cwr", "-p tcp -m ecn ! --ecn-tcp-ece",
    "-m statistic --mode nth --every 3 --packet 0", "-m statistic --mode nth --every 7 --packet 5",
    "-m statistic --mode nth ! --every 4 --packet 1", "-p udp -m statistic --mode nth --every 2 --packet 1",
    "-m quota --quota 5000", "-m quota ! --quota 20000", "-p tcp -m tcpmss --mss 1000:1460",
    "-p tcp -m tcpmss ! --mss 0:1400", '-m string --string "A" --algo bm',
    '-m string --hex-string "|00|" --algo kmp --from 40',
    '-m string ! --string "GET" --algo kmp --to 100', '-m string --string "http" --algo bm --icase',
    "-m connbytes --connbytes 3: --connbytes-dir both --connbytes-mode packets",
    "-m connbytes --connbytes 100:2000 --connbytes-dir original --connbytes-mode bytes",
    "-m connbytes ! --connbytes 2:5 --connbytes-dir reply --connbytes-mode packets",
    "-m connbytes --connbytes 60:200 --connbytes-dir both --connbytes-mode avgpkt",
    "-m recent --name a --set", "-m recent --name a --rcheck --hitcount 4", "-m recent --name b --update --hitcount 2",
    "-p udp -m recent --name b --set --rdest", "-m recent --name b ! --rcheck --rdest",
    "-p tcp --dport 22 -m recent --name c --set", "-m recent --name c --remove",
    "-m recent --name c --update --seconds 600",
    "-m physdev ! --physdev-is-bridged", "-m physdev --physdev-is-in", "-m time --timestart 00:00 --timestop 23:59:59",
    "-m time --datestart 2020-01-01 --datestop 2020-01-02",
)  # fmt: skip


def counting(seed: int, family: int) -> str:
    """Rules that only count, in random order, one for each way of asking; types of service change before them."""
    random = Random(seed)
    asked = list(COUNTING)
    random.shuffle(asked)
    mangle = [
        "-A PREROUTING -p udp -j DSCP --set-dscp 0x08",
        "-A PREROUTING -p tcp --dport 80 -j TOS --set-tos 0x10/0xff",
        f"-A FORWARD -p tcp -j {'TTL --ttl-dec 3' if family == 4 else 'HL --hl-dec 3'}",
    ]
    chain = [f"-A FORWARD {text}" for text in asked]
    chain.append(f"-A FORWARD -m {'ttl --ttl-eq 60' if family == 4 else 'hl --hl-eq 60'}")
    return "\n".join(["*mangle", *mangle, "COMMIT", "*filter", *chain, "COMMIT", ""])


@pytest.mark.parametrize("seed", range(3200, 3203))
def test_every_way_of_asking_counts_what_the_kernel_counts(seed: int) -> None:
    """Services, every n-th, quotas, options, texts, amounts, recent addresses, times: the kernel's counters."""
    with_accounting = {"nf_conntrack_acct": 1}
    agree(seed, 2_000, counting, with_accounting)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(200))
def test_rules_count_what_the_kernel_counts_over_many_rulesets(seed: int) -> None:
    """Two hundred random rulesets, ten thousand packets each, differ nowhere."""
    agree(seed, 10_000)
