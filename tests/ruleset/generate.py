"""Random rules of every extension, mostly right, from templates.

In a template `[...]` is there or not, `(a|b|c)` is one of its parts, `{name}` a random value, `{!}` an exclamation
mark or nothing. Numbers are often at a border, so some rules are wrong; the real tool says which.
"""

from __future__ import annotations

import random
import re

MATCHES = {
    46: """
-m comment --comment {text}
-m state {!}--state {states}
-m conntrack [{!}--ctstate {states}] [{!}--ctproto {proto}] [{!}--ctorigsrc {hostmask}] [{!}--ctrepldst {hostmask}] \
[{!}--ctorigsrcport {u16range}] [{!}--ctrepldstport {u16range}] [{!}--ctstatus {statuses}] [{!}--ctexpire {u32range}] \
[--ctdir (ORIGINAL|REPLY|reply)]
-m mark {!}--mark {masked}
-m connmark {!}--mark {masked}
-m length {!}--length {u16range}
-m limit [--limit {rate}] [--limit-burst {burst}]
-m hashlimit (--hashlimit-upto|--hashlimit-above) ({rate}|{u16}(b|kb)/s) [--hashlimit-burst {burst}] \
[--hashlimit-mode (srcip|dstip,dstport|srcip,srcport)] --hashlimit-name {name} [--hashlimit-htable-size {u16}] \
[--hashlimit-htable-max {u16}] [--hashlimit-htable-expire {u16}] [--hashlimit-htable-gcinterval {u16}] \
[--hashlimit-rate-match [--hashlimit-rate-interval {byte}]]
-m recent {!}(--set|--rcheck [--seconds {u32}] [--hitcount {byte}] [--rttl]|--update --seconds {u16} [--reap]|\
--remove) [--name {name}] [--rdest]
-m addrtype {!}--src-type (LOCAL|UNICAST|MULTICAST|local,unicast) [{!}--dst-type (LOCAL|ANYCAST)]
-m pkttype {!}--pkt-type (unicast|broadcast|multicast|otherhost)
-m helper {!}--helper {name}
-m mac {!}--mac-source {mac}
-m dscp {!}(--dscp {six}|--dscp-class (EF|CS{digit}|AF{digit}{digit}|BE))
-m tos {!}--tos ({byte}|{byte}/{byte}|Minimize-Delay|normal-service)
-m statistic --mode (random {!}--probability 0.{u16}|nth {!}--every {byte} --packet {byte})
-m quota {!}--quota {u32}
-m string --algo (bm|kmp|fsm) {!}(--string {text}|--hex-string {hex}) [--from {u16}] [--to {u16}] [--icase]
-m time [--timestart {hour}:{minute}] [--timestop {hour}:{minute}:{minute}] [{!}--weekdays (Mon|Sa,Su|1,3,5|{digit})] \
[{!}--monthdays {byte},{digit}] [--datestart 20{digit}{digit}-{digit}-{digit}] [--kerneltz] [--contiguous]
-m connbytes {!}--connbytes {u32range} --connbytes-dir (both|original|reply) --connbytes-mode (packets|bytes|avgpkt)
-m connlimit {!}(--connlimit-above|--connlimit-upto) {u16} [--connlimit-mask {digit}] [--connlimit-(s|d)addr]
-m connlabel {!}--label {byte} [--set]
-m cluster --cluster-total-nodes {byte} {!}--cluster-local-node {digit} --cluster-hash-seed {u32}
-m cpu {!}--cpu {byte}
-m u32 {!}--u32 "{u16} (&|<<|>>|@) {u16} = {u32range}[,{u16}][ && {digit}={u32}]"
-m bpf --bytecode "{digit},6 0 0 {u32}"
-m physdev [{!}--physdev-in {iface}] [{!}--physdev-is-in] [{!}--physdev-is-bridged]
-m policy --dir in --pol (none|ipsec [--strict] [{!}--reqid {u16}] [{!}--spi {u32}] [{!}--proto (ah|esp|ipcomp)] \
[{!}--mode (tunnel [--tunnel-src {hostmask}]|transport)])
-m devgroup {!}--src-group {masked}
-m iprange [{!}--src-range {host}-{host}] [{!}--dst-range {host}]
-m socket [--transparent] [--nowildcard]
""",
    4: """
-m ttl ({!}--ttl-eq|--ttl-lt|--ttl-gt) {byte}
-m realm {!}--realm {masked}
""",
    6: """
-m hl ({!}--hl-eq|--hl-lt|--hl-gt) {byte}
-m frag [{!}--fragid {u32range}] [{!}--fraglen {u16}] [--fragres] [--fragfirst] [--fragmore]
-m hbh [{!}--hbh-len {byte}] [--hbh-opts {byte}:{byte},{digit}]
-m dst [{!}--dst-len {byte}] [--dst-opts {byte}:{byte},{digit}]
-m rt [{!}--rt-type {digit}] [{!}--rt-segsleft {u16range}] [{!}--rt-len {byte}]
-m rt --rt-type 0 [--rt-0-res] [--rt-0-addrs {host},{host} [--rt-0-not-strict]]
-m ah [{!}--ahspi {u32range}] [{!}--ahlen {byte}] [--ahres]
-m ipv6header {!}--header (hop|dst,route|frag,esp|none|prot) [--soft]
-m eui64
-m srh [{!}--srh-next-hdr {byte}] [{!}--srh-segs-left-(eq|gt|lt) {byte}] [{!}--srh-tag {u16}] [{!}--srh-psid {hostmask}]
""",
}

