"""Random rulesets over every table, and over every match and target that is evaluated.

``everything(seed, family)`` is a pure function of its arguments, as those of ``rulesets.py`` are. Rates are such that
they do not refill while a test runs.
"""

from __future__ import annotations

from random import Random

from . import questions, sets
from .rulesets import PARTS, STATELESS, Part, connection_mark, mark, matches, maybe_not, rule, some


def service(random: Random, _: int) -> str:
    return random.choice(
        (
            f"-m dscp {maybe_not(random)}--dscp {random.choice(('0x00', '0x08', '0x2e'))}",
            f"-m tos {maybe_not(random)}--tos {random.choice(('0x00/0x3f', '0x10/0xff', '0x20/0xff', '0x02/0x03'))}",
            f"-m ecn {maybe_not(random)}--ecn-ip-ect {random.randrange(4)}",
        )
    )


SIZES = ("0:535", "536", "537:1219", "1220", "1221:1460")


def options(random: Random, _: int) -> str:
    """What TCPMSS, TCPOPTSTRIP and ECN change."""
    return random.choice(
        (
            f"-p tcp -m tcpmss {maybe_not(random)}--mss {random.choice(SIZES)}",
            f"-p tcp -m tcp {maybe_not(random)}--tcp-option {random.choice((1, 2, 3, 4, 5, 8))}",
            f"-p tcp -m ecn {maybe_not(random)}--ecn-tcp-{random.choice(('ece', 'cwr'))}",
            f"-p tcp -m length {maybe_not(random)}--length {random.choice(('44', '64', '60', '40', '41:63'))}",
        )
    )


def counting(random: Random, _: int) -> str:
    """What answers differently from packet to packet."""
    return random.choice(
        (
            f"-m statistic --mode nth {maybe_not(random)}--every {random.choice((2, 3, 7))} --packet 0",
            f"-m quota {maybe_not(random)}--quota {random.choice((1000, 40_000, 300_000))}",
            f"-m limit --limit {random.choice(('1/day --limit-burst 3', '1/hour --limit-burst 40', '2/hour'))}",
            f"-m connbytes {maybe_not(random)}--connbytes {random.choice(('3:', '2:9', '100:2000', '0'))} "
            f"--connbytes-dir {random.choice(('original', 'reply', 'both'))} "
            f"--connbytes-mode {random.choice(('packets', 'bytes', 'avgpkt'))}",
            f"-m recent --name {random.choice('abc')} --set {random.choice(('--rsource', '--rdest'))}",
            f"-m recent --name {random.choice('abc')} {maybe_not(random)}--rcheck --hitcount {random.choice((1, 4))}",
            f"-m recent --name {random.choice('abc')} {maybe_not(random)}--update",
            f"-m recent --name {random.choice('abc')} {maybe_not(random)}--remove",
        )
    )


def text(random: Random, _: int) -> str:
    wanted = random.choice(('--string "GET"', '--hex-string "|00 00|"', '--string "http" --icase', '--string "220"'))
    start = random.choice(("", " --from 20", " --from 40 --to 120"))
    return f"-m string {maybe_not(random)}{wanted} --algo {random.choice(('bm', 'kmp'))}{start}"


ALWAYS: tuple[Part, ...] = (*PARTS, *PARTS, service, service, options, options, counting, counting, text, mark)
"""What can be asked of every packet wherever it meets a rule."""

TRACKED: tuple[Part, ...] = (*ALWAYS, connection_mark)
BEFORE: tuple[Part, ...] = (*STATELESS, service, options, text, mark)

MARKS = (
    "MARK --set-xmark 0x1/0x3",
    "MARK --set-xmark 0x0/0xffffffff",
    "MARK --or-mark 0x10",
    "CONNMARK --set-xmark 0x4/0xffffffff",
    "CONNMARK --set-xmark 0x8/0x8",
    "CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff",
    "CONNMARK --restore-mark --nfmask 0xff --ctmask 0xf",
)
PASSING = (
    'LOG --log-prefix "seen " --log-tcp-options',
    "NFLOG --nflog-group 7",
    "AUDIT --type drop",
    'IDLETIMER --timeout 600 --label "{label}"',
)
MANGLING4 = ("TTL --ttl-set 64", "TTL --ttl-inc 3", "TTL --ttl-dec 1", "ECN --ecn-ip-ect 1")
MANGLING6 = ("HL --hl-set 64", "HL --hl-inc 3", "HL --hl-dec 1")
GATEWAYS = ("9.9.9.9", "2001:db8::99")
"""Where TEE sends copies, by family."""

SECURING = ("CONNSECMARK --restore", "CONNSECMARK --save")
MANGLING = ("TOS --set-tos 0x10/0xff", "TOS --xor-tos 0x21", "DSCP --set-dscp 0x2e", "CHECKSUM --checksum-fill")
ON_TCP = ("TCPOPTSTRIP --strip-options {kinds}", "TCPMSS --set-mss {mss}")
ON_TCP4 = ("ECN --ecn-tcp-remove", "ECN --ecn-tcp-ece 1 --ecn-tcp-cwr 0 --ecn-ip-ect 3")


