"""Matches and targets in the words of `iptables -L`, with numbers or with names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastfw.ruleset.address import address_text
from fastfw.ruleset.ext import (
    addrtype,
    audit,
    comment,
    connbytes,
    connlimit,
    connmark,
    conntrack,
    ct,
    dscp,
    ecn,
    group,
    hashlimit,
    helper,
    icmp,
    iprange,
    ipsec,
    length,
    limit,
    local,
    log,
    mac,
    mark,
    multiport,
    nat,
    nflog,
    physdev,
    pkttype,
    policy,
    quota,
    recent,
    reject,
    sctp,
    statistic,
    string,
    synproxy,
    tcp,
    tcpmss,
    time,
    tos,
    ttl,
    u32,
    udp,
)
from fastfw.ruleset.ext.base import Extension
from fastfw.ruleset.ext.values import Range
from fastfw.ruleset.names import service_name
from fastfw.ruleset.numbers import UINT32, masked_text, range_text

Describer = Callable[[Any, bool, int], str]
"""(extension, with numbers, family) -> its words."""


def _port(port: int, numeric: bool, protocol: str) -> str:
    return str(port) if numeric else service_name(port, protocol) or str(port)


def _ports(label: str, ports: Range | None, invert: bool, numeric: bool, protocol: str) -> str:
    if ports is None or ports == tcp.ALL_PORTS:
        return ""
    low, high = ports
    no = "!" * invert
    if low == high:
        return f" {label}:{no}{_port(low, numeric, protocol)}"
    return f" {label}s:{no}{_port(low, numeric, protocol)}:{_port(high, numeric, protocol)}"


def _transport(e: tcp.Tcp | udp.Udp | sctp.Sctp, numeric: bool) -> str:
    name = e.name
    source = _ports("spt", e.sport, e.sport_invert, numeric, name)
    return name + source + _ports("dpt", e.dport, e.dport_invert, numeric, name)


def _flags(value: int, numeric: bool) -> str:
    if numeric:
        return f"0x{value:02X}"
    return ",".join(word for word, bit in tcp.FLAGS.items() if value & bit) or "NONE"


def _tcp(e: tcp.Tcp, numeric: bool, family: int) -> str:
    out = _transport(e, numeric)
    if e.option:
        out += f" option={'!' * e.option_invert}{e.option}"
    if e.flags[0] or e.flags_invert:
        mask, compare = e.flags
        out += f" flags:{'!' * e.flags_invert}{_flags(mask, numeric)}/{_flags(compare, numeric)}"
    return out


def _udp(e: udp.Udp, numeric: bool, family: int) -> str:
    return _transport(e, numeric)


def _icmp_words(label: str, names: dict[str, icmp.Message], e: Any, numeric: bool) -> str:
    kind, codes = e.type
    if not numeric:
        for name, message in names.items():
            if message == e.type:
                return f"{label} {'!' * e.invert}{name}"
    code = (
        ""
        if codes == icmp.ANY_CODE
        else f" code {codes[0]}"
        if codes[0] == codes[1]
        else f" codes {codes[0]}-{codes[1]}"
    )
    return f"{label}{' !' * e.invert}type {kind}{code}"


def _icmp(e: icmp.Icmp, numeric: bool, family: int) -> str:
    return _icmp_words("icmp", icmp.ICMP, e, numeric)


def _icmp6(e: icmp.Icmp6, numeric: bool, family: int) -> str:
    return _icmp_words("ipv6-icmp", icmp.ICMPV6, e, numeric)


def _options(label: str = "", drop: str = "--") -> Describer:
    """The saved options with their dashes taken away."""

    def describe(e: Extension, numeric: bool, family: int) -> str:
        return f"{label}{e.save(family).strip().replace(drop, '')}"

    return describe


def _multiport(e: multiport.Multiport, numeric: bool, family: int) -> str:
    option = next(name for name, side in multiport.SIDES.items() if side == e.side)
    ports = ",".join(
        _port(low, numeric, "tcp") + ("" if low == high else f":{_port(high, numeric, 'tcp')}") for low, high in e.ports
    )
    return f"multiport {option} {' !' * e.invert}{ports}"


def _comment(e: comment.Comment, numeric: bool, family: int) -> str:
    return f"/* {e.comment} */"


def _mark(e: mark.Mark, numeric: bool, family: int) -> str:
    return f"mark match{' !' * e.invert} {masked_text(*e.mark)}"


def _connmark(e: connmark.ConnMark, numeric: bool, family: int) -> str:
    return f"connmark match {'!' * e.invert} {masked_text(*e.mark)}"


def _limit(e: limit.Limit, numeric: bool, family: int) -> str:
    return f"limit: avg {limit.rate_text(e.interval)} burst {e.burst}"


def _hashlimit(e: hashlimit.HashLimit, numeric: bool, family: int) -> str:
    words = e.save(family).split()
    rate = words[1] if e.in_bytes or e.rate_match else limit.rate_text(e.average, hashlimit.SCALE)
    out = f"limit: {'above' if e.above else 'up to'} {rate} burst {e.burst}"
    if e.mode:
        out += " mode " + "-".join(word for word, bit in hashlimit.MODES.items() if e.mode & bit)
    return out


def _length(e: length.Length, numeric: bool, family: int) -> str:
    return f"length {'!' * e.invert}{range_text(e.length)}"


def _iprange(e: iprange.IpRange, numeric: bool, family: int) -> str:
    sides = (("source", e.source, e.source_invert), ("destination", e.destination, e.destination_invert))
    return " ".join(
        f"{side} IP range{' !' * invert} {address_text(pair[0], family)}-{address_text(pair[1], family)}"
        for side, pair, invert in sides
        if pair is not None
    )


def _hops(e: Any, numeric: bool, family: int) -> str:
    sign = {"eq": "!=" if e.invert else "==", "lt": "<", "gt": ">"}[e.mode]
    name = e.name.upper()
    return f"{name} match {name} {sign} {e.value}"


def _set_hops(e: Any, numeric: bool, family: int) -> str:
    action = {"set": "set to", "inc": "increment by", "dec": "decrement by"}[e.mode]
    return f"{e.name} {action} {e.value}"


def _mac(e: mac.Mac, numeric: bool, family: int) -> str:
    return f"MAC{' !' * e.invert} {e.source.hex(':')}"


def _addrtype(e: addrtype.AddrType, numeric: bool, family: int) -> str:
    out = "ADDRTYPE match"
    for side, types, invert in (("src", e.source, e.source_invert), ("dst", e.destination, e.destination_invert)):
        if types:
            words = ",".join(word for word, bit in addrtype.TYPES.items() if types & bit)
            out += f" {side}-type {'!' * invert}{words}"
    return out + " limit-in" * e.limit_in + " limit-out" * e.limit_out


def _recent(e: recent.Recent, numeric: bool, family: int) -> str:
    action = {"set": "SET", "rcheck": "CHECK", "update": "UPDATE", "remove": "REMOVE"}[e.action]
    out = f"{'! ' * e.invert}recent: {action}"
    if e.seconds:
        out += f" seconds: {e.seconds}" + " reap" * e.reap
    if e.hitcount:
        out += f" hit_count: {e.hitcount}"
    full = (1 << (32 if family == 4 else 128)) - 1
    side = "source" if e.side == "rsource" else "dest"
    mask = address_text(full if e.mask is None else e.mask, family)
    return out + " TTL-Match" * e.rttl + f" name: {e.list_name} side: {side} mask: {mask}"


def _helper(e: helper.Helper, numeric: bool, family: int) -> str:
    return f'helper match{" !" * e.invert} "{e.helper}"'


def _pkttype(e: pkttype.PktType, numeric: bool, family: int) -> str:
    name = next(word for word, number in pkttype.TYPES.items() if number == e.type)
    return f"PKTTYPE {'!=' if e.invert else '='} {name}"


def _dscp(e: dscp.Dscp, numeric: bool, family: int) -> str:
    return f"DSCP match {'!' * e.invert}0x{e.dscp:02x}"


def _set_dscp(e: dscp.SetDscp, numeric: bool, family: int) -> str:
    return f"DSCP set 0x{e.dscp:02x}"


def _tos(e: tos.Tos, numeric: bool, family: int) -> str:
    value, mask = e.tos
    if not numeric and mask == tos.SYMBOL_MASK:
        for symbol, number in tos.SYMBOLS.items():
            if number == value:
                return f"tos match{'!' * e.invert} {symbol.title()}"
    return f"tos match{'!' * e.invert}0x{value:02x}/0x{mask:02x}"


def _set_tos(e: tos.SetTos, numeric: bool, family: int) -> str:
    value, mask = e.tos
    if not numeric:
        if not value:
            return f"TOS and 0x{~mask & 0xFF:02x}"
        if value == mask:
            return f"TOS or 0x{value:02x}"
        if not mask:
            return f"TOS xor 0x{value:02x}"
    return f"TOS set 0x{value:02x}/0x{mask:02x}"


def _string(e: string.String, numeric: bool, family: int) -> str:
    pattern = string.shown(e.pattern).partition(" ")[2]
    out = f"STRING match {'!' * e.invert} {pattern} ALGO name {e.algorithm}"
    if e.start:
        out += f" FROM {e.start}"
    if e.end != 0xFFFF:
        out += f" TO {e.end}"
    return out + " ICASE" * e.ignore_case


def _time(e: time.Time, numeric: bool, family: int) -> str:
    words = e.save(family).replace("--timestart", "from").replace("--timestop", "to").replace("--weekdays", "on")
    words = words.replace("--monthdays", "on").replace("--datestart", "starting from")
    words = words.replace(f" --datestop {time.date_text(time.LAST_DATE)}", "").replace("--datestop", "until date")
    if not e.kerneltz:
        words += " UTC"
    return f"TIME{words.replace('--', '')}"


def _connlimit(e: connlimit.ConnLimit, numeric: bool, family: int) -> str:
    bits = (32 if family == 4 else 128) if e.length is None else e.length
    return f"#conn {'dst' if e.destination else 'src'}/{bits} {'>' if e.above else '<='} {e.limit}"


def _connbytes(e: connbytes.ConnBytes, numeric: bool, family: int) -> str:
    count = e.save(family).split("--connbytes ")[1].split()[0]
    return f"{'! ' * e.invert}connbytes {count} connbytes mode {e.mode} connbytes direction {e.direction}"


def _quota(e: quota.Quota, numeric: bool, family: int) -> str:
    return f"quota: {e.quota} bytes"


def _physdev(e: physdev.PhysDev, numeric: bool, family: int) -> str:
    return f"PHYSDEV match{e.save(family)}"


def _spi(e: Any, numeric: bool, family: int) -> str:
    if e.spi == ipsec.ALL_SPIS:
        return str(e.name)
    low, high = e.spi
    no = "!" * e.spi_invert
    return f"{e.name} spi{'' if low == high else 's'}:{no}{range_text(e.spi)}"


def _tcpmss(e: tcpmss.TcpMss, numeric: bool, family: int) -> str:
    return f"tcpmss match {'!' * e.invert}{range_text(e.mss)}"


def _set_tcpmss(e: tcpmss.SetTcpMss, numeric: bool, family: int) -> str:
    return "TCPMSS clamp to PMTU" if e.mss is None else f"TCPMSS set {e.mss}"


def _sctp(e: sctp.Sctp, numeric: bool, family: int) -> str:
    out = _transport(e, numeric)
    if e.chunks is not None:
        chunks = sctp.shown(e.chunks)
        if numeric and e.chunks.types and e.chunks.types != sctp.EVERY:
            kinds = (f"0x{sctp.CHUNKS[name]:04x}{flags}" for name, flags in sctp.named(e.chunks))
            chunks = f"{e.chunks.mode} {','.join(kinds)}"
        out += f" {'!' * e.chunks_invert}{chunks}"
    return out


def _ecn(e: ecn.Ecn, numeric: bool, family: int) -> str:
    out = "ECN match"
    if e.ece:
        out += f" {'!' * e.ece_invert}ECE"
    if e.cwr:
        out += f" {'!' * e.cwr_invert}CWR"
    if e.ect is not None:
        out += f" {'!' * e.ect_invert}ECT={e.ect}"
    return out


def _log(e: log.Log, numeric: bool, family: int) -> str:
    flags = (e.tcp_sequence, e.tcp_options, e.ip_options, e.uid, e.macdecode)
    prefix = f' prefix "{e.prefix}"' if e.prefix else ""
    if numeric:
        bits = sum(bit for bit, given in zip((1, 2, 4, 8, 32), flags, strict=True) if given)
        return f"LOG flags {bits} level {e.level}{prefix}"
    words = ("tcp-sequence", "tcp-options", "ip-options", "uid", "macdecode")
    level = ("emerg", "alert", "crit", "err", "warn", "notice", "info", "debug")[e.level]
    return (
        f"LOG level {level}" + "".join(f" {word}" for word, given in zip(words, flags, strict=True) if given) + prefix
    )


def _reject(e: reject.Reject, numeric: bool, family: int) -> str:
    return f"reject-with {e.answer or reject.DEFAULT[family]}"


def _xmark(name: str, value: int, mask: int) -> str:
    if not value:
        return f"{name} and {~mask & UINT32:#x}"
    if value == mask:
        return f"{name} or {value:#x}"
    if not mask:
        return f"{name} xor {value:#x}"
    return f"{name} set {value:#x}" if mask == UINT32 else f"{name} xset {value:#x}/{mask:#x}"


def _set_mark(e: mark.SetMark, numeric: bool, family: int) -> str:
    return _xmark("MARK", *e.mark)


def _set_connmark(e: connmark.SetConnMark, numeric: bool, family: int) -> str:
    if e.mode == "set":
        out = _xmark("CONNMARK", e.value, e.ctmask)
    elif e.ctmask == e.nfmask:
        out = f"CONNMARK {e.mode}" + ("" if e.nfmask == UINT32 else f" mask {e.nfmask:#x}")
    elif e.mode == "save":
        out = f"CONNMARK save nfmask {e.nfmask:#x} ctmask ~{e.ctmask:#x}"
    else:
        out = f"CONNMARK restore ctmask {e.ctmask:#x} nfmask ~{e.nfmask:#x}"
    if e.shift:
        out += f" {'left' if e.shift > 0 else 'right'}-shift {abs(e.shift)}"
    return out


def _nfqueue(e: nflog.NfQueue, numeric: bool, family: int) -> str:
    queues = f"num {e.first}" if e.first == e.last else f"balance {e.first}:{e.last}"
    return f"NFQUEUE {queues}" + " bypass" * e.bypass + " cpu-fanout" * e.cpu_fanout


def _to(e: Any, numeric: bool, family: int) -> str:
    to = nat.shown_prefix(e.to, family) if isinstance(e, nat.NetMap) else e.to.text(family)
    return f"to:{to}{_random(e)}"


def _random(e: Any) -> str:
    words = ("random", "random_fully", "persistent")
    return "".join(f" {word.replace('_', '-')}" for word in words if getattr(e, word, False))


def _redirect(e: nat.Redirect, numeric: bool, family: int) -> str:
    ports = "" if e.ports is None else f"redir ports {nat.ports_text(e.ports)}"
    return f"{ports}{_random(e)}".strip()


def _masquerade(e: nat.Masquerade, numeric: bool, family: int) -> str:
    ports = "" if e.ports is None else f" masq ports: {nat.ports_text(e.ports)}"
    return f"{ports}{_random(e)}"


def _classify(e: audit.Classify, numeric: bool, family: int) -> str:
    return f"CLASSIFY set {e.priority >> 16:x}:{e.priority & 0xFFFF:x}"


def _tee(e: synproxy.Tee, numeric: bool, family: int) -> str:
    return f"TEE gw:{address_text(e.gateway, family)}" + (f" oif={e.interface}" if e.interface else "")


def _tproxy(e: synproxy.TProxy, numeric: bool, family: int) -> str:
    return f"TPROXY redirect {address_text(e.address, family)}:{e.port} mark {e.mark[0]:#x}/{e.mark[1]:#x}"


def _nothing(e: Extension, numeric: bool, family: int) -> str:
    return ""


_WORDS: dict[type[Extension], Describer] = {
    tcp.Tcp: _tcp,
    udp.Udp: _udp,
    sctp.Sctp: _sctp,
    icmp.Icmp: _icmp,
    icmp.Icmp6: _icmp6,
    conntrack.State: _options(),
    conntrack.Conntrack: _options(),
    multiport.Multiport: _multiport,
    comment.Comment: _comment,
    mark.Mark: _mark,
    connmark.ConnMark: _connmark,
    limit.Limit: _limit,
    hashlimit.HashLimit: _hashlimit,
    length.Length: _length,
    iprange.IpRange: _iprange,
    ttl.Ttl: _hops,
    ttl.Hl: _hops,
    ttl.SetTtl: _set_hops,
    ttl.SetHl: _set_hops,
    mac.Mac: _mac,
    addrtype.AddrType: _addrtype,
    recent.Recent: _recent,
    helper.Helper: _helper,
    pkttype.PktType: _pkttype,
    dscp.Dscp: _dscp,
    dscp.SetDscp: _set_dscp,
    tos.Tos: _tos,
    tos.SetTos: _set_tos,
    string.String: _string,
    statistic.Statistic: _options("statistic "),
    time.Time: _time,
    connlimit.ConnLimit: _connlimit,
    connbytes.ConnBytes: _connbytes,
    quota.Quota: _quota,
    ecn.Ecn: _ecn,
    policy.Policy: _options("policy match "),
    group.DevGroup: _options(),
    group.Realm: _options(),
    local.Cpu: _options(),
    physdev.PhysDev: _physdev,
    ipsec.Esp: _spi,
    ipsec.Ah4: _spi,
    tcpmss.TcpMss: _tcpmss,
    tcpmss.SetTcpMss: _set_tcpmss,
    u32.U32: _options(),
    log.Log: _log,
    reject.Reject: _reject,
    mark.SetMark: _set_mark,
    connmark.SetConnMark: _set_connmark,
    nflog.NfLog: _options(),
    nflog.NfQueue: _nfqueue,
    nat.Dnat: _to,
    nat.Snat: _to,
    nat.NetMap: _to,
    nat.Redirect: _redirect,
    nat.Masquerade: _masquerade,
    audit.Audit: _options("AUDIT ", "--type "),
    audit.Checksum: _options("CHECKSUM ", "--checksum-"),
    audit.Classify: _classify,
    audit.Trace: _nothing,
    synproxy.Tee: _tee,
    synproxy.TProxy: _tproxy,
    ct.Ct: _options("CT "),
    ct.NoTrack: _options("NOTRACK"),
}
"""Those whose words are not simply their name and their options as they are saved."""


def describe(extension: Extension, numeric: bool, family: int) -> str:
    """An extension's words; those that have none of their own say their name and their options."""
    words = _WORDS.get(type(extension))
    if words is not None:
        return words(extension, numeric, family)
    return f"{extension.name}{extension.save(family)}"
