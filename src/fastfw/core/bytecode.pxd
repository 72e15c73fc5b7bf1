"""Programs that rules carry: u32's tests and classic BPF (McCanne and Jacobson, 1993)."""
from fastfw.core.program cimport Look, Predicate


cdef bint u32_holds(const Predicate *q, const Look *look) noexcept nogil
cdef bint bpf_holds(const Predicate *q, const Look *look) noexcept nogil
