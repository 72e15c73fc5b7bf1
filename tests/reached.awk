# C that Cython wrote with --line-directives, so that gcov counts every line of it for the line of Cython it was made of.
# Cython names that once, before the first of several: the compiler would count the rest for the lines behind it, and a
# line that never ran would be taken for one that did. What follows a function's end is nobody's.
/^#line / { named = $0; print; next }
/^}/ { if (named) print named; print; if (named) print "#line 1 \"generated\""; named = ""; next }
{ if (named && !continued) print named; print; continued = /\\$/ }
