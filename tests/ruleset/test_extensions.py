"""Every extension has one form, and what it reads it writes and reads again."""

from __future__ import annotations

import dataclasses

import pytest

from fastfw.ruleset import Chain, Rule, Ruleset, RulesetError, Table
from fastfw.ruleset.address import Interface, Network
from fastfw.ruleset.ext import registry
from fastfw.ruleset.ext.comment import Comment
from fastfw.ruleset.ext.conntrack import CT_STATES, Conntrack
from fastfw.ruleset.ext.limit import SCALE, Limit, rate_text
from fastfw.ruleset.ext.log import Log
from fastfw.ruleset.ext.mark import Mark, SetMark
from fastfw.ruleset.ext.multiport import Multiport
from fastfw.ruleset.ext.reject import Reject
from fastfw.ruleset.ext.standard import Accept, Drop, Jump
from fastfw.ruleset.ext.tcp import Tcp
from ruleset import cases, coverage

# The names of the field, by family; all must be there.
MATCHES = {
    46: """
    addrtype ah bpf cgroup cluster comment connbytes connlabel connlimit connmark conntrack cpu dccp devgroup dscp ecn
    esp hashlimit helper ipcomp iprange ipvs length limit mac mark multiport nfacct owner physdev pkttype policy quota
    rateest recent rpfilter sctp set socket state statistic string tcp tcpmss time tos u32 udp
    """,
    4: "icmp osf realm ttl",
    6: "dst eui64 frag hbh hl icmp6 ipv6header mh rt srh",
}
TARGETS = {
    46: """
    AUDIT CHECKSUM CLASSIFY CONNMARK CONNSECMARK CT DNAT DSCP HMARK IDLETIMER LED LOG MARK MASQUERADE NETMAP NFLOG
    NFQUEUE NOTRACK RATEEST REDIRECT REJECT SECMARK SET SNAT SYNPROXY TCPMSS TCPOPTSTRIP TEE TOS TPROXY TRACE
    """,
    4: "ECN TTL",
    6: "DNPT HL SNPT",
}


def text(rule: str, table: str = "filter", chain: str = "INPUT") -> str:
    """One rule as a text."""
    return f"*{table}\n:u1 - [0:0]\n:u2 - [0:0]\n-A {chain} {rule}\nCOMMIT\n"


@pytest.mark.parametrize("family", [4, 6])
def test_all_names_are_known(family: int) -> None:
    """Every match and target of the field is there for its family, and none of the other family's."""
    other = 10 - family
    for known, names in ((registry.MATCHES, MATCHES), (registry.TARGETS, TARGETS)):
        assert set((names[46] + " " + names[family]).split()) <= set(known[family])
        assert not set(names[other].split()) & set(known[family])


@pytest.mark.parametrize("kind", sorted(registry.OPTIONS, key=lambda kind: (kind.__module__, kind.__name__)))
def test_one_form(kind: type) -> None:
    """An extension is a slotted dataclass with a docstring, made without arguments, and its options set its fields."""
    assert dataclasses.is_dataclass(kind)
    assert kind.__doc__
    made = kind()
    assert not hasattr(made, "__dict__")
    fields = {field.name for field in dataclasses.fields(kind)}
    for option in kind.options:
        assert not option.field or option.field in fields, option.name
        assert not option.negate or option.negate in fields, option.name
        for name in (*option.excludes, *option.requires):
            assert name in registry.OPTIONS[kind] or name in {"ct"}, f"{option.name}: {name}"


def read(text: str, family: int) -> Ruleset | RulesetError:
    """A ruleset, or why it is none."""
    try:
        return Ruleset.parse(text, family)
    except RulesetError as error:
        return error


UNREADABLE = 40
"""Of the rules of the tables, those that iptables itself prints so that it cannot read them back: names with blanks or
quotes, empty values, numbers with a sign."""


def test_what_is_written_is_read_again() -> None:
    """Every rule of the tables that is taken reads back from what is printed for it, to print the same again."""
    count = 0
    unreadable: dict[str, RulesetError] = {}
    for (family, table, chain), rules in cases.CASES.items():
        for rule in rules:
            first = read(text(rule, table, chain), family)
            if isinstance(first, RulesetError):
                assert first.line in (4, 5), rule
                assert first.column >= 1, rule
                assert first.reason, rule
                continue
            saved = first.save()
            second = read(saved, family)
            if isinstance(second, RulesetError):
                unreadable[rule] = second
                continue
            assert second.save() == saved, rule
            count += 1
    assert count > 1200
    assert len(unreadable) <= UNREADABLE, "\n".join(f"{rule}\n    {why}" for rule, why in unreadable.items())


