"""What is still to be asked of a rule that the classifier names; see classifier_rest.pxd.

The classifier names a rule only if the packet meets the predicates it went by, exactly. That holds of packets whose
transport header can be read: of others it leaves facts out.
"""
from libc.stdint cimport uint16_t, uint32_t
from libc.stdlib cimport realloc
from libc.string cimport memcmp

from fastfw.core.classifier cimport FACT_PROTOCOL, FACTS
from fastfw.core.program cimport OP_HEADER, Predicate, Program, Rule
from fastfw.core.wire cimport PROTO_TCP

# Bytes of a transport header that are there in a packet whose header can be read.
cdef enum:
    HEADER_SURE = 8
    TCP_HEADER_SURE = 20


cdef bint is_told(const Program *program, const Rule *rule, const Predicate *asked,
                  const uint16_t *told) noexcept nogil:
    """Whether a candidate whose transport header can be read is sure to meet a predicate."""
    cdef const Predicate *q
    cdef int fact
    if asked.op == OP_HEADER:
        if asked.a <= HEADER_SURE:
            return True
        q = program.predicates + rule.first + told[FACT_PROTOCOL] - 1
        return (asked.a <= TCP_HEADER_SURE and told[FACT_PROTOCOL] != 0 and program.classifier.facts[FACT_PROTOCOL].used
                and q.a == PROTO_TCP and not q.invert)
    for fact in range(FACTS):
        if told[fact] and program.classifier.facts[fact].used:
            q = program.predicates + rule.first + told[fact] - 1
            if memcmp(q, asked, sizeof(Predicate)) == 0:
                return True
    return False


cdef int classifier_find_rest(Program *program, const uint16_t *told) noexcept nogil:
    cdef uint32_t count = program.predicate_count, i, k
    cdef size_t most = count
    cdef Rule *rule
    cdef Predicate *grown
    for i in range(program.rule_count):
        most += program.rules[i].count
    grown = <Predicate *> realloc(program.predicates, (most + 1) * sizeof(Predicate))
    if grown == NULL:
        return -1
    program.predicates = grown
    for i in range(program.rule_count):
        rule = program.rules + i
        rule.rest = count
        for k in range(rule.count):
            if k >= rule.steady or not is_told(program, rule, grown + rule.sorted + k, told + i * FACTS):
                grown[count] = grown[rule.sorted + k]
                count += 1
        rule.rest_count = <uint16_t> (count - rule.rest)
    program.predicate_count = count
    return 0
