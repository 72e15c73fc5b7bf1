"""What the rules of one ruleset remember in tables that grow; see amounts.pxd."""
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fastfw.core.crowds cimport Crowds, crowd_free, crowd_init
from fastfw.core.rates cimport RateTable, rate_free, rate_init


cdef class Kept:
    def __cinit__(self, const uint64_t[:, ::1] rates, const uint64_t[:, ::1] crowds):
        """Empty tables; a row has what rate_init or crowd_init takes."""
        cdef Py_ssize_t i
        memset(&self.amounts, 0, sizeof(Amounts))
        if rates.shape[1] != 13 or crowds.shape[1] != 3:
            raise ValueError("rows of 13 words for rates and of 3 for crowds expected")
        self.amounts.rates = <RateTable *> calloc(rates.shape[0] + 1, sizeof(RateTable))
        self.amounts.crowds = <Crowds *> calloc(crowds.shape[0] + 1, sizeof(Crowds))
        if self.amounts.rates == NULL or self.amounts.crowds == NULL:
            raise MemoryError("no memory for the compiled ruleset")
        for i in range(rates.shape[0]):
            self.amounts.rate_count += 1
            if rate_init(self.amounts.rates + i, &rates[i, 0]) < 0:
                raise MemoryError("no memory for the compiled ruleset")
        for i in range(crowds.shape[0]):
            self.amounts.crowd_count += 1
            if crowd_init(self.amounts.crowds + i, &crowds[i, 0]) < 0:
                raise MemoryError("no memory for the compiled ruleset")

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.amounts.rate_count):
            rate_free(self.amounts.rates + i)
        for i in range(self.amounts.crowd_count):
            crowd_free(self.amounts.crowds + i)
        free(self.amounts.rates)
        free(self.amounts.crowds)
