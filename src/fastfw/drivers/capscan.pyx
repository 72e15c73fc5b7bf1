"""The scanner behind Capture: walks a pcap or pcapng buffer once and writes one row per record into growing columns.

It trusts no length in the file: a position is advanced only after the bytes it covers were compared with what is left
of the buffer, so nothing is read past the end and every step moves forward by at least the size of a header.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer

from fastfw.drivers.link cimport (
    LINK_COOKED,
    LINK_COOKED2,
    LINK_ETHERNET,
    LINK_IPV4,
    LINK_IPV6,
    LINK_LOOPBACK,
    LINK_RAW,
    LINK_UNKNOWN,
    LinkKind,
    LinkReason,
    REASON_DAMAGED,
    REASON_INTERFACE_UNKNOWN,
    REASON_IP,
    find_ip,
    read_link,
)

cdef extern from *:
    """
    typedef unsigned __int128 fastfw_u128;
    static inline uint32_t fastfw_swap32(uint32_t x) { return __builtin_bswap32(x); }
    static inline uint16_t fastfw_swap16(uint16_t x) { return __builtin_bswap16(x); }
    /* ticks of 2^-shift seconds in nanoseconds, saturating; the product needs 94 bits */
    static inline uint64_t fastfw_binary_ns(uint64_t ticks, unsigned shift) {
        fastfw_u128 ns = (fastfw_u128)ticks * 1000000000u >> shift;
        return ns >> 64 ? UINT64_MAX : (uint64_t)ns;
    }
    """
    uint32_t fastfw_swap32(uint32_t x) noexcept nogil
    uint16_t fastfw_swap16(uint16_t x) noexcept nogil
    uint64_t fastfw_binary_ns(uint64_t ticks, unsigned int shift) noexcept nogil

# Registered link types (and the DLT numbers some systems wrote instead) -> framing.
LINK_KINDS = {
    0: LINK_LOOPBACK,
    1: LINK_ETHERNET,
    12: LINK_RAW,
    14: LINK_RAW,
    101: LINK_RAW,
    108: LINK_LOOPBACK,
    113: LINK_COOKED,
    228: LINK_IPV4,
    229: LINK_IPV6,
    276: LINK_COOKED2,
}

# What Scanner.step() returns.
DONE, MORE, SECTION, INTERFACE, CUT, BROKEN = range(6)

cdef enum:
    STATUS_DONE
    STATUS_MORE
    STATUS_SECTION
    STATUS_INTERFACE
    STATUS_CUT
    STATUS_BROKEN

cdef enum:
    # No capture program writes larger records; a larger claim is damage, as libpcap sees it too.
    MAX_RECORD = 262144
    MAX_INTERFACES = 65535

cdef enum:
    BLOCK_INTERFACE = 1
    BLOCK_PACKET = 2
    BLOCK_SIMPLE = 3
    BLOCK_ENHANCED = 6
    BLOCK_SECTION = 0x0A0D0D0A

cdef int64_t INT64_LIMIT = 0x7FFFFFFFFFFFFFFF

# How an interface's records are framed and timed. A tick is multiplier / divisor nanoseconds, or 2^-shift seconds.
cdef struct Port:
    LinkKind kind
    uint32_t snaplen
    bint binary
    unsigned int shift
    uint64_t multiplier
    uint64_t divisor
    int64_t offset_ns

# One row per record; the columns grow together. Owned by the Scanner until take() hands them to NumPy.
cdef struct Rows:
    uint64_t *offset
    uint32_t *length
    uint32_t *wire_length
    int64_t *time_ns
    uint8_t *reason
    uint8_t *link_size       # bytes of the record in front of the IP packet
    uint16_t *interface


cdef inline uint32_t load32(const uint8_t *p, bint swapped) noexcept nogil:
    cdef uint32_t value
    memcpy(&value, p, 4)
    return fastfw_swap32(value) if swapped else value


cdef inline uint16_t load16(const uint8_t *p, bint swapped) noexcept nogil:
    cdef uint16_t value
    memcpy(&value, p, 2)
    return fastfw_swap16(value) if swapped else value


cdef inline int64_t nanoseconds(const Port *port, uint64_t ticks) noexcept nogil:
    """An interface's ticks as nanoseconds since the epoch; what does not fit saturates."""
    cdef uint64_t ns
    if port.binary:
        ns = fastfw_binary_ns(ticks, port.shift)
    elif port.divisor != 1:
        ns = ticks // port.divisor
    elif ticks > <uint64_t>INT64_LIMIT // port.multiplier:
        return INT64_LIMIT
    else:
        ns = ticks * port.multiplier
    if ns > <uint64_t>INT64_LIMIT:
        return INT64_LIMIT
    if port.offset_ns > 0 and <int64_t>ns > INT64_LIMIT - port.offset_ns:
        return INT64_LIMIT
    return <int64_t>ns + port.offset_ns


