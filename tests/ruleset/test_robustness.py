"""Bad, huge and endless texts: one clear error or a ruleset, in bounded time and memory."""

from __future__ import annotations

import contextlib
import itertools
import random
import subprocess
import sys
import time
from collections.abc import Iterable

import pytest

from fastfw.ruleset import Ruleset, RulesetError
from fastfw.ruleset.apply import parse_command
from fastfw.ruleset.errors import Refusal
from ruleset import cases, generate, judge

WORDS = """
-A INPUT -s 1.2.3.4 ! -m tcp -p --dport 22 " \\ -j ACCEPT LOG --log-prefix "a -I 3 -D -R -E -P -Z -L -S -N -X -F -c 1 2
-t nat -4 -6 -- - = recent --set --name hashlimit --hashlimit-upto 5/s u32 --u32 0=1 bpf --bytecode 1,6 time DNAT
--to-destination [::1]:5 string --hex-string |zz| -g -f :x *filter COMMIT [1:2] set --match-set conntrack --ctstate NEW
rateest --rateest-bps --rateest policy --next --reqid statistic --mode nth --every SET --add-set x src
"""

COMMAND_WORDS = """
-A -I -D -L -S -t filter nat INPUT 3 -j ACCEPT -v -n -x --line-numbers -c 1 2 -Z -P DROP -m -p tcp --dport
"""


def attempt(text: str, family: int = 4) -> str:
    """ "" or the error's text; anything but a RulesetError fails the test."""
    fault: RulesetError | None = None
    try:
        Ruleset.parse(text, family).save()
    except RulesetError as error:
        fault = error
    if fault is None:
        return ""
    assert fault.line >= 1
    assert fault.column >= 1
    assert len(str(fault)) < 600
    return str(fault)


@pytest.fixture
def rng() -> random.Random:
    """A random source whose seed is printed."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    return random.Random(seed)


def test_random_bytes(rng: random.Random) -> None:
    """Random bytes, however decoded, are refused or read."""
    for _ in range(500):
        raw = rng.randbytes(rng.randrange(600))
        attempt(raw.decode("latin-1"))
        attempt("*filter\n" + raw.decode("utf-8", "surrogateescape") + "\nCOMMIT\n", rng.choice((4, 6)))


def test_characters() -> None:
    """Blanks, digits and letters are those of C alone."""
    for answer, rules in cases.CHARACTERS.items():
        for rule in rules:
            said = attempt(judge.ruleset("filter", "INPUT", [rule]))
            assert ("taken" if not said else "refused") == answer, f"{rule!r}: {said}"
    for line, name in ((":a\x1cb - [0:0]", "a\x1cb"), (":\va -", "\va")):
        assert name in Ruleset.parse(f"*filter\n{line}\nCOMMIT\n").tables["filter"].chains
    for text in (
        "*filter\r\nCOMMIT\n",
        "*filter\n:INPUT ACCEPT\r\nCOMMIT\n",
        "*filter\n:INPUT\x1cACCEPT [0:0]\nCOMMIT\n",
    ):
        assert attempt(text)


def test_random_words(rng: random.Random) -> None:
    """Words of the language in any order are refused or read."""
    words = WORDS.split()
    for _ in range(5000):
        line = " ".join(rng.choice(words) for _ in range(rng.randrange(14)))
        attempt(f"*{rng.choice(('filter', 'raw', 'mangle', 'nat'))}\n{line}\nCOMMIT\n", rng.choice((4, 6)))


def test_broken_rules(rng: random.Random) -> None:
    """Good rules with a piece cut out, doubled or exchanged are refused or read."""
    for _ in range(2000):
        family = rng.choice((4, 6))
        rule = generate.rule(rng, family)
        at, to = sorted((rng.randrange(len(rule) + 1), rng.randrange(len(rule) + 1)))
        rule = rng.choice(
            (rule[:at] + rule[to:], rule[:to] + rule[at:], rule[:at] + chr(rng.randrange(1, 300)) + rule[to:])
        )
        attempt(f"*filter\n:u1 - [0:0]\n:u2 - [0:0]\n-A INPUT {rule}\nCOMMIT\n", family)


@pytest.mark.parametrize(
    "line",
    [
        "-A INPUT -m comment --comment " + "a" * 5_000_000,
        "-A INPUT " + " " * 5_000_000,
        '-A INPUT -m comment --comment "' + '\\"' * 3_000_000,
        "-A INPUT" + " -s" * 2_000_000,
        ":" + "x" * 5_000_000,
        "[" + "1" * 5_000_000 + ":1] -A INPUT",
        "-A INPUT -m mark --mark " + "1" * 1000,
        "-A INPUT -m u32 --u32 " + "0=1&&" * 200,
        "-A INPUT -m string --algo bm --hex-string |" + "0" * 900,
    ],
    ids=lambda line: line[:40],
)
def test_long_lines(line: str, patience: int) -> None:
    """Lines and words beyond iptables-restore's own limits are refused at once."""
    begun = time.process_time()
    assert attempt(f"*filter\n{line}\nCOMMIT\n")
    assert time.process_time() - begun < 2 * patience


