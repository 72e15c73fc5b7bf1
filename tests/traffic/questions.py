"""Ways of asking about headers and programs: what a rule's matches may say, one for each option and form.

Those of `BOTH` are for either family; `NTH` and `GROUPED` remember, and answer alike however long a test takes.
"""

BOTH = (
    "-p esp -m esp --espspi 0:255", "-p esp -m esp ! --espspi 256", "-p 108 -m ipcomp --ipcompspi 1:256",
    "-p 108 -m ipcomp ! --ipcompspi 4660", "-p 108 -m ipcomp --ipcompspi 0:65535 --compres",
    "-p dccp -m dccp --sport 80:6000", "-p dccp -m dccp ! --dport 80", "-p dccp -m dccp --dccp-types REQUEST,RESET",
    "-p dccp -m dccp ! --dccp-types DATA,ACK,INVALID", "-p dccp -m dccp --dccp-option 32",
    "-p dccp -m dccp --dport 0:80 ! --dccp-option 38", "-p dccp -m dccp --sport 80 --dccp-types SYNC,CLOSE",
    "-p sctp -m sctp --sport 1:40000", "-p sctp -m sctp ! --dport 5000:6000",
    "-p sctp -m sctp --chunk-types any DATA,SACK", "-p sctp -m sctp --chunk-types all INIT",
    "-p sctp -m sctp --chunk-types only DATA,SACK", "-p sctp -m sctp ! --chunk-types any HEARTBEAT",
    "-p sctp -m sctp --chunk-types any DATA:E,ABORT:T", "-p sctp -m sctp ! --chunk-types only SHUTDOWN_COMPLETE:t",
    "-p sctp -m sctp --chunk-types any ALL", "-p sctp -m sctp --chunk-types all NONE",
    '-m u32 --u32 "0x0&0xffff=0x1:0x64"', '-m u32 --u32 "0x6&0xff=0x11"', '-m u32 ! --u32 "0x8&0xff=0x3f"',
    '-m u32 --u32 "0x20=0x0:0xffffffff&&0x4>>0x8=0x0:0x400000"', '-m u32 --u32 "0x0>>0x16&0x3c@0x0>>0x10=0x50"',
    '-m u32 --u32 "0x14@0x0@0x4=0x1"', '-m u32 --u32 "0x8>>0x18=0x3f,0x40"', '-m u32 --u32 "0x8=0x3f000000:0x3fffffff"',
    "-m bpf --bytecode \"4,48 0 0 9,21 0 1 6,6 0 0 1,6 0 0 0\"", "-m bpf --bytecode \"1,6 0 0 65535\"",
    "-m bpf --bytecode \"5,48 0 0 8,84 0 0 15,7 0 0 0,28 0 0 0,22 0 0 0\"",
    "-m bpf --bytecode \"6,40 0 0 2,2 0 0 1,128 0 0 0,97 0 0 1,28 0 0 0,22 0 0 0\"",
    "-m bpf --bytecode \"5,177 0 0 0,72 0 0 2,53 0 1 1024,6 0 0 1,6 0 0 0\"",
    "-m bpf --bytecode \"4,40 0 0 4294963200,21 0 1 2048,6 0 0 1,6 0 0 0\"",
    "-m bpf --bytecode \"4,32 0 0 4294963220,21 1 0 5,6 0 0 1,6 0 0 0\"",
    "-m bpf --bytecode \"6,1 0 0 17,48 0 0 4293918729,32 0 0 4294963240,21 0 1 0,6 0 0 1,6 0 0 0\"",
    "-m bpf --bytecode \"6,48 0 0 1,135 0 0 0,148 0 0 7,7 0 0 0,60 0 0 0,22 0 0 0\"",
    "-m bpf --bytecode \"7,48 0 0 8,7 0 0 0,40 0 0 2,156 0 0 0,21 0 1 3,6 0 0 1,6 0 0 0\"",
)  # fmt: skip
ONLY4 = (
    "-p ah -m ah --ahspi 0:255", "-p ah -m ah ! --ahspi 256", "-p ah -m ah --ahspi 4294967295",
)  # fmt: skip
ONLY6 = (
    "-m ah --ahspi 0:255", "-m ah ! --ahspi 256 --ahlen 24", "-m ah ! --ahlen 24", "-m ah --ahres",
    "-m frag --fragid 0:100", "-m frag --fragfirst", "-m frag --fraglast", "-m frag ! --fragid 0:100 --fragmore",
    "-m frag --fragres", "-m hbh --hbh-len 8", "-m hbh ! --hbh-len 16", "-m hbh --hbh-opts 5",
    "-m hbh --hbh-opts 1:0,5:2",
    "-m hbh --hbh-opts 0,1", "-m dst --dst-len 8", "-m dst --dst-opts 194:4", "-m dst ! --dst-len 8 --dst-opts 1,30:1",
    "-m dst --dst-opts 5:8,1", "-m rt --rt-type 0", "-m rt ! --rt-type 0", "-m rt --rt-segsleft 1:2",
    "-m rt ! --rt-segsleft 0", "-m rt --rt-len 24", "-m rt ! --rt-len 8", "-m rt --rt-type 0 --rt-0-res",
    "-m rt --rt-type 0 --rt-0-addrs 2001:db8:5::1", "-m rt --rt-type 0 --rt-0-addrs 2001:db8:5::1,2001:db8:5::2",
    "-m rt --rt-type 0 --rt-0-addrs 2001:db8:5::1,2001:db8:5::3 --rt-0-not-strict",
    "-m rt --rt-type 0 --rt-0-addrs 2001:db8:5::2 --rt-0-not-strict",
    "-m ipv6header --header protocol", "-m ipv6header --header hop-by-hop,protocol",
    "-m ipv6header ! --header ipv6-opts,ipv6-nonxt", "-m ipv6header --header ipv6-route --soft",
    "-m ipv6header ! --header esp,ah --soft", "-m ipv6header --header esp --soft", "-m ipv6header --header ah,protocol",
    "-m srh", "-m srh --srh-next-hdr 17", "-m srh ! --srh-next-hdr 17", "-m srh --srh-hdr-len-gt 2",
    "-m srh --srh-hdr-len-eq 4", "-m srh ! --srh-segs-left-eq 0", "-m srh --srh-segs-left-lt 2",
    "-m srh --srh-last-entry-gt 0", "-m srh ! --srh-last-entry-lt 1", "-m srh --srh-tag 4660", "-m srh ! --srh-tag 0",
    "-m srh --srh-tag 13330", "-m srh --srh-psid 2001:db8:5::1/128", "-m srh ! --srh-nsid 2001:db8:5::2/127",
    "-m srh --srh-lsid 2001:db8:5::/64", "-p 135 -m mh --mh-type 1:3", "-p 135 -m mh ! --mh-type 5", "-m eui64",
)  # fmt: skip
GROUPED = (
    "--hashlimit-upto 1/hour --hashlimit-burst 30 --hashlimit-mode srcip",
    "--hashlimit-above 1/hour --hashlimit-burst 5 --hashlimit-mode dstip,dstport",
    "--hashlimit-upto 2/hour --hashlimit-burst 200",
    "--hashlimit-above 1/hour --hashlimit-burst 2 --hashlimit-mode srcip,srcport,dstip,dstport",
    "--hashlimit-upto 1/hour --hashlimit-burst 9 --hashlimit-mode srcip --hashlimit-srcmask 30",
    "--hashlimit-above 1/hour --hashlimit-burst 50 --hashlimit-mode dstip --hashlimit-dstmask 0",
    "--hashlimit-upto 1/hour --hashlimit-burst 4 --hashlimit-mode srcip,dstip --hashlimit-htable-size 2",
)
"""Without a name, which is the rule's own, and with rates that do not refill while a test runs."""

PLACED = (
    "-m addrtype --src-type LOCAL", "-m addrtype ! --dst-type LOCAL", "-m addrtype --dst-type UNICAST",
    "-m addrtype --dst-type MULTICAST", "-m addrtype --src-type UNSPEC", "-m addrtype ! --src-type UNICAST,LOCAL",
    "-m pkttype --pkt-type unicast", "-m pkttype ! --pkt-type multicast", "-m mac ! --mac-source 02:00:00:00:00:01",
    "-m devgroup --src-group 0", "-m devgroup ! --src-group 0x3/0x3", "-m helper --helper ftp",
    "-m helper ! --helper ftp", "-m physdev ! --physdev-is-bridged", "-m physdev --physdev-is-in",
    "-m cluster --cluster-total-nodes 2 --cluster-local-node 1 --cluster-hash-seed 0xdeadbeef",
    "-m cluster --cluster-total-nodes 5 ! --cluster-local-nodemask 0x13 --cluster-hash-seed 0x1",
    "-m time --timestart 00:00 --timestop 23:59:59", "-m time --datestart 2020-01-01 --datestop 2020-01-02",
)  # fmt: skip
"""What a host knows that has no addresses, one way out, and no groups."""