cdef class Column:
    """Memory from realloc() that NumPy borrows; freed with the last array."""
    cdef void *memory
    cdef Py_ssize_t size

    def __dealloc__(self):
        free(self.memory)

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.memory, self.size, 0, flags)


cdef Column column(void **memory, Py_ssize_t size):
    """Moves `size` bytes at `memory` into a Column, giving back what growth had reserved beyond."""
    cdef Column self = Column.__new__(Column)
    cdef void *fitted = realloc(memory[0], size if size else 1)
    self.memory = fitted if fitted != NULL else memory[0]
    self.size = size
    memory[0] = NULL
    return self


cdef class Scanner:
    """Indexes one capture held in `buffer` (any object with a contiguous buffer, held until the scanner goes)."""
    cdef Py_buffer view
    cdef const uint8_t *data
    cdef uint64_t size
    cdef readonly uint64_t position       # of the next record or block, in bytes
    cdef readonly uint64_t count          # records indexed so far
    cdef readonly uint64_t shortened      # records cut by the snap length
    cdef readonly uint64_t damaged        # records whose block contradicts itself
    cdef readonly uint64_t strays         # records of an interface the section does not describe
    cdef uint64_t zeros_checked           # where the last look for zeros ended
    cdef uint64_t capacity
    cdef Rows rows
    cdef Port *ports
    cdef uint32_t port_count, port_capacity
    cdef uint32_t section_base            # number of the section's first interface
    cdef bint blocks, swapped, swapped_lengths
    cdef uint32_t header                  # size of a pcap record header

    def __cinit__(self, buffer):
        PyObject_GetBuffer(buffer, &self.view, PyBUF_SIMPLE)
        self.data = <const uint8_t *>self.view.buf
        self.size = <uint64_t>self.view.len

    def __dealloc__(self):
        PyBuffer_Release(&self.view)
        free(self.rows.offset)
        free(self.rows.length)
        free(self.rows.wire_length)
        free(self.rows.time_ns)
        free(self.rows.reason)
        free(self.rows.link_size)
        free(self.rows.interface)
        free(self.ports)

    def start_pcap(self, bint swapped, unsigned int header, bint swapped_lengths):
        """Records follow the 24-byte file header, each behind a `header` of 16 or 24 bytes."""
        self.blocks = False
        self.swapped = swapped
        self.header = header
        self.swapped_lengths = swapped_lengths
        self.position = 24

    def start_section(self, bint swapped, uint64_t position):
        """Blocks follow at `position`, numbering their interfaces anew."""
        self.blocks = True
        self.swapped = swapped
        self.position = position
        self.section_base = self.port_count

    def skip(self, uint64_t size):
        """Steps over a block that the caller has read."""
        self.position += size

    def add_interface(self, int kind, uint32_t snaplen, int tsresol, int64_t offset_ns):
        """The next interface. `tsresol` as in pcapng: 10^-n seconds, or 2^-n with the top bit set."""
        cdef Port *port
        ten = 10
        if self.port_count == MAX_INTERFACES:
            raise OverflowError(f"more than {MAX_INTERFACES} interfaces")
        if self.port_count == self.port_capacity:
            port = <Port *>realloc(self.ports, (self.port_capacity * 2 + 8) * sizeof(Port))
            if port == NULL:
                raise MemoryError
            self.ports = port
            self.port_capacity = self.port_capacity * 2 + 8
        port = &self.ports[self.port_count]
        port.kind = <LinkKind>kind
        port.snaplen = snaplen
        port.offset_ns = offset_ns
        port.binary = tsresol >> 7
        port.shift = tsresol & 127
        port.multiplier = port.divisor = 1
        if not port.binary and port.shift <= 9:
            port.multiplier = ten ** (9 - port.shift)
        elif not port.binary and port.shift <= 28:
            port.divisor = ten ** (port.shift - 9)
        elif not port.binary or port.shift > 94:
            # So fine that 64 bits of ticks are less than a nanosecond.
            port.binary = True
            port.shift = 94
        self.port_count += 1

    def step(self, uint64_t records):
        """Indexes up to `records` more records; says why it stopped."""
        cdef int status
        if self.capacity - self.count < records:
            self.grow(max(self.count + records, self.capacity * 2))
        with nogil:
            status = self.step_blocks(records) if self.blocks else self.step_records(records)
        return status

    cdef int grow(self, uint64_t capacity) except -1:
        cdef void *memory
        memory = realloc(self.rows.offset, capacity * sizeof(uint64_t))
        if memory == NULL:
            raise MemoryError
        self.rows.offset = <uint64_t *>memory
        memory = realloc(self.rows.length, capacity * sizeof(uint32_t))
        if memory == NULL:
            raise MemoryError
        self.rows.length = <uint32_t *>memory
        memory = realloc(self.rows.wire_length, capacity * sizeof(uint32_t))
        if memory == NULL:
            raise MemoryError
        self.rows.wire_length = <uint32_t *>memory
        memory = realloc(self.rows.time_ns, capacity * sizeof(int64_t))
        if memory == NULL:
            raise MemoryError
        self.rows.time_ns = <int64_t *>memory
        memory = realloc(self.rows.reason, capacity)
        if memory == NULL:
            raise MemoryError
        self.rows.reason = <uint8_t *>memory
        memory = realloc(self.rows.link_size, capacity)
        if memory == NULL:
            raise MemoryError
        self.rows.link_size = <uint8_t *>memory
        memory = realloc(self.rows.interface, capacity * sizeof(uint16_t))
        if memory == NULL:
            raise MemoryError
        self.rows.interface = <uint16_t *>memory
        self.capacity = capacity
        return 0

    def take(self):
        """The columns offset, length, wire_length, time_ns, reason, link_size, interface as buffers; leaves none
        behind."""
        cdef Py_ssize_t count = <Py_ssize_t>self.count
        self.count = self.capacity = 0
        return (
            column(<void **>&self.rows.offset, count * 8),
            column(<void **>&self.rows.length, count * 4),
            column(<void **>&self.rows.wire_length, count * 4),
            column(<void **>&self.rows.time_ns, count * 8),
            column(<void **>&self.rows.reason, count),
            column(<void **>&self.rows.link_size, count),
            column(<void **>&self.rows.interface, count * 2),
        )

    cdef inline void add(self, uint64_t start, uint32_t captured, uint32_t original, int64_t time_ns,
                         LinkKind kind, uint32_t interface) noexcept nogil:
        """One record of `captured` bytes at `start`; the caller has checked that they are there."""
        cdef uint64_t row = self.count
        cdef uint32_t at
        cdef LinkReason reason = find_ip(self.data + start, captured, kind, &at)
        if original < captured:
            original = captured
        self.shortened += original > captured
        if reason == REASON_IP:
            self.rows.offset[row] = start + at
            self.rows.length[row] = captured - at
            self.rows.wire_length[row] = original - at
            self.rows.link_size[row] = <uint8_t>at
        else:
            self.rows.offset[row] = start
            self.rows.length[row] = 0
            self.rows.wire_length[row] = 0
            self.rows.link_size[row] = 0
        self.rows.time_ns[row] = time_ns
        self.rows.reason[row] = <uint8_t>reason
        self.rows.interface[row] = <uint16_t>interface
        self.count = row + 1

    cdef inline void add_empty(self, uint64_t start, LinkReason reason, int64_t time_ns,
                               uint32_t interface) noexcept nogil:
        cdef uint64_t row = self.count
        self.rows.offset[row] = start
        self.rows.length[row] = 0
        self.rows.wire_length[row] = 0
        self.rows.link_size[row] = 0
        self.rows.time_ns[row] = time_ns
        self.rows.reason[row] = <uint8_t>reason
        self.rows.interface[row] = <uint16_t>interface
        self.count = row + 1

    cdef bint only_zeros(self) noexcept nogil:
        """Nothing but zeros to the end, as a crash leaves in a file. Linear over all calls together."""
        cdef uint64_t at = self.position
        if at <= self.zeros_checked:
            return False
        while at < self.size and self.data[at] == 0:
            at += 1
        self.zeros_checked = at
        return at == self.size

    cdef int step_records(self, uint64_t records) noexcept nogil:
        cdef uint64_t limit = self.count + records
        cdef const uint8_t *p
        cdef const Port *port = &self.ports[0]
        cdef uint32_t captured, original, seconds, fraction
        while self.count < limit:
            if self.position == self.size:
                return STATUS_DONE
            if self.size - self.position < self.header:
                return STATUS_CUT
            p = self.data + self.position
            seconds = load32(p, self.swapped)
            fraction = load32(p + 4, self.swapped)
            captured = load32(p + 8, self.swapped)
            original = load32(p + 12, self.swapped)
            if self.swapped_lengths and captured > original:
                captured, original = original, captured
            if captured > MAX_RECORD or (not (seconds | fraction | captured | original) and self.only_zeros()):
                return STATUS_BROKEN
            if self.size - self.position - self.header < captured:
                return STATUS_CUT
            self.add(self.position + self.header, captured, original,
                     <int64_t>seconds * 1000000000 + <int64_t>(fraction * port.multiplier), port.kind, 0)
            self.position += self.header + captured
        return STATUS_MORE

    cdef int step_blocks(self, uint64_t records) noexcept nogil:
        cdef uint64_t limit = self.count + records
        cdef const uint8_t *p
        cdef uint32_t kind, size
        while self.count < limit:
            if self.position == self.size:
                return STATUS_DONE
            if self.size - self.position < 12:
                return STATUS_CUT
            p = self.data + self.position
            kind = load32(p, self.swapped)
            if kind == BLOCK_SECTION:
                return STATUS_SECTION
            size = load32(p + 4, self.swapped)
            if size < 12 or size & 3:
                return STATUS_BROKEN
            if size > self.size - self.position:
                return STATUS_CUT
            if load32(p + size - 4, self.swapped) != size:
                return STATUS_BROKEN
            if kind == BLOCK_ENHANCED or kind == BLOCK_PACKET:
                self.packet_block(p, kind, size)
            elif kind == BLOCK_SIMPLE:
                self.simple_block(p, size)
            elif kind == BLOCK_INTERFACE:
                return STATUS_INTERFACE
            self.position += size
        return STATUS_MORE

    cdef inline void packet_block(self, const uint8_t *p, uint32_t kind, uint32_t size) noexcept nogil:
        """An Enhanced Packet Block, or the obsolete Packet Block with its 16-bit interface number."""
        cdef uint32_t interface, captured
        cdef uint64_t ticks
        cdef const Port *port
        if size < 32:
            self.damaged += 1
            self.add_empty(self.position, REASON_DAMAGED, 0, 0)
            return
        if kind == BLOCK_ENHANCED:
            interface = load32(p + 8, self.swapped)
        else:
            interface = load16(p + 8, self.swapped)
        if interface >= self.port_count - self.section_base:
            self.strays += 1
            self.add_empty(self.position + 28, REASON_INTERFACE_UNKNOWN, 0, 0)
            return
        interface += self.section_base
        port = &self.ports[interface]
        ticks = (<uint64_t>load32(p + 12, self.swapped) << 32) | load32(p + 16, self.swapped)
        captured = load32(p + 20, self.swapped)
        if captured > size - 32:
            self.damaged += 1
            self.add_empty(self.position + 28, REASON_DAMAGED, nanoseconds(port, ticks), interface)
            return
        self.add(self.position + 28, captured, load32(p + 24, self.swapped), nanoseconds(port, ticks), port.kind,
                 interface)

    cdef inline void simple_block(self, const uint8_t *p, uint32_t size) noexcept nogil:
        """A Simple Packet Block: the section's first interface, no time, a length only by its snap length."""
        cdef uint32_t captured, original
        cdef const Port *port
        if size < 16:
            self.damaged += 1
            self.add_empty(self.position, REASON_DAMAGED, 0, 0)
            return
        if self.port_count == self.section_base:
            self.strays += 1
            self.add_empty(self.position + 12, REASON_INTERFACE_UNKNOWN, 0, 0)
            return
        port = &self.ports[self.section_base]
        original = load32(p + 8, self.swapped)
        captured = original
        if port.snaplen and captured > port.snaplen:
            captured = port.snaplen
        if captured > size - 16:
            captured = size - 16
        self.add(self.position + 12, captured, original, 0, port.kind, self.section_base)


def links(const uint8_t[::1] data, const uint64_t[::1] offset, const uint8_t[::1] link_size,
          const uint16_t[::1] interface, const uint8_t[::1] kinds, uint8_t[:, ::1] out):
    """What the frames of some of a capture's records say, into `out`: 16 bytes of LINK each. `kinds` has the framing
    of every interface. ValueError: a record lies outside the data."""
    cdef size_t count = offset.shape[0], size = data.shape[0], i
    cdef size_t ports = kinds.shape[0]
    cdef LinkKind kind
    if not (<size_t>link_size.shape[0] == <size_t>interface.shape[0] == <size_t>out.shape[0] == count
            and out.shape[1] == 16):
        raise ValueError("offset, link_size, interface and out must have one item a record")
    for i in range(count):
        if offset[i] > size or link_size[i] > offset[i]:
            raise ValueError(f"record {i} lies outside the data")
    with nogil:
        for i in range(count):
            kind = <LinkKind>kinds[interface[i]] if interface[i] < ports else LINK_UNKNOWN
            read_link(&data[0] + offset[i] - link_size[i] if link_size[i] else NULL, link_size[i], kind, &out[i, 0])