PROTOCOLS = {
    46: """
{!}-p {proto}
-p tcp [-m tcp] [{!}--sport {portrange}] [{!}--dport {portrange}] [{!}--tcp-option {byte}] \
[{!}(--syn|--tcp-flags (SYN,ACK SYN|ALL NONE|RST,FIN RST,FIN))]
-p udp [-m udp] [{!}--sport {portrange}] [{!}--dport {portrange}]
-p (tcp|udp|sctp|dccp) -m multiport {!}(--sports|--dports|--ports) {ports}
-p sctp [{!}--sport {portrange}] [{!}--chunk-types (any|all|only) (DATA,INIT|ALL|ABORT:T,SACK)]
-p dccp [{!}--sport {u16range}] [{!}--dccp-types (REQUEST|DATA,ACK)] [{!}--dccp-option {byte}]
-p esp [{!}--espspi {u32range}]
-p tcp -m tcpmss {!}--mss {u16range}
-p tcp -m ecn [{!}--ecn-tcp-cwr] [{!}--ecn-tcp-ece] [{!}--ecn-ip-ect {digit}]
""",
    4: """
-p icmp {!}--icmp-type ({byte}|{byte}/{byte}|echo-request|any|host-unreachable)
-p ah [{!}--ahspi {u32range}]
-p tcp -m osf {!}--genre (Linux|Windows) [--ttl {digit}] [--log {digit}]
-f
! -f
""",
    6: """
-p ipv6-icmp {!}--icmpv6-type ({byte}|{byte}/{byte}|echo-request|packet-too-big)
-p mh {!}--mh-type ({byte}|bu|{digit}:{digit})
""",
}

TARGETS = {
    46: """
-j ACCEPT
-j DROP
-j RETURN
-j u1
-g u2
-j LOG [--log-prefix {text}] [--log-level ({digit}|debug|warning)] [--log-tcp-sequence] [--log-uid] [--log-macdecode]
-j MARK (--set-xmark {masked}|--set-mark {masked}|--and-mark {u32}|--or-mark {u32}|--xor-mark {u32})
-j CONNMARK (--set-xmark {masked}|--set-mark {masked}|--save-mark [--mask {u32}]|--restore-mark [--nfmask {u32}] \
[--ctmask {u32}]|--and-mark {u32})
-j NFLOG [--nflog-group {u16}] [--nflog-prefix {text}] [--nflog-size {u16}] [--nflog-threshold {byte}]
-j NFQUEUE [--queue-num {u16}] [--queue-bypass]
-j NFQUEUE --queue-balance {u16range} [--queue-bypass] [--queue-cpu-fanout]
-j AUDIT --type (accept|drop|reject)
-j TOS (--set-tos {byte}[/{byte}]|--and-tos {byte}|--or-tos {byte}|--xor-tos {byte}|--set-tos Minimize-Cost)
-j DSCP (--set-dscp {six}|--set-dscp-class CS{digit})
-j TEE --gateway {host} [--oif {iface}]
-j HMARK (--hmark-tuple (src,dst|sport|ct,src)|--hmark-src-prefix {digit} [--hmark-spi-mask {u32}]) --hmark-mod {u16} \
--hmark-rnd {u32} [--hmark-offset {u16}]
-j CT [--notrack] [--zone {u16}] [--ctevents (new|destroy,reply)]
-j REJECT
""",
    4: """
-j TTL (--ttl-set|--ttl-inc|--ttl-dec) {byte}
-j REJECT --reject-with icmp-(net|host|port|proto)-unreachable
""",
    6: """
-j HL (--hl-set|--hl-inc|--hl-dec) {byte}
-j REJECT --reject-with icmp6-(no-route|adm-prohibited|port-unreachable)
""",
}

_BORDERS = {8: (0, 1, 127, 255, 256), 16: (0, 1, 80, 65535, 65536), 32: (0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 32)}
_PART = re.compile(r"\[|\]|\(|\)|\||\{([a-z0-9]+|!)\}")


def _number(rng: random.Random, bits: int) -> str:
    if rng.random() < 0.2:
        value = rng.choice(_BORDERS[bits][:4] if rng.random() < 0.9 else _BORDERS[bits])
    else:
        value = rng.getrandbits(rng.randrange(1, bits + 1))
    return rng.choice((str, str, str, hex))(value)