def setting_tcp(random: Random, chain: str, family: int) -> str:
    """A rule that changes TCP's header."""
    target = random.choice(ON_TCP + (ON_TCP4 if family == 4 else ()))
    target = target.format(
        kinds=some(random, ("mss", "wscale", "sack-permitted", "timestamp")), mss=random.choice((500, 536, 1000, 1400))
    )
    if target.startswith("TCPMSS"):
        clamped = chain == "FORWARD" and random.getrandbits(1)
        target = "TCPMSS --clamp-mss-to-pmtu" if clamped else target
        return f"-A {chain} -p tcp -m tcp --tcp-flags SYN,RST SYN -j {target}"
    return f"-A {chain} -p tcp -j {target}"


def passing(random: Random, chain: str, family: int) -> str:
    """What changes something and goes on, or now and then ends the table's say."""
    known = (*MARKS, *MANGLING, *(MANGLING4 if family == 4 else MANGLING6), *PASSING, *SECURING)
    target = random.choice(known)
    if random.random() < 0.1:
        # What is accepted in POSTROUTING would not meet the rules that answer there.
        ending = ("DROP", "NFQUEUE --queue-num 3", "ACCEPT", "NFQUEUE --queue-num 3 --queue-bypass")
        target = random.choice(ending[:2] if chain == "POSTROUTING" else ending)
    if random.random() < 0.1 and chain != "PREROUTING":
        target = random.choice(("CLASSIFY --set-class 1:1", "TEE --gateway " + GATEWAYS[family == 6]))
    return target.format(label=f"timer{random.randrange(4)}")


def raw(random: Random, family: int, before: tuple[Part, ...] = BEFORE) -> list[str]:
    lines = []
    for _ in range(random.randrange(5)):
        asked = " ".join(matches(random, family, before, 3) or ["-i lo"])
        target = random.choice(
            (
                "CT --notrack",
                "NOTRACK",
                "CT --zone 1",
                "CT --zone 2",
                "ACCEPT",
                "MARK --set-xmark 0x1/0x1",
                "TRACE",
                "DROP",
            )
        )
        # What is lost here is never tracked, so that it must not be much.
        if target == "DROP":
            asked += " -m statistic --mode nth --every 50 --packet 0"
        lines.append(f"-A PREROUTING {asked} -j {target}")
    return lines


def mangle(random: Random, family: int, tracked: tuple[Part, ...] = TRACKED) -> list[str]:
    lines = []
    for chain in ("PREROUTING", "FORWARD", "POSTROUTING"):
        for _ in range(random.randrange(6)):
            if random.random() < 0.3:
                lines.append(
                    setting_tcp(random, chain, family).replace(" -p", " -o eth1 -p" if chain[1] == "O" else " -p", 1)
                )
                continue
            kept = matches(random, family, tracked, 3)
            if chain == "PREROUTING":  # where a packet leaves is not known yet
                kept = [part for part in kept if "-o " not in part]
            if chain == "POSTROUTING":
                # There the kernel's own packets pass too: reports and solicitations through the second device, answers
                # through the first.
                kept = [part for part in kept if "-i " not in part and "-o " not in part and "-p " not in part]
                if any(word in part for part in kept for word in ("recent", "statistic", "quota", "limit", "-m set")):
                    kept = []
                kept = [f"-o eth1 -p {random.choice(('tcp', 'udp'))}", *kept]
            lines.append(" ".join(["-A", chain, *kept, "-j", passing(random, chain, family)]))
    return lines


def security(random: Random, family: int, tracked: tuple[Part, ...] = TRACKED) -> list[str]:
    targets = (*MARKS[3:], *PASSING, *SECURING, "ACCEPT", "DROP")
    lines = []
    for _ in range(random.randrange(4)):
        target = random.choice(targets).format(label=f"timer{random.randrange(4)}")
        kept = matches(random, family, tracked, 3)
        if target == "DROP" and len(kept) < 2:
            target = "ACCEPT"
        lines.append(" ".join(["-A FORWARD", *kept, "-j", target]))
    return lines


