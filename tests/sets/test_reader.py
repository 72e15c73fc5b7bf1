"""The text of sets: what is read is printed again, and what is none is refused with its place."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from tests.kernel.test_sets import content

from fastfw.sets import SetError, Sets
from fastfw.sets.types import NAMES

EVERY = r"""# every type and option
create a hash:ip family inet6 hashsize 64 maxelem 100 netmask 64 timeout 300 counters comment skbinfo bucketsize 4
create b hash:ip bitmask 255.0.255.0
create c hash:net timeout 0
create d hash:ip,port netmask 24
create d6 hash:ip,port -6
create e hash:net,port
create f hash:ip,port,ip
create g hash:ip,port,net
create h hash:net,iface counters
create i bitmap:ip range 10.0.0.0/24 timeout 10 counters
create j bitmap:ip range 10.0.0.0-10.0.3.255 netmask 28
create k bitmap:ip,mac range 10.0.0.0/24 comment
create l bitmap:port range 1-1000
create m list:set size 4

add a fd00::1 timeout 0 packets 5 bytes 6 comment "hello \ there" skbmark 0x1/0xff skbprio 1:1f skbqueue 3
add a fd01::1 timeout 0 skbmark 0x11
add b 10.1.2.3
add c 10.0.0.0/24
add c 10.0.0.9/25 nomatch
add c 10.1.0.0-10.1.0.6
add c 10.9.9.9
add d 10.0.0.1,80
add d 10.0.1.1,tcp:81-83
add d 10.0.0.1,udp:domain
add d 10.0.0.1,icmp:8/0
add d 10.0.0.1,icmp:echo-reply
add d 10.0.0.1,icmp:3/3
add d 10.0.0.1,47:0
add d 10.0.0.1,udplite:7
add d 10.0.0.1,200:0
add d6 fd00::1,icmpv6:echo-request
add d6 fd00::1,icmpv6:200/2
add e 10.0.0.0/24,udp:53
add e 10.0.0.0/23,sctp:55 nomatch
add f 10.0.0.1-10.0.0.2,80,10.0.0.2
add g 10.0.0.1,80,10.0.0.0/24
add h 10.0.0.0/24,physdev:eth1
add h 10.0.0.0/24,et wildcard
add h 0.0.0.0/0,eth5 nomatch
add i 10.0.0.2-10.0.0.3 timeout 0
add j 10.0.0.17
add k 10.0.0.1
add k 10.0.0.2,01:02:03:0a:0B:0c comment "x"
add l udp:53
add l 90-92
add m a
add m b
add m c before a
del l 91
"""


def test_what_is_printed_reads_as_the_same() -> None:
    """Sets of every type survive being printed and read."""
    sets = Sets.parse(EVERY)
    assert Sets.parse(sets.save()).save() == sets.save()
    assert [element.set_name for element in sets["m"].elements] == ["c", "a", "b"]
    assert len(sets["d"].elements) == 11


@pytest.mark.kernel
@pytest.mark.skipif(shutil.which("ipset") is None, reason="the real ipset is not installed")
def test_the_real_ipset_prints_the_same() -> None:
    """The same sets come out of the real ipset, elements in whatever order."""
    script = "ipset restore && ipset save"
    real = subprocess.run(["unshare", "-n", "sh", "-c", script], input=EVERY, capture_output=True, text=True)
    if "type not supported" in real.stderr or "unshare" in real.stderr:
        pytest.skip(real.stderr.strip())
    assert not real.stderr
    assert content(Sets.parse(EVERY).save()) == content(real.stdout)


ODD = {
    "add a 10.0.0.1,tcp:5\r": True,
    "\v\fadd a 10.0.0.1,tcp:5": True,
    "add\ra 10.0.0.1,+6:5": True,
    'add a 10.0.0.1,06:5 comment "a\x1cb"': True,
    "add a 10.0.0.1,6:5 comment a\xa0b\vc": True,
    "\v": True,
    "\x1c": False,
    "add\fa 10.0.0.1,tcp:5": False,
    "add a\x1c10.0.0.1,tcp:5": False,
    "add a 10.0.0.1,tcp:5 \xa0": False,
    "add a 10.0.0.1,٦:5": False,
}
"""Lines with characters by which C and Python part, and whether they are taken."""


@pytest.mark.parametrize("line", ODD)
def test_blanks_and_digits_are_those_of_c(line: str) -> None:
    """Tabs, spaces and carriage returns stand between words, other blanks only in front of a line."""
    if ODD[line]:
        assert len(Sets.parse(f"create a hash:ip,port comment\n{line}\n")["a"].elements) == (len(line) > 1)
        return
    with pytest.raises(SetError) as found:
        Sets.parse(f"create a hash:ip,port comment\n{line}\n")
    assert found.value.line == 2


@pytest.mark.kernel
@pytest.mark.parametrize("line", ODD)
def test_the_real_ipset_takes_the_same(line: str) -> None:
    """And no other."""
    text = f"create a hash:ip,port comment\n{line}\n"
    real = subprocess.run(["unshare", "-n", "ipset", "restore"], input=text.encode(), capture_output=True, check=False)
    if b"type not supported" in real.stderr or b"unshare" in real.stderr:
        pytest.skip(real.stderr.decode().strip())
    assert (real.returncode == 0) == ODD[line], real.stderr


UNJUDGED = """create a hash:net,net bitmask 255.0.0.0
create b hash:net,port,net counters
create c hash:ip,mark markmask 0x0000ff00
create d hash:ip,mac
create e hash:mac timeout 5
add a 10.1.2.0/24,10.3.0.0/16 nomatch
add b 0.0.0.0/0,tcp:80,10.0.0.0/8 packets 1 bytes 2
add c 10.0.0.1,0x00000400
add d 10.0.0.1,01:02:03:04:05:06
add e 01:02:03:04:05:06 timeout 5
"""


def test_types_that_few_kernels_have_are_read_and_printed() -> None:
    """Their text follows the documentation of ipset."""
    saved = Sets.parse(UNJUDGED).save()
    assert Sets.parse(saved).save() == saved
    assert "add a 10.0.0.0/24,10.0.0.0/16 nomatch" in saved
    assert "add c 10.0.0.1,0x00000400" in saved
    assert {line.split()[2] for line in (EVERY + UNJUDGED).splitlines() if line.startswith("create")} == set(NAMES)


WRONG = {
    "create a hash:ip\nadd b 10.0.0.1": (2, 5, "set `b' has not been created"),
    "create a hash:ip\nadd a 10.0.0.256": (2, 7, "is not an IPv4 address"),
    "create a hash:ip\nadd a 0.0.0.0": (2, 7, "the address of zeros is in no set"),
    "create a hash:ip\nadd a 10.0.0.1 timeout 5": (2, 16, "created without timeout"),
    "create a hash:ip\nadd a 10.0.0.1\n\nadd a 10.0.0.1": (4, 7, "is there already"),
    "create a hash:ip\ncreate a hash:net": (2, 8, "set `a' is there already"),
    "create a hash:ipp": (1, 10, "no type of set: expected one of bitmap:ip"),
    "create a hash:ip maxelem 2\nadd a 10.0.0.4/30": (2, 7, "set `a' is full: maxelem is 2"),
    "create a hash:ip\nadd a 10.0.0.0/8": (2, 7, "more than the set takes"),
    "create a bitmap:ip": (1, 8, "bitmap:ip needs a range"),
    "create a bitmap:ip range 10.0.0.0/8": (1, 8, "at most 65536 expected"),
    "create a bitmap:port range 1-5\nadd a 6": (2, 7, "outside the range"),
    "create a hash:net\nadd a 0.0.0.0/0": (2, 7, "does not take the network of all addresses"),
    "create a hash:ip\nadd a 10.0.0.1 nomatch": (2, 16, "no option of an element of hash:ip"),
    "create a hash:ip family inet7": (1, 25, "inet or inet6 expected"),
    "create a hash:ip netmask 33": (1, 26, "is not a number from 1 to 32"),
    "create a hash:ip netmask 8 bitmask 255.0.0.0": (1, 36, "exclude each other"),
    "create a hash:ip,port\nadd a 10.0.0.1": (2, 7, "has 1 parts: hash:ip,port expects ip,port"),
    "create a hash:ip,port\nadd a 10.0.0.1,icmp:80": (2, 7, "expected its name or type/code"),
    "create a hash:ip,port\nadd a 10.0.0.1,gre:5": (2, 7, "has no ports, expected gre:0"),
    "create a hash:mac\nadd a 00:00:00:00:00:00": (2, 7, "address of zeros"),
    "create a list:set\nadd a a": (2, 7, "lists are no elements of lists"),
    "create a list:set\nadd a b": (2, 7, "has not been created"),
    'create a hash:ip comment\nadd a 10.0.0.1 comment "x': (2, 24, "no closing quotation mark"),
    "create a hash:ip skbinfo\nadd a 10.0.0.1 skbmark 5": (2, 24, "begin with 0x"),
    "create a hash:ip\nadd a 10.0.0.1 packets": (2, 16, "created without counters"),
    "create a hash:ip counters\nadd a 10.0.0.1 packets": (2, 23, "a number of packets expected"),
    "create a hash:ip\ndel a 10.0.0.1": (2, 7, "the element is not there"),
    "swap a b": (1, 1, "expected create, add, del or flush"),
    "add": (1, 4, "a set's name expected"),
    f"create {'a' * 32} hash:ip": (1, 8, "must have 1 to 31 bytes"),
    "create a hash:ip\nflush a b": (2, 9, "nothing more was expected"),
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_set_is_refused_with_its_place(text: str) -> None:
    """Line, column and what was expected."""
    line, column, reason = WRONG[text]
    with pytest.raises(SetError) as found:
        Sets.parse(text)
    assert (found.value.line, found.value.column) == (line, column), found.value
    assert reason in found.value.reason
