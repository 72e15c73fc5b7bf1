"""Random rulesets in the engine and in the real iptables: every packet's verdict and every rule's counters agree."""

from __future__ import annotations

import os
from random import Random

import pytest
from tests.kernel.counted import ACCOUNTING, Make, differences
from tests.kernel.oracle import missing
from tests.traffic.everything import everything
from tests.traffic.rulesets import ruleset, tables

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

STANDARD = "6.18."


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
    agree(seed, 2_000, counting, ACCOUNTING)


@pytest.mark.parametrize("seed", range(3300, 3306))
def test_all_tables_matches_and_targets_work_as_the_kernels(seed: int) -> None:
    """Whatever matches and targets the four tables hold, every rule counts what the kernel's own rule counts;
    ``python -m tests.kernel.counted`` goes on with more."""
    agree(seed, 3_000, everything, ACCOUNTING)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
def test_rules_count_what_the_kernel_counts_over_many_packets(seed: int) -> None:
    """Random rulesets, ten thousand packets each, differ nowhere."""
    agree(seed, 10_000)
