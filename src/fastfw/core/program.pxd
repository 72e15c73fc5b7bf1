"""The compiled ruleset's form: predicates, rules, and the order in which a packet meets the chains.

All chains of all tables lie one after another in one array of rules. Behind a chain's own rules stands its end: the
policy of a built-in chain, or the return of a user's. An index into this array names a rule everywhere.
"""
from libc.stdint cimport int8_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastfw.core.classifier cimport Candidates, Classifier
from fastfw.core.conntrack cimport Tracker
from fastfw.core.flows cimport Entry
from fastfw.core.paths cimport HITS, Counter, Paths
from fastfw.core.wire cimport Packet


# What a predicate asks. `a` to `d` are its arguments; addresses are as they stand in packets, all else in host order.
# Those up to OP_STEADY ask about the connection and the context alone: their answer is the same for every packet of one
# connection, direction, state and pair of interfaces.
cpdef enum Op:
    OP_SOURCE4 = 0          # a: address, b: mask
    OP_TARGET4
    OP_SOURCE6              # a: place in `words` of address and mask, two words each
    OP_TARGET6
    OP_IIF                  # a: number of the interface pattern
    OP_OIF
    OP_PROTOCOL             # a: number; in IPv6 also that the extension headers can be followed
    OP_FRAGMENT
    OP_HEADER               # a: bytes of the transport header that must be readable, else the packet is dropped;
    # b: dropped too where it is a later fragment, which has none
    OP_SPORT                # a to b
    OP_DPORT
    OP_PORTS                # a: place in `numbers` of `size` ranges (first << 16 | last), b: a Side
    OP_ICMP                 # a: type (ICMPv4: 255 is any), b to c: codes
    OP_SOURCE_RANGE4        # a to b
    OP_TARGET_RANGE4
    OP_SOURCE_RANGE6        # a: place in `words` of first and last, two words each
    OP_TARGET_RANGE6
    OP_STATE                # a: bits by State
    OP_CT_DIRECTION         # a: a Direction. The CT ones say `d` of a packet without a connection
    OP_CT_PROTOCOL          # a: number
    OP_CT_ADDRESS4          # a: address, b: mask, c: an End
    OP_CT_ADDRESS6          # a: place in `words`, c: an End
    OP_CT_PORT              # a to b, c: an End
    OP_CT_STATUS            # a: bits, one of which must be set
    OP_MARK                 # packet mark & b == a
    OP_CONNMARK             # connection mark & b == a
    OP_NEVER
    OP_FURTHER = 32         # this bit: answered by further.pyx
    OP_RANGES4              # a: place in `numbers` of `size` ranges, b: RANGE bits; see declared.pyx
    OP_RANGES6
    OP_INTERFACES           # a: place in `numbers` of `size` interface patterns, any of which; b: 1: outgoing
    OP_CLUSTER              # a: place in `numbers` of seed, nodes in all and this node's bits
    OP_HELPER               # of the master; a: bits of the helpers' numbers, place in `words` of four words
    OP_STEADY = 63
    OP_TCP_FLAGS            # flags & a == b
    OP_TCP_OPTION           # a: kind
    OP_LENGTH               # a to b
    OP_TTL                  # a to b: IPv4's time to live, IPv6's hop limit
    OP_TOS                  # the traffic class & b == a
    OP_CT_EXPIRE            # a to b seconds
    OP_ROOM                 # a: bytes of the transport header that must be readable; the packet is not dropped
    OP_TCP_MSS              # a to b
    OP_STRING               # a: place in `words` of `size` bytes; found from offset b, ending at c at most; d: any case
    OP_TIME                 # a: place in `words` of seven: see payload.pyx
    OP_CONNBYTES            # a: place in `words` of both ends, b: packets, bytes, average; c: a Direction, or both
    OP_WORD32 = 97          # a to b: four bytes of the transport header at offset c
    OP_WORD16               # two
    OP_DCCP_TYPE            # a: bits by packet type
    OP_U32                  # a: place in `numbers` of `size` tests; see bytecode.pyx
    OP_BPF                  # a: place in `numbers` of `size` instructions, two words each
    OP_MAC                  # a, b: the source's first four and last two bytes, as they stand in frames
    OP_PACKET_TYPE          # a: a LinkType
    OP_STATEFUL = 127       # those beyond change what they remember whenever they are asked, or may drop the packet
    OP_LIMIT                # a: number of the bucket
    OP_NTH                  # a: register that counts, b: every so many less one
    OP_RANDOM               # a: register of the generator, b: probability in 2**-31
    OP_QUOTA                # a: register of the bytes left
    OP_RECENT               # a: number of the list, b: RECENT bits, c: seconds, d: hits
    OP_L4 = 161             # OP_HEADER of protocols whose headers nobody has looked at
    OP_SCTP_CHUNKS          # a: place in `numbers`; see chunks.pyx
    OP_DCCP_OPTION          # a: kind
    OP_MOBILITY             # a to b: type
    OP_AH6                  # a: place in `numbers`, as the other IPv6 ones; see headers6.pyx
    OP_FRAGMENT6
    OP_OPTIONS6
    OP_ROUTING6
    OP_HEADERS6
    OP_SEGMENTS6
    OP_EUI64
    OP_RATE                 # a: number of the table, b: RATE bits
    OP_CROWD                # a: number of lists, more than b connections, c: 1: of the destination
    OP_SET                  # a: number of the set, b: AskBits, c: place in `words` of packets and bytes
    OP_LABEL                # a: its bit, b: 1: it is set where it was not


