"""u32 and classic BPF over a packet's bytes as they are by now; see bytecode.pxd.

What a capture has cut off is not there: u32 does not match and BPF's program ends, as at a packet's end. Programs have
been checked (fastfw.ruleset.ext.bpf): jumps go forwards and stay inside, memory cells exist, the last one returns.
"""
from libc.stdint cimport int32_t, uint8_t, uint32_t

from fastfw.core.bytes cimport be16, be32, unlikely
from fastfw.core.payload cimport payload_header
from fastfw.core.program cimport Look, Predicate

cdef enum:
    HEADER = 60                  # the longest IPv4 header
    CELLS = 16
    NETWORK = -0x100000          # BPF's offsets from here on count from the IP header too
    EXTRA = -0x1000              # and from here on stand for what is known of a packet besides its bytes
    EXTRA_PROTOCOL = 0
    EXTRA_PACKET_TYPE = 4
    EXTRA_MARK = 20
    EXTRA_XOR = 40

# u32's operators.
cdef enum:
    U32_AND = 0
    U32_LEFT = 1
    U32_RIGHT = 2
    U32_AT = 3


cdef bint load(const Look *look, uint32_t at, uint32_t size, uint32_t *value) noexcept nogil:
    """One, two or four bytes; False where they are not all there."""
    cdef uint8_t[HEADER] copy
    cdef const uint8_t *from_ = look.p.data + at
    if at > look.p.have or size > look.p.have - at:
        return False
    if unlikely(at < 12):
        payload_header(look, copy, look.p.have if look.p.have < HEADER else HEADER)
        from_ = copy + at
    value[0] = be32(from_) if size == 4 else be16(from_) if size == 2 else from_[0]
    return True


cdef bint u32_test(const Look *look, const uint32_t *test) noexcept nogil:
    """How many steps, their (operator, number), how many ranges, theirs."""
    cdef uint32_t steps = test[0], i, number, value = 0, base = 0
    cdef uint32_t length = look.p.length
    cdef uint32_t count = test[1 + 2 * steps]
    cdef const uint32_t *ranges = test + 2 + 2 * steps
    if length < 4 or test[2] > length - 4 or not load(look, test[2], 4, &value):
        return False
    for i in range(1, steps):
        number = test[2 + 2 * i]
        if test[1 + 2 * i] == U32_AND:
            value &= number
        elif test[1 + 2 * i] == U32_LEFT:
            value <<= number
        elif test[1 + 2 * i] == U32_RIGHT:
            value >>= number
        else:
            if base + value < base:
                return False
            base += value
            if base > length - 4 or number > length - 4 - base:
                return False
            if not load(look, base + number, 4, &value):
                return False
    for i in range(count):
        if ranges[2 * i] <= value <= ranges[2 * i + 1]:
            return True
    return False


cdef bint u32_holds(const Predicate *q, const Look *look) noexcept nogil:
    cdef const uint32_t *test = look.program.numbers + q.a
    for _ in range(q.size):
        if not u32_test(look, test):
            return False
        test += 1 + 2 * test[0]
        test += 1 + 2 * test[0]
    return True


cdef bint bpf_load(const Look *look, uint32_t at, uint32_t size, bint absolute, uint32_t x,
                   uint32_t *a) noexcept nogil:
    cdef int32_t offset = <int32_t> at
    if offset >= 0:
        return load(look, at, size, a)
    if offset >= EXTRA and absolute:
        if offset == EXTRA + EXTRA_PROTOCOL:
            a[0] = 0x0800 if look.p.family == 4 else 0x86dd
        elif offset == EXTRA + EXTRA_PACKET_TYPE:
            a[0] = look.p.link[12] if look.p.link != NULL else 0
        elif offset == EXTRA + EXTRA_MARK:
            a[0] = look.p.mark
        else:
            a[0] ^= x
        return True
    return offset >= NETWORK and load(look, <uint32_t> (offset - NETWORK), size, a)


cdef inline uint32_t calculate(uint32_t op, uint32_t a, uint32_t b) noexcept nogil:
    """Not division, which needs a look at `b` first."""
    if op == 0x00:
        return a + b
    if op == 0x10:
        return a - b
    if op == 0x20:
        return a * b
    if op == 0x40:
        return a | b
    if op == 0x50:
        return a & b
    if op == 0x60:
        return a << (b & 31)
    if op == 0x70:
        return a >> (b & 31)
    if op == 0x80:
        return 0 - a
    return a ^ b


cdef inline bint jumps(uint32_t op, uint32_t a, uint32_t b) noexcept nogil:
    if op == 0x10:
        return a == b
    if op == 0x20:
        return a > b
    if op == 0x30:
        return a >= b
    return a & b != 0


cdef bint bpf_holds(const Predicate *q, const Look *look) noexcept nogil:
    """An instruction is two numbers: code << 16 | jump if true << 8 | jump if false, and its operand."""
    cdef const uint32_t *at = look.program.numbers + q.a
    cdef uint32_t[CELLS] cell
    cdef uint32_t a = 0, x = 0, word, code, k, kind, value
    while True:
        word = at[0]
        code = word >> 16
        k = at[1]
        at += 2
        kind = code & 7
        if kind == 0:                        # load into A: by size and mode
            if code & 0xe0 == 0x00:
                a = k
            elif code & 0xe0 == 0x60:
                a = cell[k]
            elif code & 0xe0 == 0x80:
                a = look.p.length
            elif not bpf_load(look, k + x if code & 0xe0 == 0x40 else k,
                              4 if code & 0x18 == 0 else 2 if code & 0x18 == 8 else 1, code & 0xe0 == 0x20, x, &a):
                return False
        elif kind == 1:                      # into X
            if code & 0xe0 == 0x00:
                x = k
            elif code & 0xe0 == 0x60:
                x = cell[k]
            elif code & 0xe0 == 0x80:
                x = look.p.length
            else:
                if not bpf_load(look, k, 1, False, x, &value):
                    return False
                x = (value & 15) << 2
        elif kind == 2:
            cell[k] = a
        elif kind == 3:
            cell[k] = x
        elif kind == 4:
            value = x if code & 8 else k
            if code & 0xf0 == 0x30 or code & 0xf0 == 0x90:
                if value == 0:
                    return False
                a = a / value if code & 0xf0 == 0x30 else a % value
            else:
                a = calculate(code & 0xf0, a, value)
        elif kind == 5:
            if code & 0xf0 == 0:
                at += 2 * k
            elif jumps(code & 0xf0, a, x if code & 8 else k):
                at += 2 * (word >> 8 & 0xff)
            else:
                at += 2 * (word & 0xff)
        elif kind == 6:
            return (a if code & 0x18 == 0x10 else k) != 0
        elif code & 0xf8:
            a = x
        else:
            x = a