def filtering(random: Random, family: int, rules: int, tracked: tuple[Part, ...] = TRACKED) -> list[str]:
    chains = ["FORWARD", *(f"chain{number}" for number in range(random.randrange(6)))]
    lines = [f":FORWARD {random.choice(('ACCEPT', 'ACCEPT', 'DROP'))} [0:0]"]
    lines += [f":{chain} - [0:0]" for chain in chains[1:]]
    for place, chain in enumerate(chains):
        count = rules // 2 if place == 0 and len(chains) > 1 else max(1, rules // 2 // max(1, len(chains) - 1))
        for _ in range(count):
            if random.random() < 0.5:
                lines.append(rule(random, chain, chains[place + 1 :], family))
                continue
            kept = matches(random, family, tracked, 3)
            target = random.choice((*PASSING, *MARKS[3:])).format(label=f"timer{random.randrange(4)}")
            if len(kept) > 1 and random.random() < 0.3:
                target = random.choice(
                    ("QUEUE", "NFQUEUE --queue-balance 1:4", "NFQUEUE --queue-bypass", "ACCEPT", "DROP")
                )
            lines.append(" ".join(["-A", chain, *kept, "-j", target]))
    return lines


def everything(seed: int, family: int, rules: int = 30) -> str:
    """All four tables that are evaluated, about the traffic of ``generate.py``."""
    random = Random(f"everything {seed} {family}")
    parts = {
        "raw": raw(random, family),
        "mangle": mangle(random, family),
        "filter": filtering(random, family, rules),
        "security": security(random, family),
    }
    return "".join("\n".join([f"*{name}", *lines, "COMMIT", ""]) for name, lines in parts.items())


def rare_header(random: Random, family: int) -> str:
    """Headers that are seldom met, u32 and programs."""
    return random.choice((*questions.BOTH, *(questions.ONLY4 if family == 4 else questions.ONLY6)))


def grouped(random: Random, _: int) -> str:
    """A rate for each group, in a table of the rule's own."""
    name = f"--hashlimit-name h{random.getrandbits(40):x}"
    return f"-m hashlimit {random.choice(questions.GROUPED)} {name} --hashlimit-htable-expire 90000000"


def placed(random: Random, _: int) -> str:
    return random.choice(questions.PLACED)


def labelled(random: Random, _: int) -> str:
    """A connection's label, asked for or set."""
    return (
        f"-m connlabel {maybe_not(random)}--label {random.choice((0, 1, 63, 64, 127))}{random.choice(('', ' --set'))}"
    )


def announced(random: Random, _: int) -> str:
    """The helper that announced a connection."""
    return f"-m helper {maybe_not(random)}--helper {random.choice(('ftp', 'ftp', 'tftp'))}"


def crowded(random: Random, _: int) -> str:
    """How many connections there are, of all hosts together: what shares a place in the kernel's table is gone through
    when that has time, and one host's list shares none."""
    limit = f"{random.choice(('above', 'upto'))} {random.choice((1, 5, 40, 300))}"
    return f"-m connlimit --connlimit-{limit} --connlimit-mask 0 --connlimit-{random.choice(('saddr', 'daddr'))}"


def about_sets(seed: int) -> Part:
    """A match that asks one of `sets(seed)`."""
    created = sets.names(sets.sets(seed))

    def part(random: Random, family: int) -> str:
        others = f"_{10 - family}"
        known = [name for name in created if others not in name and (family == 4 or name not in sets.ONLY_4)]
        return sets.match(random, known)

    return part


NOT_LEAVING = ("-m mac ", "-m eui64 ", "--src-group")
"""What the kernel refuses to ask where packets leave: how they came in."""


def whole(seed: int, family: int, rules: int = 30) -> str:
    """As `everything`, with the matches besides that ask for rare headers, groups, places and the sets of
    `sets(seed)`, which SET rules change."""
    random = Random(f"whole {seed} {family}")
    asked = about_sets(seed)
    more = (rare_header, rare_header, grouped, placed, asked, labelled, labelled, announced, announced, crowded)
    tracked = (*TRACKED, *more)
    tables = {
        "raw": raw(random, family, (*BEFORE, rare_header, placed)),
        "mangle": mangle(random, family, tracked),
        "filter": filtering(random, family, rules, tracked),
        "security": security(random, family, tracked),
    }
    if random.random() < 0.7:
        tables["raw"].insert(0, "-A PREROUTING -p tcp -m tcp --dport 21 -j CT --helper ftp")
    others = f"_{10 - family}"
    known = [name for name in sets.names(sets.sets(seed)) if others not in name]
    known = [name for name in known if family == 4 or name not in sets.ONLY_4]
    for name, chain in (("mangle", "PREROUTING"), ("mangle", "FORWARD"), ("filter", "FORWARD")):
        for _ in range(random.randrange(4)):
            kept = matches(random, family, (*BEFORE, asked), 2)
            line = " ".join(["-A", chain, *kept, sets.target(random, known, name == "mangle")])
            tables[name].insert(
                random.randrange(len(tables[name]) + 1) if name == "mangle" else len(tables[name]), line
            )
    tables["mangle"] = [
        line for line in tables["mangle"] if "POSTROUTING" not in line or not any(word in line for word in NOT_LEAVING)
    ]
    return "".join("\n".join([f"*{name}", *lines, "COMMIT", ""]) for name, lines in tables.items())
