"""The compiled ruleset: its arrays, kept together and freed together."""
import numpy as np

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from fastfw.core.amounts cimport Kept
from fastfw.core.classifier_build cimport classifier_bind, classifier_build, classifier_free, classifier_unbind
from fastfw.core.memory cimport recent_free, recent_init
from fastfw.core.paths cimport Counter, paths_free, paths_init, paths_settle
from fastfw.core.program cimport ACT_END, Limit, Predicate, Program, Recent, Rule, Stage
from fastfw.core.setstore cimport SetStore

cdef enum:
    INTERFACES = 65536


cdef void *copied(const uint8_t[::1] source, size_t item) except NULL:
    """A copy of `source` with a spare item behind it, so that empty arrays have an address too."""
    cdef size_t size = source.shape[0]
    cdef uint8_t *copy = <uint8_t *> calloc(1, size + item)
    if copy == NULL:
        raise MemoryError("no memory for the compiled ruleset")
    if size:
        memcpy(copy, &source[0], size)
    return copy


cdef class Rules:
    """A compiled ruleset of one family; fastfw.ruleset.compile makes it, one Engine at a time uses it.

    `rules`, `predicates`, `counters`, `words`, `numbers` and `registers` are the bytes of program.pxd's arrays;
    `limits` has cost and cap of every bucket, `recents` the stamps kept and both words of the mask of every list.
    `stages` lists (hook, point, first rule, policy, table) in the order of a packet's way; `chains` lists (table,
    chain, first rule, end); `patterns` the (name, wildcard) of the rules' interfaces.
    """

    def __cinit__(self, int family, const uint8_t[::1] rules, const uint8_t[::1] predicates,
                  const uint8_t[::1] counters, const uint8_t[::1] words, const uint8_t[::1] numbers,
                  const uint64_t[:, ::1] limits, const uint8_t[::1] registers, const uint64_t[:, ::1] recents,
                  list stages, tuple chains, list patterns, uint32_t status_mask, bint looks_at_connmark,
                  bint traces, bint rewrites, bint remember=True, bint classify=True):
        cdef Program *program = &self.program
        cdef Stage *stage
        cdef uint32_t i
        program.family = <uint8_t> family
        program.rules = <Rule *> copied(rules, sizeof(Rule))
        program.predicates = <Predicate *> copied(predicates, sizeof(Predicate))
        program.counters = <Counter *> copied(counters, sizeof(Counter))
        program.words = <const uint64_t *> copied(words, sizeof(uint64_t))
        program.numbers = <const uint32_t *> copied(numbers, sizeof(uint32_t))
        program.limits = <Limit *> calloc(limits.shape[0] + 1, sizeof(Limit))
        program.stack = <uint32_t *> calloc(len(chains) + 1, sizeof(uint32_t))
        program.interfaces = <uint64_t **> calloc(INTERFACES, sizeof(uint64_t *))
        if (program.limits == NULL or program.stack == NULL or program.interfaces == NULL
                or paths_init(&program.paths) < 0):
            raise MemoryError("no memory for the compiled ruleset")
        for i in range(limits.shape[0]):
            program.limits[i].cost = limits[i, 0]
            program.limits[i].cap = limits[i, 1]
            program.limits[i].credit = limits[i, 1]
        program.registers = <uint64_t *> copied(registers, sizeof(uint64_t))
        program.recents = <Recent *> calloc(recents.shape[0] + 1, sizeof(Recent))
        if program.recents == NULL:
            raise MemoryError("no memory for the compiled ruleset")
        for i in range(recents.shape[0]):
            program.recent_count += 1
            if recent_init(program.recents + i, <uint32_t> recents[i, 0], &recents[i, 1]) < 0:
                raise MemoryError("no memory for the compiled ruleset")
        program.rule_count = <uint32_t> (rules.shape[0] / sizeof(Rule))
        program.predicate_count = <uint32_t> (predicates.shape[0] / sizeof(Predicate))
        program.status_mask = status_mask
        program.looks_at_connmark = looks_at_connmark
        program.remember = program.remembers = remember
        program.traces = traces
        program.rewrites = rewrites
        for hook, point, first, policy, table in stages:
            if table == "raw":
                stage = &program.before[<int> hook]
                program.before_hooks |= 1 << <int> hook
            else:
                stage = &program.stages[<int> hook][program.stage_count[<int> hook]]
                program.stage_count[<int> hook] += 1
            stage.first = first
            stage.policy = policy
            stage.point = point
            stage.decides = table == "filter"
        if classify and classifier_build(program) < 0:
            raise MemoryError("no memory for the compiled ruleset")
        self.chains = chains
        self.patterns = patterns
        self.notices = ()
        self.bind_interface(0, "")

    def __dealloc__(self):
        cdef Program *program = &self.program
        cdef uint32_t i
        free(program.rules)
        free(program.predicates)
        free(program.counters)
        free(<void *> program.words)
        free(<void *> program.numbers)
        free(program.limits)
        free(program.registers)
        for i in range(program.recent_count):
            recent_free(program.recents + i)
        free(program.recents)
        free(program.stack)
        if program.interfaces != NULL:
            for i in range(INTERFACES):
                free(program.interfaces[i])
        free(program.interfaces)
        paths_free(&program.paths)
        classifier_free(&program.classifier)

    def keep(self, Kept kept):
        """Take over the tables that the rules remember in."""
        self.kept = kept
        self.program.amounts = &kept.amounts

    def use(self, SetStore store):
        """The sets that rules name by number."""
        self.store = store
        self.program.sets = &store.sets

    cpdef void bind_interface(self, int number, str name):
        """Tell which of the rules' interface patterns a name meets, before any packet carries its number."""
        cdef size_t words = len(self.patterns) // 64 + 1
        cdef uint64_t *row
        if self.program.interfaces[number] != NULL:
            return
        if self.store is not None:
            self.store.bind_interface(number, name)
        row = <uint64_t *> calloc(words, sizeof(uint64_t))
        if row == NULL:
            raise MemoryError("no memory for the compiled ruleset")
        for place, (start, wildcard) in enumerate(self.patterns):
            if name.startswith(start) if wildcard else name == start:
                row[<size_t> place >> 6] |= <uint64_t> 1 << (<size_t> place & 63)
        self.program.interfaces[number] = row
        if classifier_bind(&self.program, number, row) < 0:
            self.unbind_interface(number)
            raise MemoryError("no memory for the compiled ruleset")

    cpdef void unbind_interface(self, int number):
        """Take back what was told of a name that could not be told everywhere: its number is free for another."""
        free(self.program.interfaces[number])
        self.program.interfaces[number] = NULL
        classifier_unbind(&self.program, number)

    def rule_name(self, int index):
        """`table:chain:rule:N` or `table:chain:policy:N` (`return` at a user chain's end); N counts from 1."""
        if not 0 <= index < <int> self.program.rule_count:
            raise IndexError(f"no rule {index}: there are {self.program.rule_count}")
        low, high = 0, len(self.chains) - 1
        while low < high:
            middle = (low + high + 1) // 2
            if self.chains[middle][2] <= index:
                low = middle
            else:
                high = middle - 1
        table, chain, first, end = self.chains[low]
        kind = "rule"
        if index == end:
            kind = "return" if self.program.rules[index].action == ACT_END else "policy"
        return f"{table}:{chain}:{kind}:{index - first + 1}"

    def counters(self):
        """Packets and bytes of every rule and policy, by index: an array of shape (rules, 2). Nobody else may run."""
        paths_settle(&self.program.paths, self.program.counters)
        result = np.empty((self.program.rule_count, 2), np.uint64)
        cdef uint64_t[:, ::1] view = result
        if self.program.rule_count:
            memcpy(&view[0, 0], self.program.counters, self.program.rule_count * sizeof(Counter))
        return result

    @property
    def path_count(self):
        """Paths remembered now."""
        return self.program.paths.used
