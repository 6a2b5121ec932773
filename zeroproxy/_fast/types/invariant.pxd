# invariant(cond): a debug build aborts, a release build pays nothing (see invariant.h).
# Cython's own assert is printed and ignored inside a noexcept function, so it is never used.

cdef extern from "invariant.h" nogil:
    bint ZP_DEBUG
    void invariant "zp_invariant"(bint cond) noexcept nogil