def test_deep_and_circular_jumps() -> None:
    """Ten thousand chains deep is read; the same closed to a circle is refused at the closing jump."""
    count = 10_000
    chains = "".join(f":c{index} - [0:0]\n" for index in range(count))
    jumps = "".join(f"-A c{index} -j c{index + 1}\n" for index in range(count - 1))
    assert attempt(f"*filter\n{chains}-A INPUT -j c0\n{jumps}COMMIT\n") == ""
    complaint = attempt(f"*filter\n{chains}-A INPUT -j c0\n{jumps}-A c{count - 1} -j c5000\nCOMMIT\n")
    assert complaint.startswith(f"{2 * count + 2}:1:")


def test_many_paths(patience: int) -> None:
    """A graph with more paths than atoms in the world is checked in the time of its jumps."""
    count = 120
    chains = "".join(f":c{index} - [0:0]\n" for index in range(count))
    jumps = "".join(f"-A c{one} -j c{two}\n" for one in range(count) for two in range(one + 1, count))
    begun = time.process_time()
    assert attempt(f"*filter\n{chains}-A INPUT -j c0\n{jumps}COMMIT\n") == ""
    assert time.process_time() - begun < 10 * patience


def test_ten_thousand_rules_load_fast(patience: int) -> None:
    """Ten thousand ordinary rules take well under a second of this process's time."""
    rule = "-A INPUT -s 10.1.{}.0/24 -p tcp -m tcp --dport {} -m state --state NEW -j ACCEPT\n"
    text = "*filter\n" + "".join(rule.format(index % 256, index) for index in range(10_000)) + "COMMIT\n"
    begun = time.process_time()
    Ruleset.parse(text)
    assert time.process_time() - begun < patience


def judged_by_command(pieces: Iterable[bytes], code: str) -> tuple[subprocess.CompletedProcess[bytes], float, int]:
    """What a Python program says that is fed the pieces; its processor time in seconds and its most memory in bytes."""
    # Not ru_maxrss: that begins with what this process, whose copy the other one was, has ever had.
    report = "\nimport re, sys, time; held = re.search(r'VmHWM:\\s*(\\d+) kB', open('/proc/self/status').read())[1]"
    report += "\nprint(time.process_time(), held, file=sys.stderr)"
    process = subprocess.Popen(
        [sys.executable, "-c", f"try:\n    {code}\nfinally:{report.replace(chr(10), chr(10) + '    ')}\n"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        for piece in pieces:
            process.stdin.write(piece)
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    process.stdin = None
    out, err = process.communicate(timeout=600)
    *said, figures = err.decode().splitlines()
    seconds, kilobytes = figures.split()
    done = subprocess.CompletedProcess(process.args, process.returncode, out, "\n".join(said).encode())
    return done, float(seconds), int(kilobytes) << 10


def test_a_line_without_an_end(patience: int) -> None:
    """A line of a gigabyte is one error with its place, long before all of it is read: little memory, little time."""
    before = b"*filter\n-A INPUT -j ACCEPT\n-A INPUT -m comment --comment "
    pieces = itertools.chain([before], itertools.repeat(b"a" * (1 << 20), 1024))
    check = "from fastfw.cli import main; sys.exit(main(['rules', 'check', '-']))"
    done, seconds, memory = judged_by_command(pieces, f"import sys; {check}")
    print(f"{seconds:.2f} s, {memory >> 20} MiB")
    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr.splitlines()[-1].endswith(b"standard input:3:1: line longer than 10239 bytes")
    assert seconds < 5 * patience
    assert memory < 256 << 20


@pytest.mark.long
def test_a_million_rules(patience: int) -> None:
    """A million different rules are read and compiled, and judge: less than 8 KiB and 200 microseconds a rule."""
    rule = "-A FORWARD -s 10.{}.{}.0/24 -p tcp -m tcp --dport {} -j ACCEPT\n"
    rules = (rule.format(i >> 12 & 255, i >> 4 & 255, 1 + i % 60_000).encode() for i in range(1_000_000))
    pieces = itertools.chain([b"*filter\n:FORWARD DROP [0:0]\n"], rules, [b"COMMIT\n"])
    code = "import fastfw, sys; fw = fastfw.Engine(rules4=fastfw.Ruleset.parse(sys.stdin.read())); "
    code += "print(len(fw.ruleset(4).tables['filter'].chains['FORWARD'].rules))"
    done, seconds, memory = judged_by_command(pieces, code)
    print(f"{seconds:.1f} s, {memory >> 20} MiB")
    assert done.stdout.split() == [b"1000000"], done.stderr.decode()
    assert seconds < 200 * patience
    assert memory < 8 << 30


def test_commands_of_random_words(rng: random.Random) -> None:
    """A command line of random words is a command or a Refusal that names a word."""
    words = COMMAND_WORDS.split()
    for _ in range(3000):
        line = [rng.choice(words) for _ in range(rng.randrange(8))]
        said = "a command"
        try:
            parse_command(line, Ruleset(4))
        except Refusal as refusal:
            said = str(refusal)
        assert said
