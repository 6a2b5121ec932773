from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

from zeroproxy._fast.types.plane cimport Plane, Relay
from zeroproxy._fast.types.token cimport Question

# Let `r` wait for an answer to a text, which is copied; its head then waits in PHASE_PENDING.
# 0: no place, or no memory.
cdef bint question_ask(
    Plane *p, Relay *r, const uint8_t *tag, const char *at, size_t n
) noexcept nogil
# Leave the question that `r` waits for, if there is one.
cdef void question_leave(Relay *r) noexcept nogil
# Give all that wait their verdict, a Fault, and free the question. They go on from the run list.
cdef void question_answer(Plane *p, Question *q, int verdict) noexcept nogil
