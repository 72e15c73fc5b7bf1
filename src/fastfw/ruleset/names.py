"""Names of protocols and services: the assigned ones first, the system's databases after them."""

from __future__ import annotations

import socket

from fastfw.ruleset.ctype import lower

# IANA's assigned protocol numbers under the names Linux systems know them by; the first name of a number is printed.
_PROTOCOLS = """
0 ip hopopt|1 icmp|2 igmp|3 ggp|4 ipencap|5 st|6 tcp|8 egp|9 igp|12 pup|17 udp|20 hmp|22 xns-idp|27 rdp|29 iso-tp4
33 dccp|36 xtp|37 ddp|38 idpr-cmtp|41 ipv6|43 ipv6-route|44 ipv6-frag|45 idrp|46 rsvp|47 gre|50 esp ipv6-crypt
51 ah ipv6-auth|57 skip|58 ipv6-icmp icmpv6|59 ipv6-nonxt|60 ipv6-opts|73 rspf cphb|81 vmtp|88 eigrp|89 ospf
93 ax.25|94 ipip|97 etherip|98 encap|103 pim|108 ipcomp|112 vrrp|115 l2tp|124 isis|132 sctp|133 fc
135 mobility-header mh ipv6-mh|136 udplite|137 mpls-in-ip|138 manet|139 hip|140 shim6|141 wesp|142 rohc|143 ethernet
"""

_TCP_AND_UDP = """
7 echo|9 discard sink null|13 daytime|19 chargen ttytst source|37 time timserver|49 tacacs|53 domain
88 kerberos kerberos5|111 sunrpc portmapper|161 snmp|162 snmp-trap snmptrap|389 ldap|427 svrloc|443 https|554 rtsp
636 ldaps|853 domain-s|1194 openvpn|1812 radius|1813 radius-acct radacct|2049 nfs|5060 sip|5061 sip-tls
"""

_TCP = """
1 tcpmux|11 systat users|15 netstat|17 qotd quote|20 ftp-data|21 ftp|22 ssh|23 telnet|25 smtp mail|43 whois nicname
70 gopher|79 finger|80 http www|102 iso-tsap|104 acr-nema|106 poppassd|110 pop3 pop-3
113 auth authentication tap ident|119 nntp readnews untp|135 loc-srv epmap|139 netbios-ssn|143 imap2 imap|179 bgp
209 qmtp|210 z3950 wais|345 pawserv|369 rpc2portmap|445 microsoft-ds|512 exec|513 login|514 shell cmd syslog
515 printer spooler|543 klogin|544 kshell krcmd|548 afpovertcp|563 nntps snntp|587 submission|631 ipp|655 tinc
749 kerberos-adm|783 spamd|873 rsync|989 ftps-data|990 ftps|992 telnets|993 imaps|995 pop3s|1080 socks
1352 lotusnote|1433 ms-sql-s|1723 pptp|2628 dict|3260 iscsi-target|3306 mysql|3389 ms-wbt-server|3690 svn|4369 epmd
5222 xmpp-client jabber-client|5269 xmpp-server jabber-server|5432 postgresql postgres|5666 nrpe|5671 amqps
5672 amqp|6000 x11 x11-0|6379 redis|6566 sane-port sane saned|6667 ircd|8080 http-alt webcache|9101 bacula-dir
9418 git|10080 amanda|11371 hkp
"""

_UDP = """
67 bootps|68 bootpc|69 tftp|123 ntp|137 netbios-ns|138 netbios-dgm|500 isakmp|512 biff comsat|513 who whod
514 syslog|517 talk|518 ntalk|520 route router routed|546 dhcpv6-client|547 dhcpv6-server|4500 ipsec-nat-t
1645 datametrics old-radius|1646 sa-msg-port old-radacct|1701 l2f l2tp|5353 mdns
"""


def _table(text: str) -> dict[str, int]:
    """`number name alias...` entries, separated by `|` or a line's end, as name -> number."""
    table: dict[str, int] = {}
    for entry in text.strip().replace("\n", "|").split("|"):
        number, *names = entry.split()
        for name in names:
            table.setdefault(name, int(number))
    return table


PROTOCOL_NUMBERS = _table(_PROTOCOLS) | {"all": 0}
PROTOCOL_NAMES: dict[int, str] = {}
for _name, _number in PROTOCOL_NUMBERS.items():
    PROTOCOL_NAMES.setdefault(_number, _name)

_BOTH = _table(_TCP_AND_UDP)
_SERVICES = {"tcp": _BOTH | _table(_TCP), "udp": _BOTH | _table(_UDP)}


_PORTS: dict[str, dict[int, str]] = {protocol: {} for protocol in _SERVICES}
for _known, _names in _SERVICES.items():
    for _name, _number in _names.items():
        _PORTS[_known].setdefault(_number, _name)


def service_name(port: int, protocol: str) -> str | None:
    """The service of a port over a protocol, or None."""
    name = _PORTS.get(protocol, {}).get(port)
    if name is not None:
        return name
    try:
        return socket.getservbyport(port, protocol)
    except (OSError, OverflowError):
        return None


def protocol_number(name: str) -> int | None:
    """The number of a protocol's name in any case, or None."""
    number = PROTOCOL_NUMBERS.get(lower(name))
    if number is not None:
        return number
    try:
        return socket.getprotobyname(lower(name))
    except (OSError, ValueError):
        return None


def protocol_name(number: int) -> str:
    """The name that iptables-save prints for a protocol, or its number."""
    return PROTOCOL_NAMES.get(number) or str(number)


def service_port(name: str, protocol: str | None) -> int | None:
    """The port of a service over a protocol (None: any), or None. Names are told apart by case, as in /etc/services."""
    for known in [protocol] if protocol else _SERVICES:
        port = _SERVICES.get(known, {}).get(name)
        if port is not None:
            return port
    try:
        return socket.getservbyname(name, protocol) if protocol else socket.getservbyname(name)
    except (OSError, ValueError):
        return None
