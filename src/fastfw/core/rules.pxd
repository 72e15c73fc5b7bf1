"""The object that owns a compiled ruleset's memory."""
from fastfw.core.amounts cimport Kept
from fastfw.core.program cimport Program
from fastfw.core.setstore cimport SetStore


cdef class Rules:
    cdef Program program
    cdef Kept kept                       # tables that grow
    cdef SetStore store                  # the sets that rules name, None: none
    cdef readonly tuple chains           # (table, chain, index of its first rule, index of its end) in order
    cdef public bint wants_accounting    # a rule asks what connections have carried
    cdef public bint wants_labels        # a rule asks for connections' labels
    cdef public object source            # what its maker wants to keep beside it
    cdef public tuple notices            # (reason, line, column) of what users are to be told
    cdef public bint reads_payload       # a rule looks beyond the transport header
    cdef list patterns                   # (beginning of a name, whether more may follow) of the rules' interfaces
    cpdef void bind_interface(self, int number, str name)
    cpdef void unbind_interface(self, int number)
