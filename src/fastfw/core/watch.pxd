"""Watching one packet's walk through the rules: which it came to, and how far each held."""
from fastfw.core.program cimport Look, Rule


# Whether the packet meets all of a rule's conditions, asked one by one; noted in the program's watch.
cdef bint watch_rule(Look *look, const Rule *rule) noexcept nogil