cpdef enum Side:
    SIDE_SOURCE = 0
    SIDE_TARGET = 1
    SIDE_EITHER = 2


# The four ends of a connection's two tuples: bit 0 the target, bit 1 the reply.
cpdef enum End:
    END_ORIGINAL_SOURCE = 0
    END_ORIGINAL_TARGET = 1
    END_REPLY_SOURCE = 2
    END_REPLY_TARGET = 3


cpdef enum Action:
    ACT_NEXT = 0            # counts, and the next rule follows
    ACT_ACCEPT
    ACT_DROP
    ACT_REJECT              # a: the answer, see Packet
    ACT_QUEUE               # a: first queue << 16 | last queue, b: 1: what nobody reads is accepted
    ACT_RETURN
    ACT_JUMP                # a: the chain's first rule
    ACT_GOTO
    ACT_END                 # a user chain's end: returns and counts nothing
    ACT_MARK                # mark = mark & ~b ^ a
    ACT_CONNMARK_SET        # the connection's mark = its mark & ~b ^ a
    ACT_CONNMARK_SAVE       # the connection's mark = its mark & ~a ^ packet mark & b, shifted
    ACT_CONNMARK_RESTORE    # packet mark = packet mark & ~b ^ the connection's mark & a, shifted
    ACT_TOS                 # traffic class = traffic class & ~b ^ a
    ACT_TTL_SET             # a
    ACT_TTL_ADD             # a, at most 255
    ACT_TTL_SUBTRACT        # a, at least 0
    ACT_NOTRACK
    ACT_CT                  # a: template (conntrack.pxd), 0: none; the first that a packet meets holds
    ACT_SET                 # a: place in `numbers`; see sets.pxd
    ACT_LOG                 # a: a LogKind
    ACT_TRACE               # every rule that the packet meets from here on is told of
    ACT_TCP_MSS             # a: the segment size at most
    ACT_TCP_STRIP           # a: place in `numbers` of 256 bits, the kinds of options to go
    ACT_TCP_ECN             # flags = flags & ~b | a; likewise the traffic class by the bits above 8
    ACT_SYNPROXY            # what a proxy of handshakes would answer itself is dropped
    ACT_TAKE                # as ACT_MARK, then as ACT_ACCEPT


ctypedef struct Predicate:  # 20 bytes
    uint8_t op              # an Op
    uint8_t invert          # 1: the answer is turned over
    uint16_t size
    uint32_t a
    uint32_t b
    uint32_t c
    uint32_t d


ctypedef struct Rule:       # 32 bytes
    uint32_t first          # its predicates in the text's order
    uint32_t sorted         # the same with those that ask about the connection first, as far as nobody can tell
    uint16_t count
    uint16_t steady         # how many at `sorted` ask about the connection alone
    uint8_t action          # an Action
    int8_t shift            # of a mark, to the left
    uint16_t rest_count     # how many are at `rest`
    uint32_t rest           # of those at `sorted` what the classifier does not tell: all, unless it finds otherwise
    uint32_t a              # the action's arguments
    uint32_t b
    uint32_t end            # index of its chain's end


# xt_limit's arithmetic: credits grow by 128 a tick of 4 ms up to `cap`; a packet costs `cost`.
ctypedef struct Limit:
    int64_t tick
    uint64_t credit
    uint64_t cap
    uint64_t cost


# xt_recent's: addresses with the ticks of their last packets, the address not seen for longest first to go.
cdef enum:
    RECENT_ENTRIES = 100

cpdef enum RecentBit:
    RECENT_SET = 1
    RECENT_CHECK = 2
    RECENT_UPDATE = 4
    RECENT_REMOVE = 8
    RECENT_TTL = 16
    RECENT_REAP = 32
    RECENT_TARGET = 64      # the packet's destination, not its source


ctypedef struct RecentEntry:
    uint64_t address[2]
    uint64_t used           # turn of its last use; 0: free
    uint32_t stamps         # how many there are
    uint32_t next           # where the next one goes
    uint8_t ttl


ctypedef struct Recent:
    uint64_t mask[2]        # as addresses stand in packets; IPv4: the first word
    uint32_t stamp_mask     # stamps kept an address, less one
    uint64_t turn
    RecentEntry *entries    # RECENT_ENTRIES
    int64_t *stamps         # of all entries


cpdef enum Point:           # where in the kernel a chain is called from
    POINT_PREROUTING = 0
    POINT_INPUT = 1
    POINT_FORWARD = 2
    POINT_OUTPUT = 3
    POINT_POSTROUTING = 4