def _range(rng: random.Random, bits: int) -> str:
    low, high = sorted((int(_number(rng, bits), 0), int(_number(rng, bits), 0)))
    return rng.choice((f"{low}", f"{low}:{high}", f"{low}:{high}", f":{high}", f"{low}:", f"{high}:{low}"))


def _host(rng: random.Random, family: int) -> str:
    if family == 4:
        return ".".join(str(rng.choice((0, 10, 192, 255, rng.randrange(256)))) for _ in range(4))
    words = [rng.choice((0, 0, 0x2001, 0xDB8, rng.getrandbits(16))) for _ in range(8)]
    return ":".join(f"{word:x}" for word in words)


def _value(name: str, rng: random.Random, family: int) -> str:
    number = {"byte": 8, "u16": 16, "u32": 32}.get(name)
    if number:
        return _number(rng, number)
    if name.endswith("range") and name[0] == "u":
        return _range(rng, int(name[1:3]))
    length = rng.randrange(33 if family == 4 else 129)
    lists = {
        "!": rng.choice(("", "", "! ")),
        "digit": str(rng.randrange(10)),
        "six": str(rng.randrange(66)),
        "hour": str(rng.randrange(25)),
        "minute": f"{rng.randrange(61):02}",
        "masked": _number(rng, 32) + rng.choice(("", f"/{_number(rng, 32)}")),
        "rate": f"{rng.randrange(1, 12000)}" + rng.choice(("", "/s", "/sec", "/min", "/hour", "/day")),
        "burst": str(rng.choice((1, 5, 20, 100, 10001))),
        "name": f"n{rng.randrange(10**9)}",
        "iface": rng.choice(("eth0", "br-lan", "tun+", "+", "wlan0.10")),
        "mac": ":".join(f"{rng.randrange(256):02X}" for _ in range(6)),
        "states": ",".join(rng.sample(("NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED"), rng.randrange(1, 4))),
        "statuses": ",".join(rng.sample(("EXPECTED", "SEEN_REPLY", "ASSURED", "CONFIRMED"), rng.randrange(1, 3))),
        "proto": rng.choice(("tcp", "udp", "6", "gre", "sctp", "esp", str(rng.randrange(1, 256)))),
        "portrange": rng.choice((_range(rng, 16), "ssh", "domain", "1024:")),
        "ports": ",".join(
            rng.choice(("22", "80", "443:445", "ssh", "1024:65535")) for _ in range(rng.randrange(1, 10))
        ),
        "host": _host(rng, family),
        "hostmask": f"{_host(rng, family)}/{length}" if rng.random() < 0.6 else _host(rng, family),
        "text": rng.choice(
            ("plain", '"two words"', '"it\'s"', '"say \\"hi\\""', "a-b_c", "dots.and,commas", '"tab\there"')
        ),
        "hex": rng.choice(('"|0d0a|x"', "plain", '"|00 ff|"', '"a|41|b"')),
    }
    return lists[name]


def expand(template: str, rng: random.Random, family: int) -> str:
    """A template with all its choices made."""

    def alternatives(at: int, end: str) -> tuple[str, int]:
        options = [""]
        while at < len(template):
            found = _PART.search(template, at)
            if found is None:
                options[-1] += template[at:]
                return options[-1], len(template)
            options[-1] += template[at : found.start()]
            at = found.end()
            token = found[0]
            if token == end:
                return rng.choice(options), at
            if token in "[(":
                inner, at = alternatives(at, {"[": "]", "(": ")"}[token])
                if token == "(" or rng.random() < 0.5:
                    options[-1] += inner
            elif token == "|":
                options.append("")
            elif token in "])":
                options[-1] += token
            else:
                options[-1] += _value(found[1], rng, family)
        return options[-1], at

    return alternatives(0, "")[0].strip()


def _templates(table: dict[int, str], family: int) -> list[str]:
    return [line for key in (46, family) for line in table[key].strip().split("\n")]


def rule(rng: random.Random, family: int) -> str:
    """One rule, without `-A CHAIN`."""
    parts = []
    if rng.random() < 0.4:
        parts.append(rng.choice(("", "! ")) + f"-s {_value('hostmask', rng, family)}")
    if rng.random() < 0.4:
        parts.append(f"-d {_value('hostmask', rng, family)}")
    if rng.random() < 0.2:
        parts.append(f"{rng.choice(('', '! '))}-i {_value('iface', rng, family)}")
    if rng.random() < 0.6:
        parts.append(expand(rng.choice(_templates(PROTOCOLS, family)), rng, family))
    for _ in range(rng.choice((0, 1, 1, 1, 2))):
        parts.append(expand(rng.choice(_templates(MATCHES, family)), rng, family))
    if rng.random() < 0.8:
        parts.append(expand(rng.choice(_templates(TARGETS, family)), rng, family))
    return re.sub(" +", " ", " ".join(parts)) if '"' not in " ".join(parts) else " ".join(parts)
