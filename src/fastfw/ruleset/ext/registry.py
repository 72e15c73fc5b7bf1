"""Every extension by name and family."""

from __future__ import annotations

from collections.abc import Iterable

from fastfw.ruleset.ext import (
    addrtype,
    audit,
    bpf,
    cluster,
    comment,
    connbytes,
    connlabel,
    connlimit,
    connmark,
    connsecmark,
    conntrack,
    ct,
    dccp,
    dscp,
    ecn,
    group,
    hashlimit,
    helper,
    hmark,
    icmp,
    iprange,
    ipsec,
    ipv6,
    ipvs,
    length,
    limit,
    local,
    log,
    mac,
    mark,
    multiport,
    nat,
    nfacct,
    nflog,
    physdev,
    pkttype,
    policy,
    quota,
    rateest,
    recent,
    reject,
    rpfilter,
    sctp,
    set,
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
from fastfw.ruleset.ext.base import Extension, Match, Option, Target

_MODULES = (
    addrtype,
    audit,
    bpf,
    cluster,
    comment,
    connbytes,
    connlabel,
    connlimit,
    connmark,
    connsecmark,
    conntrack,
    ct,
    dccp,
    dscp,
    ecn,
    group,
    hashlimit,
    helper,
    hmark,
    icmp,
    iprange,
    ipsec,
    ipv6,
    ipvs,
    length,
    limit,
    local,
    log,
    mac,
    mark,
    multiport,
    nat,
    nfacct,
    nflog,
    physdev,
    pkttype,
    policy,
    quota,
    rateest,
    recent,
    reject,
    rpfilter,
    sctp,
    set,
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


def _extensions() -> Iterable[type[Extension]]:
    for module in _MODULES:
        for item in vars(module).values():
            if (
                isinstance(item, type)
                and issubclass(item, Extension)
                and item.__module__ == module.__name__
                and item.name
            ):
                yield item


MATCHES: dict[int, dict[str, type[Match]]] = {4: {}, 6: {}}
TARGETS: dict[int, dict[str, type[Target]]] = {4: {}, 6: {}}
OPTIONS: dict[type[Extension], dict[str, Option]] = {}
"""Every option of an extension by each of its names."""

for _extension in _extensions():
    OPTIONS[_extension] = {name: option for option in _extension.options for name in (option.name, *option.aliases)}
    for _family in _extension.families:
        for _name in (_extension.name, *_extension.aliases):
            if issubclass(_extension, Match):
                MATCHES[_family][_name] = _extension
            elif issubclass(_extension, Target):
                TARGETS[_family][_name] = _extension