# One built-in chain on a packet's way.
ctypedef struct Stage:      # 16 bytes
    uint32_t first          # its first rule
    uint32_t policy         # index of its policy
    uint8_t point           # a Point
    uint8_t decides         # 1: table filter, whose accepting rule is the decision's
    uint8_t unused[6]


# One rule that a watched packet came to, and what it was like then.
ctypedef struct Visit:      # 28 bytes
    uint32_t rule
    uint32_t mark
    uint32_t connmark       # of the connection, as the next two; 0 without one
    uint32_t status
    uint32_t left           # seconds it has left; 0 where it is not confirmed
    uint16_t asked          # predicates asked in the text's order; where the rule does not hold the last one failed
    uint8_t held
    uint8_t hotdrop
    uint8_t state
    uint8_t tos
    uint8_t ttl
    uint8_t has_entry       # the packet has a connection


cdef enum:
    WATCHED_IP = 40
    WATCHED_TRANSPORT = 64


# What a walk leaves behind for whoever wants to know why; fastfw.core.explain makes one for one packet.
ctypedef struct Watch:
    Visit *visits           # owned by whoever watches
    uint32_t count
    uint32_t room
    uint8_t overflowed      # there was no memory for further visits
    uint8_t proto
    uint8_t fragment        # a later fragment
    uint32_t length         # of the packet, as rules see it: of the datagram where fragments were joined
    uint32_t transport_size
    uint8_t ip[WATCHED_IP]
    uint8_t transport[WATCHED_TRANSPORT]


# What LOG, NFLOG and TRACE have told of; logs.pxd says how.
ctypedef struct Logs:
    uint8_t *ring           # malloc'ed, room records of `stride` bytes; NULL: nobody reads
    uint32_t room
    uint32_t snap           # bytes of a packet that are kept at most
    uint64_t stride
    uint64_t written        # records ever
    uint64_t read           # of those, taken; what is between and older than room is lost


# A packet's copy with its TCP header changed, and where the packet lies itself; rewrite.pxd says how it is used. An
# engine has one, which lasts until its packet is judged.
ctypedef struct Rewrite:
    uint8_t *copy           # malloc'ed once a ruleset needs it
    const uint8_t *data     # the packet's own; NULL: nothing was changed
    uint32_t have
    uint32_t length


cdef enum:
    HOOKS = 3
    STAGES = 6


ctypedef struct Program:
    Rule *rules
    Predicate *predicates
    Counter *counters
    const uint64_t *words
    const uint32_t *numbers
    Limit *limits
    uint64_t *registers     # what rules remember in one word
    Recent *recents
    uint32_t recent_count
    uint32_t *stack         # return addresses; as deep as there are chains
    uint64_t **interfaces   # by interface number: which patterns it meets, a bit each
    uint32_t rule_count
    uint32_t predicate_count
    uint32_t status_mask    # status bits that rules look at
    uint8_t looks_at_connmark
    uint8_t remember        # 1: paths are remembered now
    uint8_t remembers       # 1: they may be
    uint8_t family
    uint8_t before_hooks    # hooks at which table raw has a chain, a bit each
    Stage before[HOOKS]     # table raw
    Stage stages[HOOKS][STAGES]
    uint32_t stage_count[HOOKS]
    Paths paths
    Classifier classifier
    void *amounts           # tables that grow: Amounts of amounts.pxd
    void *sets              # Sets of sets.pxd, NULL: none; whoever put the ruleset in force owns them
    Watch *watch            # NULL: nobody watches
    Logs *logs              # the engine's, as the next two
    Rewrite *rewrite
    const uint64_t *queues  # a bit each: somebody reads it; NULL: all of them
    uint8_t traces          # a rule begins a trace
    uint8_t rewrites        # a rule changes TCP headers


# What a walk knows of its packet.
ctypedef struct Look:
    Program *program
    Tracker *tracker
    Packet *p
    Entry *e                # the packet's connection, NULL: none
    const uint8_t *l4       # the transport header
    uint32_t room           # bytes readable there
    const uint64_t *iif     # patterns that the interfaces of this point of the way meet
    const uint64_t *oif
    uint8_t proto
    uint8_t broken          # IPv6 extension headers that cannot be followed
    uint8_t fragment        # a later fragment
    uint8_t tos
    uint8_t ttl
    uint8_t hotdrop         # a match could not read what it needs: the packet is dropped
    uint8_t tracked         # a sound packet of a connection: the order of tests cannot be told
    uint8_t templated       # a CT rule has been met
    uint8_t varies          # a rule's answer was for this packet alone
    uint8_t point           # a Point
    uint8_t gathered        # `candidates` has the sets of addresses, ports, protocol and state
    uint8_t placed          # and those of the interfaces at this point of the way
    uint8_t settled         # candidates meet all that the classifier can tell of them
    Candidates candidates
    uint32_t hit_count
    uint32_t hits[HITS]
