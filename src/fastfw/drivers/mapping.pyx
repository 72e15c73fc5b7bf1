"""A file mapped read-only, as a buffer that survives the file being cut while it is read."""

from libc.stdint cimport uintptr_t

from cpython.buffer cimport PyBuffer_FillInfo
from cpython.exc cimport PyErr_SetFromErrno

cdef extern from "../drivers/mapguard.h":
    struct mapguard:
        uintptr_t start
        size_t size
        int lost
    mapguard *mapguard_open(int descriptor, size_t size) nogil
    void mapguard_close(mapguard *guard) nogil


cdef class Mapping:
    """`size` bytes of the open file `descriptor`, which may be closed afterwards.

    The size is fixed here: what is appended later is not seen. Where the file shrinks, the lost pages read as zeros and
    `lost` turns true. The mapping lasts until the last buffer taken from it is gone.
    """
    cdef mapguard *guard

    def __cinit__(self, int descriptor, size_t size):
        with nogil:
            self.guard = mapguard_open(descriptor, size)
        if self.guard == NULL:
            PyErr_SetFromErrno(OSError)

    def __dealloc__(self):
        if self.guard != NULL:
            mapguard_close(self.guard)

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, <void *>self.guard.start, <Py_ssize_t>self.guard.size, 1, flags)

    @property
    def lost(self):
        return self.guard.lost != 0
