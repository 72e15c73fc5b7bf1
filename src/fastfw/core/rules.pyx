"""The compiled ruleset: accepts everything until a chain is loaded."""
from fastfw.core.conntrack cimport Tracker
from fastfw.core.terms cimport VERDICT_ACCEPT
from fastfw.core.wire cimport Packet


cdef class Rules:
    cpdef void bind_interface(self, int number, str name):
        pass


cdef void rules_before(Program *program, Tracker *t, Packet *p) noexcept nogil:
    p.verdict = VERDICT_ACCEPT


cdef void rules_judge(Program *program, Tracker *t, Packet *p) noexcept nogil:
    p.verdict = VERDICT_ACCEPT
