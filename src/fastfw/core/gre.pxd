"""GRE: a pair of timeouts, and the keys by which PPTP's calls are told apart."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastfw.core.flows cimport Entry
from fastfw.core.maps cimport Map
from fastfw.core.protocol cimport Step
from fastfw.core.settings cimport Settings
from fastfw.core.wire cimport Packet


# A GRE packet of PPTP names the call at its receiver only. A helper that has read the control connection knows the
# call at its sender too: from packets `source` to `destination` with call id `call`, the source key is `key`.
# Addresses and ids as in a packet; unused bytes are zero. What a packet tells, source to unused, is hashed as words.
ctypedef struct GreKey:
    uint64_t source[2]
    uint64_t destination[2]
    uint16_t call
    uint16_t zone
    uint8_t family
    uint8_t unused[3]
    uint16_t key
    uint16_t unused_too
    uint32_t master          # slab index of the control connection, which takes its keys with it


ctypedef struct GreKeys:
    Map calls                # by what a packet tells
    Map masters              # by slab index, each with the list of its calls


cdef bint gre_new(Entry *e, Packet *p, const Settings *s) noexcept nogil
cdef Step gre_step(Entry *e, Packet *p, const Settings *s) noexcept nogil

cdef int gre_keys_init(GreKeys *g, uint64_t seed) noexcept nogil
cdef void gre_keys_free(GreKeys *g) noexcept nogil
cdef void gre_keys_clear(GreKeys *g) noexcept nogil
cdef uint32_t gre_keys_copy(const GreKeys *g, GreKey *into, uint32_t room) noexcept nogil
cdef int gre_keys_add(GreKeys *g, const GreKey *made) noexcept nogil
cdef void gre_keys_remove(GreKeys *g, const GreKey *one) noexcept nogil
cdef void gre_keys_forget(GreKeys *g, uint32_t master) noexcept nogil
cdef void gre_keys_apply(const GreKeys *g, Packet *p) noexcept nogil