def test_built_by_hand() -> None:
    """Rules made of objects print as iptables would print them, and read back as the same objects."""
    table = Table.empty("filter")
    table.chains["web"] = Chain("web")
    table.chains["INPUT"].policy = "DROP"
    table.chains["INPUT"].rules = [
        Rule(matches=[Conntrack(state=CT_STATES["ESTABLISHED"] | CT_STATES["RELATED"])], target=Accept()),
        Rule(
            source=Network(0x0A000000, 0xFF000000),
            in_interface=Interface("eth", wildcard=True),
            protocol=6,
            matches=[Multiport("destination", ((22, 22), (80, 90)))],
            target=Jump("web"),
        ),
        Rule(matches=[Limit(interval=SCALE // 5, burst=10)], target=Log(prefix="odd: ")),
        Rule(protocol=6, target=Reject("tcp-reset")),
    ]
    table.chains["web"].rules = [
        Rule(matches=[Comment('say "hi"'), Mark((1, 0xFF), invert=True)], target=Drop()),
        Rule(protocol=6, matches=[Tcp(dport=(443, 443))], target=SetMark((7, 0xFFFFFFFF))),
    ]
    ruleset = Ruleset(4, {"filter": table})
    ruleset.check()
    written = [line for line in ruleset.save().split("\n") if line.startswith("-A")]
    assert written == [
        "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-A INPUT -s 10.0.0.0/8 -i eth+ -p tcp -m multiport --dports 22,80:90 -j web",
        '-A INPUT -m limit --limit 5/sec --limit-burst 10 -j LOG --log-prefix "odd: "',
        "-A INPUT -p tcp -j REJECT --reject-with tcp-reset",
        '-A web -m comment --comment "say \\"hi\\"" -m mark ! --mark 0x1/0xff -j DROP',
        "-A web -p tcp -m tcp --dport 443 -j MARK --set-xmark 0x7/0xffffffff",
    ]
    assert Ruleset.parse(ruleset.save()) == ruleset


def test_hand_made_faults_are_found() -> None:
    """A ruleset built by hand is checked as the kernel checks it, without a place to name."""
    table = Table.empty("filter")
    table.chains["INPUT"].rules = [Rule(target=Jump("nowhere"))]
    with pytest.raises(RulesetError, match="nowhere") as caught:
        Ruleset(4, {"filter": table}).check()
    assert caught.value.line == 0


@pytest.mark.parametrize("interval", [1, 3, 166, 10_000, 12_345, 600_000, 36_000_000, 12_000_000, 864_000_000])
def test_rates_print_in_the_unit_that_fits(interval: int) -> None:
    """A rate reads back as the same interval, give or take what the printed number cannot hold."""
    count, unit = rate_text(interval).split("/")
    seconds = {"sec": 1, "min": 60, "hour": 3600, "day": 86400}[unit]
    assert seconds * SCALE // int(count) == pytest.approx(interval, rel=1 / int(count))


UNASKED = {(family, "-m", "bpf", "object-pinned", False) for family in (4, 6)}
"""What no rule can name here: the tool itself opens the program that somebody pinned."""


def test_every_option_is_asked_of_the_real_tool() -> None:
    """Each option of each extension in each family, by all its names, plain and inverted, stands in a rule that is
    taken, of those that the real iptables is asked about; and these are many."""
    asked: set[coverage.Named] = set()
    rules = [(*key, rule) for cases_of in (cases.CASES, cases.ALONE) for key, all_ in cases_of.items() for rule in all_]
    for family, table, chain, rule in rules:
        new = coverage.named(rule, family) - asked
        if new and not isinstance(read(text(rule, table, chain), family), RulesetError):
            asked |= new
    missing = sorted(coverage.wanted() - asked - UNASKED)
    assert not missing, f"{len(missing)} never asked: {missing[:20]}"
    assert len(rules) > 4_000
