"""Predicates that few rules ask, by module; see further.pxd."""
from fastfw.core.amounts cimport Amounts
from fastfw.core.bytecode cimport bpf_holds, u32_holds
from fastfw.core.chunks cimport chunks_hold
from fastfw.core.crowds cimport crowd_holds
from fastfw.core.declared cimport declared_holds
from fastfw.core.headers6 cimport headers6_hold
from fastfw.core.payload cimport label_holds
from fastfw.core.program cimport (
    OP_AH6, OP_BPF, OP_CROWD, OP_DCCP_TYPE, OP_EUI64, OP_L4, OP_LABEL, OP_MOBILITY, OP_RATE, OP_SET, OP_U32, OP_WORD32,
    Look, Predicate,
)
from fastfw.core.rates cimport rate_holds
from fastfw.core.sets cimport Sets, set_holds


cdef bint further_holds(const Predicate *q, Look *look) noexcept nogil:
    cdef int answer
    if q.op == OP_U32:
        answer = u32_holds(q, look)
    elif q.op == OP_BPF:
        answer = bpf_holds(q, look)
    elif OP_WORD32 <= q.op <= OP_DCCP_TYPE or OP_L4 <= q.op <= OP_MOBILITY:
        answer = chunks_hold(q, look)
    elif OP_AH6 <= q.op <= OP_EUI64:
        answer = headers6_hold(q, look)
    elif q.op == OP_RATE:
        answer = rate_holds((<Amounts *> look.program.amounts).rates + q.a, q, look)
    elif q.op == OP_CROWD:
        answer = crowd_holds((<Amounts *> look.program.amounts).crowds + q.a, q, look)
    elif q.op == OP_LABEL:
        answer = label_holds(q, look)
    elif q.op == OP_SET:
        answer = set_holds(<Sets *> look.program.sets, q, look)
    else:
        answer = declared_holds(q, look)
    return answer >= 0 and answer != q.invert
