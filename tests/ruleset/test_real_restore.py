"""The real iptables-restore and iptables judge whole texts and single commands."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fastfw.ruleset import Ruleset, RulesetError
from fastfw.ruleset.apply import apply, parse_command, run
from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.model import TABLES
from ruleset import judge

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(bool(judge.unavailable()), reason=judge.unavailable() or "available"),
]

EMPTY = "".join(
    f"*{name}\n{''.join(f':{hook} ACCEPT [0:0]' + chr(10) for hook in hooks)}COMMIT\n" for name, hooks in TABLES.items()
)

FILTER = "*filter\n{}COMMIT\n"

# Lines of table filter, each list a text of its own.
BODIES = r"""
:INPUT ACCEPT [1:2]|:FORWARD DROP [3:4]|:OUTPUT ACCEPT [0:0]|:zed - [0:0]|:abc - [0:0]|:Mid - [0:0]|-A INPUT -j zed
:INPUT -|-A INPUT -j ACCEPT
:INPUT ACCEPT [0:0] extra
:INPUT FOO [0:0]
:INPUT QUEUE [0:0]
:INPUT RETURN [0:0]
:INPUT DROP [x:y]
:INPUT DROP 1:2
:INPUT
:
: INPUT DROP [0:0]
:	INPUT	DROP	[5:6]
:foo ACCEPT [0:0]
:foo - [0:0]|:foo - [0:0]
:foo -|-A foo -j ACCEPT
:foo/bar - [0:0]
:-foo - [0:0]
:!foo - [0:0]
:ACCEPT - [0:0]
:LOG - [0:0]|-A INPUT -j LOG
:LOG - [0:0]|-A INPUT -j LOG --log-prefix x
:DNAT - [0:0]
:abcdefghijklmnopqrstuvwxyz0 - [0:0]
:abcdefghijklmnopqrstuvwxyz01 - [0:0]
:abcdefghijklmnopqrstuvwxyz012 - [0:0]
:a - [0:0]|-A a -j b|:b - [0:0]
:a - [0:0]|:b - [0:0]|-A a -j b|-A b -j a
:a - [0:0]|:b - [0:0]|-A a -j b|-A b -j a|-A INPUT -j a
:a - [0:0]|:b - [0:0]|-A a -j b|-A b -j a|-A INPUT -g a
:a - [0:0]|-A INPUT -j ACCEPT|-A INPUT -j a|-A a -j a
:a - [0:0]|-A INPUT -s 1.1.1.1 -j ACCEPT|-A INPUT -j a|-A a -j a
:a - [0:0]|-A a -j a
:a - [0:0]|-A a -j INPUT
:a - [0:0]|:b - [0:0]|:c - [0:0]|-A INPUT -j a|-A a -j b|-A a -j c|-A b -j c|-A c -j RETURN
:a - [0:0]|-A a -m mac --mac-source 0:0:0:0:0:1|-A OUTPUT -j a
:a - [0:0]|-A a -m mac --mac-source 0:0:0:0:0:1|-A INPUT -j a
:a - [0:0]|:b - [0:0]|-A b -m owner --uid-owner 0|-A a -g b|-A FORWARD -j a
:a - [0:0]|-A OUTPUT -j ACCEPT|-A OUTPUT -j a|-A a -m mac --mac-source 0:0:0:0:0:1
-A INPUT -j ACCEPT|-A INPUT -m owner --uid-owner 0
-A INPUT -s 1.1.1.1 -j ACCEPT|-A INPUT -m owner --uid-owner 0
[5:6] -A INPUT -j ACCEPT
[5:6]-A INPUT -j ACCEPT
[5:6 -A INPUT -j ACCEPT
[5] -A INPUT -j ACCEPT
 [5:6] -A INPUT -j ACCEPT
[a:b] -A INPUT -j ACCEPT
[1:2] -A INPUT -c 7 8 -j ACCEPT
[18446744073709551615:18446744073709551616] -A INPUT -j ACCEPT
-A INPUT -c 7 8 -j ACCEPT
-A INPUT -j ACCEPT # comment
# comment||-A INPUT -j ACCEPT
 # comment
-A INPUT -j ACCEPT|  -A INPUT -j DROP
INPUT -j ACCEPT
-j ACCEPT
-s 1.1.1.1 -A INPUT -j ACCEPT
-j ACCEPT -A INPUT
-A nochain -j ACCEPT
-A INPUT -A INPUT
-A INPUT -D INPUT
-A
-A ""
-A "INPUT" "-j" "ACCEPT"
--append INPUT --jump ACCEPT
--app INPUT --jump ACCEPT
-AINPUT -j ACCEPT
-N foo|-A foo -j ACCEPT|-A INPUT -s 1.1.1.1 -j foo|-I INPUT -j DROP|-I INPUT 2 -s 2.2.2.2
-I INPUT 1 -j DROP
-I INPUT 2 -j DROP
-I INPUT 0 -j DROP
-I INPUT -1 -j DROP
-I INPUT x -j DROP
-A INPUT -j DROP|-I INPUT 2 -j ACCEPT|-I INPUT 3 -s 1.1.1.1
-A INPUT -j DROP|-R INPUT 1 -j ACCEPT
-A INPUT -j DROP|-R INPUT 2 -j ACCEPT
-A INPUT -j DROP|-R INPUT -j ACCEPT
-A INPUT -j DROP|-D INPUT 1
-A INPUT -j DROP|-D INPUT 2
-A INPUT -j DROP|-D INPUT -j DROP
-A INPUT -j DROP|-D INPUT -j ACCEPT
-A INPUT -j DROP|-D INPUT
-A INPUT -s 1.1.1.1,2.2.2.2 -d 3.3.3.3,4.4.4.4 -j ACCEPT|-D INPUT -s 1.1.1.1,2.2.2.2 -d 4.4.4.4 -j ACCEPT
-I INPUT -s 5.5.5.5,6.6.6.6
-I INPUT -s 5.5.5.5,6.6.6.6 -d 1.1.1.1,2.2.2.2
-A INPUT -j DROP|-R INPUT 1 -s 5.5.5.5,6.6.6.6
-A INPUT -p tcp -m tcp --dport 22 -m comment --comment x|-D INPUT -p tcp --dport 22 -m comment --comment x
-A INPUT -p tcp -m tcp --dport 22 -m comment --comment x|-D INPUT -p tcp --dport 22
-A INPUT -p tcp -m tcp --dport 22|-D INPUT -p tcp -m tcp --dport ssh
-A INPUT -s 1.2.3.4/8|-D INPUT -s 1.0.0.0/8
-A INPUT -s 1.2.3.4|-C INPUT -s 1.2.3.4
-A INPUT -s 1.2.3.4|-C INPUT -s 1.2.3.5
-N foo|-X foo
-N foo|-N foo
-N foo|-A foo -j ACCEPT|-X foo
-N foo|-A INPUT -j foo|-X foo
-N foo|-A INPUT -g foo|-F INPUT|-X foo
-N foo|-A foo -j ACCEPT|-F foo|-X
-N foo|-A foo|-X
-X INPUT
-X nosuch
-N -foo
-N LOG
-N ACCEPT
-N INPUT
-N abcdefghijklmnopqrstuvwxyz012
-N abcdefghijklmnopqrstuvwxyz01
-N foo|-A INPUT -j foo|-E foo bar
-N foo|-N bar|-E foo bar
-E INPUT foo
-E nosuch foo
-N foo|-E foo
-P INPUT DROP
-P INPUT FOO
-P INPUT QUEUE
-P INPUT
-N foo|-P foo DROP
-P nosuch DROP
-P INPUT DROP -c 5 6
-F
-F nosuch
-F INPUT -j ACCEPT
-Z
-Z INPUT
-Z INPUT 1
-A INPUT -n
-A INPUT -w
-A INPUT -t filter
-A INPUT --line-numbers
-A INPUT -v
-A INPUT -j ACCEPT -4
-A INPUT -j ACCEPT -6
-F INPUT -s 1.2.3.4
-N foo -j ACCEPT
-A INPUT -m tcp -p tcp --dport 5|-A INPUT -p tcp --dport 5 -m tcp
-A INPUT -m comment --comment "a"-j ACCEPT
-A INPUT -m comment --comment a"b c"
-A INPUT -m comment --comment "\x\n\""
""".strip("\n").split("\n")

BODIES += [
    ":a\x1cb - [0:0]",
    ":\va - [0:0]",
    ":INPUT\x1cACCEPT [0:0]",
    ":INPUT ACCEPT\x1c[0:0]",
    ":INPUT \vACCEPT [0:0]",
    ":INPUT ACCEPT\r",
    ":INPUT ACCEPT [1:2]\r",
    ":INPUT ACCEPT [1:2]x",
    "-A INPUT\v-j ACCEPT",
]
"""Blanks that are none to iptables-restore."""


def text_of(body: str) -> str:
    """A body as a text."""
    return FILTER.format("".join(f"{line}\n" for line in body.split("|")))


@pytest.mark.parametrize("family", [4, 6])
def test_bodies(family: int) -> None:
    """Declarations and commands of a text are taken, refused and understood as iptables-restore does."""
    faults = []
    for body in BODIES:
        if family == 6 and any(octet in body for octet in ("1.1.1", "1.2.3", "2.2.2", "5.5.5")):
            continue
        text = text_of(body)
        judge.restore(EMPTY, family)
        complaint = judge.restore(text, family)
        try:
            ruleset = Ruleset.parse(text, family)
        except RulesetError as error:
            if not complaint:
                faults.append(f"we refuse, iptables takes: {body}\n    {error}")
            continue
        if complaint:
            faults.append(f"we take, iptables refuses: {body}\n    {complaint}")
            continue
        for counters in (False, True):
            real, ours = judge.save("filter", family, counters), judge.without_comments(ruleset.save(counters))
            if real != ours:
                faults.append(f"iptables prints for {body}:\n{real}\nwe print:\n{ours}")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    "text",
    [
        "*filter\nCOMMIT\n*filter\n-A INPUT -j DROP\nCOMMIT\n",
        "*filter foo bar\nCOMMIT\n",
        "*foo\nCOMMIT\n",
        "*\nCOMMIT\n",
        " *filter\nCOMMIT\n",
        "*filter\n*nat\nCOMMIT\n",
        "*filter\nCOMMIT \n",
        "*filter\n COMMIT\n",
        "*filter\n-A INPUT -j ACCEPT\n",
        "-A INPUT -j ACCEPT\n*filter\nCOMMIT\n",
        "COMMIT\n",
        "foo\n",
        "# only a comment\n\n",
        "*filter\r\nCOMMIT\r\n",
        "*filter\r\nCOMMIT\n",
        "*filter\x1cfoo\nCOMMIT\n",
        "*nat\n-A PREROUTING -j DROP\nCOMMIT\n",
        "*nat\n:PREROUTING DROP [0:0]\nCOMMIT\n",
        "*nat\n-P PREROUTING DROP\nCOMMIT\n",
        "*nat\n:u - [0:0]\n-A u -j DROP\nCOMMIT\n",
        "*mangle\n-A PREROUTING -o lo\nCOMMIT\n",
        "*mangle\n-A POSTROUTING -i lo\nCOMMIT\n",
        "*raw\n:u - [0:0]\n-A u -i lo -o lo\n-A OUTPUT -j u\nCOMMIT\n",
    ],
)
def test_texts(text: str) -> None:
    """Tables, their beginning and their end are taken as iptables-restore takes them."""
    judge.restore(EMPTY, 4)
    complaint = judge.restore(text, 4)
    try:
        ruleset = Ruleset.parse(text)
    except RulesetError:
        assert complaint
        return
    assert not complaint
    for name in ruleset.tables:
        alone = Ruleset(4, {name: ruleset.tables[name]})
        assert judge.save(name, 4) == judge.without_comments(alone.save())


COMMANDS = """
-A INPUT -s 10.0.0.0/8 -p tcp --dport 22 -m state --state NEW -j ACCEPT
-A INPUT -i lo -j ACCEPT
-I INPUT 1 -p udp --dport 53 -j DROP
-N web
-A web -j LOG --log-prefix web
-A INPUT -p tcp -m multiport --dports 80,443 -j web
-S
-S INPUT
-S INPUT 2
-S web -v
-S -v
-L nosuch
-R INPUT 2 -s 1.2.3.4,5.6.7.8 -j DROP
-R INPUT 2 -s 1.2.3.4 -j DROP
-D INPUT 1
-D INPUT 9
-D INPUT -i lo -j ACCEPT
-D INPUT -i lo -j ACCEPT
-C INPUT -s 1.2.3.4 -j DROP
-C INPUT -s 1.2.3.9 -j DROP
-X web
-E web www
-S
-P INPUT DROP
-P INPUT FOO
-P www DROP
-F www
-X www
-t nat -A POSTROUTING -o eth0 -j MASQUERADE
-t nat -S
-t nat -A PREROUTING -j DROP
-t mangle -A PREROUTING -j TTL --ttl-set 5
-t mangle -S PREROUTING
-A INPUT -j TTL --ttl-set 5
-A INPUT -j REJECT --reject-with tcp-reset
-t foo -S
-A INPUT
-A INPUT -n
-L INPUT 5 5
-S INPUT -j ACCEPT
-Z
-F
-X
-S
--frob
-A OUTPUT -m owner --uid-owner 0 -j ACCEPT
-I OUTPUT -d 1.1.1.1,2.2.2.2 -j DROP
-S OUTPUT
""".strip().split("\n")


def test_commands() -> None:
    """A series of iptables(8) command lines succeeds, fails and prints as the real one does."""
    judge.restore(EMPTY, 4)
    ruleset = Ruleset(4)
    for line in COMMANDS:
        words = line.split()
        done = judge.run("iptables-legacy", *words)
        before = ruleset.save()
        complaint = ""
        printed = ""
        try:
            printed = run(words, ruleset)
        except Refusal as error:
            complaint = str(error)
            assert ruleset.save() == before
        if complaint:
            assert done.returncode, f"we refuse, iptables takes: {line}: {complaint}"
            continue
        assert done.returncode == 0, f"we take, iptables refuses: {line}: {done.stderr!r}"
        assert printed == done.stdout.decode(), line


def test_hand_made_chains_of_jumps() -> None:
    """Random graphs of chains are loaded or refused for circles and places as the kernel does."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    special = ("-m mac --mac-source 0:0:0:0:0:1", "-m owner --uid-owner 0", "-j ACCEPT", "-s 1.1.1.1 -j ACCEPT", "")
    for _ in range(150):
        chains = ["a", "b", "c", "d"]
        lines = [f":{chain} - [0:0]" for chain in chains]
        for _ in range(rng.randrange(1, 9)):
            chain = rng.choice([*chains, "INPUT", "OUTPUT"])
            what = rng.choice([f"-{rng.choice('jg')} {rng.choice(chains)}"] * 4 + list(special))
            lines.append(f"-A {chain} {what}")
        text = FILTER.format("".join(f"{line}\n" for line in lines))
        complaint = judge.restore(text, 4)
        ours = ""
        try:
            Ruleset.parse(text)
        except RulesetError as error:
            ours = str(error)
        assert bool(ours) == bool(complaint), f"{text}we say: {ours or 'taken'}\niptables: {complaint or 'taken'}"


COUNTED = """*filter
:INPUT DROP [10:2000]
:FORWARD ACCEPT [123456:123456789]
:OUTPUT ACCEPT [0:0]
:web - [0:0]
:a-very-long-chain-name-xx - [0:0]
[5:600] -A INPUT -i lo -j ACCEPT
[123456:999999999] -A INPUT -s 10.0.0.0/8 -p tcp -m tcp --dport 22 -m state --state NEW -j ACCEPT
[12345678901:99999999999999] -A INPUT ! -s 10.0.0.0/8 ! -d 1.2.3.4 ! -i eth0 ! -p udp -j DROP
-A INPUT -f -g web
! -f -A INPUT -p 200 -j a-very-long-chain-name-xx
-A INPUT -s 10.0.0.0/255.0.255.0
-A FORWARD -i abcdefghijklmno -o e+ -s 192.168.100.100/30 -d 192.168.100.200
[99999:99999] -A OUTPUT -p tcp
[100000:100000] -A OUTPUT -p tcp
[9999999:9999999] -A OUTPUT -p tcp
[10000000:9999999499] -A OUTPUT -p tcp
[9999500000:10000000000] -A OUTPUT -p tcp
COMMIT
"""

LISTED = (Path(__file__).parent / "rules" / "listed.txt").read_text()


@pytest.mark.parametrize("text", [COUNTED, LISTED], ids=["counters", "extensions"])
@pytest.mark.parametrize("options", ["-L", "-nvL", "-nL --line-numbers", "-nvxL", "-L INPUT -v -x", "-nvL INPUT 2"])
def test_listing(text: str, options: str) -> None:
    """Chains are listed as iptables -L lists them, in numbers and in names."""
    judge.restore(EMPTY, 4)
    assert not judge.restore(text, 4)
    ruleset = Ruleset.parse(EMPTY)
    ruleset.restore(text)
    done = judge.run("iptables-legacy", *options.split())
    assert apply(parse_command(options.split(), ruleset), ruleset) == done.stdout.decode()


START = """*filter
:INPUT ACCEPT [0:0]
:x - [0:0]
-A INPUT -j DROP
-A INPUT -s 1.1.1.1 -j x
-A x -p tcp -j ACCEPT
COMMIT
"""
# Each on its own after START.
FORMS = """
-S -n
-S -x
-N y -v
-P INPUT DROP -v
-L -4
-L -6
-L INPUT -s 1.2.3.4
-E x y -v
-D INPUT 1 -v
-D INPUT 1 -c 1 2
-I INPUT 1 -c 1 2 -j ACCEPT
-R INPUT 1 -c 1 2
-C INPUT -j DROP -c 1 2
-S INPUT -x
-L INPUT 1 -v
-Z INPUT -L
-L -Z INPUT
-L INPUT -Z
-S -Z
-Z -S x
-n -L
-nL
-vnL
-Lnv
-L -n -v INPUT
-t filter -L INPUT -n
-tfilter -S
--table=filter -S
--table filter --list-rules
--list
--list INPUT
-A INPUT
-AINPUT -j ACCEPT
-I INPUT
-IINPUT -j ACCEPT
-D INPUT
-A INPUT -j
-L --line-numbers
-L --line
-w -L
-w 5 -L
-L -w
-A INPUT -w 3 -j ACCEPT
-M /x -L
-X x
-F x
-X y
-Z x 1
-Z x 9
-S x 1
-S x 9
-L x 9
-S nosuch
-E x
-E
-P INPUT
-P
-N
-t nat -L
-t mangle -S
-t bad -S
-L -j ACCEPT
-A INPUT -p tcp --dport 22 -j x
-A INPUT -g x
-A x -j x
-I x 2 -j x
-c 1 2 -A INPUT
-P INPUT ACCEPT -c 1 2
-f -A INPUT
-A INPUT ! -f
-L x INPUT
-A INPUT extra
-x -L
-xL
-L -x
-nvxL x
-S -v
-C x -p tcp -j ACCEPT
-C x -p udp -j ACCEPT
-D x -p tcp -j ACCEPT
-R x 1 -p udp
-4 -S
-6 -S
-4 -A INPUT
-6 -A INPUT
--append INPUT
--app INPUT
--a INPUT
-LZ
-ZL
-L x -Z -n
""".strip().split("\n")


def test_forms_of_commands() -> None:
    """Options of a command in every form and order mean what they mean to iptables."""
    faults = []
    judge.restore(EMPTY, 4)
    for line in FORMS:
        judge.restore(START, 4)
        ruleset = Ruleset.parse(START)
        done = judge.run("iptables-legacy", *line.split())
        complaint = printed = ""
        try:
            printed = run(line.split(), ruleset)
        except Refusal as error:
            complaint = str(error)
            assert ruleset == Ruleset.parse(START)
        if bool(complaint) != bool(done.returncode) or (not complaint and printed != done.stdout.decode()):
            faults.append(f"{line}: {complaint or printed!r}, iptables: {done.stderr or done.stdout!r}")
    assert not faults, "\n".join(faults)


FIRST = """*filter
:INPUT DROP [5:6]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:x - [0:0]
:y - [0:0]
[1:2] -A INPUT -s 1.1.1.1 -j x
[3:4] -A x -j y
-A y -j DROP
COMMIT
"""

ADDED = """
-A INPUT -j ACCEPT
:x - [0:0]
:x - [0:0]|-A x -j ACCEPT
:x - [0:0]|:x - [0:0]
:z - [0:0]|-A z -j x|-A INPUT -j z
:INPUT ACCEPT [0:0]
:OUTPUT DROP [7:8]|-I INPUT 1 -j y
-F x|-A x -j y
-X y
-D INPUT -s 1.1.1.1 -j x|-F|-X y
-A y -j x
-N x
-N z
""".strip().split("\n")


@pytest.mark.parametrize("noflush", [True, False], ids=["noflush", "flush"])
def test_restore_onto_a_table(noflush: bool) -> None:
    """A second text replaces the table's rules or, with noflush, adds to them, and a refused one changes nothing."""
    faults = []
    for body in ADDED:
        judge.restore(EMPTY, 4)
        assert not judge.restore(FIRST, 4)
        ruleset = Ruleset.parse(FIRST)
        done = judge.run("iptables-legacy-restore", "-c", *(["-n"] if noflush else []), text=text_of(body))
        complaint = ""
        try:
            ruleset.restore(text_of(body), noflush=noflush)
        except RulesetError as error:
            complaint = str(error)
        if bool(complaint) != bool(done.returncode):
            faults.append(f"{body}: {complaint or 'taken'}, iptables: {done.stderr!r}")
        real = judge.save("filter", 4, True)
        ours = judge.without_comments(ruleset.save(True))
        if real != ours:
            faults.append(f"iptables prints after {body}:\n{real}\nwe print:\n{ours}")
    assert not faults, "\n".join(faults)
