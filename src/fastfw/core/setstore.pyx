"""Sets filled and read from Python; see setstore.pyi."""
import secrets

import numpy as np

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset

from fastfw.core.maps cimport map_has
from fastfw.core.sets import AskBit, SetBit, SetCompare
from fastfw.core.sets cimport (
    NO_SET, SET_LIST, USUAL_TIMEOUT, WILDCARD, Set, Sets, Stored, set_enter, set_free, set_init,
)

STORED = np.dtype({
    "names": ["first", "second", "key_mac", "port", "key_mark", "first_length", "second_length", "proto", "physdev",
              "interface", "expires", "packets", "bytes", "mark", "mark_mask", "priority", "comment", "queue",
              "nomatch", "pending", "mac"],
    "formats": ["V16", "V16", "V6", "u2", "u4", "u1", "u1", "u1", "u1", "u8", "i8", "u8", "u8", "u4", "u4", "u4", "u4",
                "u2", "u1", "u1", "V6"],
    "offsets": [0, 16, 32, 38, 40, 44, 45, 46, 47, 48, 56, 64, 72, 80, 84, 88, 92, 96, 98, 99, 100],
    "itemsize": 112,
})

if sizeof(Stored) != STORED.itemsize:
    raise ImportError("fastfw.core.setstore: an element does not match its layout")

BITS = {name[4:]: int(value) for name, value in SetBit.__members__.items()}
ASK = {name[4:]: int(value) for name, value in AskBit.__members__.items()}
COMPARE = {name[8:].lower(): int(value) for name, value in SetCompare.__members__.items()}
NONE, USUAL, BEGINNING = <uint32_t> NO_SET, <uint32_t> USUAL_TIMEOUT, <uint32_t> WILDCARD

cdef enum:
    INTERFACES = 65536           # the engine's numbers
    FIRST_ROOM = 64


cdef class SetStore:
    def __cinit__(self, int count, list beginnings):
        cdef int i
        memset(&self.sets, 0, sizeof(Sets))
        self.names = {}
        self.beginnings = beginnings
        self.sets.wildcard_count = len(beginnings)
        self.sets.wildcard_words = len(beginnings) // 64 + 1
        self.sets.all = <Set *> calloc(count + 1, sizeof(Set))
        self.sets.interfaces = <uint32_t *> calloc(INTERFACES, sizeof(uint32_t))
        if self.sets.all == NULL or self.sets.interfaces == NULL:
            raise MemoryError("no memory for sets")
        for i in range(count):
            self.sets.count += 1
            if set_init(self.sets.all + i, secrets.randbits(64)) < 0:
                raise MemoryError("no memory for sets")

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.sets.count):
            set_free(self.sets.all + i)
        for i in range(1, self.sets.named + 1):
            free(self.sets.wildcards[i])
        free(self.sets.wildcards)
        free(self.sets.interfaces)
        free(self.sets.all)

    def shape(self, int number, uint32_t bits, int family, int parts, uint32_t most, uint32_t timeout, bytes mask,
              uint32_t mark_mask, uint32_t low, uint32_t high):
        cdef Set *s = self.sets.all + number
        if not 0 <= number < <int> self.sets.count or len(mask) != 16:
            raise ValueError("a set's number and a mask of 16 bytes expected")
        s.bits = bits
        s.family = <uint8_t> family
        s.parts = <uint8_t> parts
        s.most = most
        s.timeout = timeout
        memcpy(s.mask, <const uint8_t *> mask, 16)
        s.mark_mask = mark_mask
        s.low = low
        s.high = high

    def fill(self, int number, const uint8_t[:, ::1] elements):
        cdef Set *s = self.sets.all + number
        cdef Py_ssize_t i
        if not 0 <= number < <int> self.sets.count or elements.shape[1] != sizeof(Stored):
            raise ValueError("a set's number and records of STORED expected")
        if s.bits & SET_LIST:
            s.members = <Stored *> malloc(elements.shape[0] * sizeof(Stored) + 1)
            if s.members == NULL:
                raise MemoryError("no memory for sets")
            if elements.shape[0]:
                memcpy(s.members, &elements[0, 0], elements.shape[0] * sizeof(Stored))
            s.member_count = <uint32_t> elements.shape[0]
            return
        for i in range(elements.shape[0]):
            if not set_enter(s, <const Stored *> &elements[i, 0]):
                raise MemoryError("no memory for a set's elements")

    def content(self, int number):
        cdef Set *s
        cdef uint32_t i, n = 0
        cdef uint8_t[:, ::1] view
        if not 0 <= number < <int> self.sets.count:
            raise IndexError(f"no set {number}")
        s = self.sets.all + number
        out = np.zeros(s.member_count if s.bits & SET_LIST else s.map.count, STORED)
        if not len(out):
            return out
        view = out.view(np.uint8).reshape(-1, sizeof(Stored))
        if s.bits & SET_LIST:
            memcpy(&view[0, 0], s.members, s.member_count * sizeof(Stored))
            return out
        for i in range(s.map.used):
            if map_has(&s.map, i):
                memcpy(&view[n, 0], s.map.records + <size_t> i * s.map.size, sizeof(Stored))
                n += 1
        return out

    @property
    def begun(self):
        return bool(self.sets.begun)

    def interface(self, str name):
        self.know(name)
        return self.names[name]

    def interface_name(self, uint64_t number):
        if number >= <uint32_t> WILDCARD:
            return self.beginnings[<int> (number - <uint32_t> WILDCARD)]
        return next(name for name, known in self.names.items() if known == number)

    cdef void know(self, str name) except *:
        """Give an interface's name a number and note which beginnings it meets."""
        cdef uint64_t *row
        cdef uint64_t **rows
        cdef size_t i
        if name in self.names:
            return
        if self.sets.named + 1 >= self.named_room:
            rows = <uint64_t **> realloc(self.sets.wildcards, (2 * self.named_room + FIRST_ROOM) * sizeof(uint64_t *))
            if rows == NULL:
                raise MemoryError("no memory for sets")
            self.sets.wildcards = rows
            self.named_room = 2 * self.named_room + FIRST_ROOM
        row = <uint64_t *> calloc(self.sets.wildcard_words, sizeof(uint64_t))
        if row == NULL:
            raise MemoryError("no memory for sets")
        for i in range(self.sets.wildcard_count):
            if name.startswith(self.beginnings[i]):
                row[i >> 6] |= <uint64_t> 1 << (i & 63)
        self.sets.named += 1
        self.sets.wildcards[self.sets.named] = row
        self.names[name] = self.sets.named

    cpdef void bind_interface(self, int number, str name):
        if name:
            self.know(name)
            self.sets.interfaces[number] = self.names[name]
