"""Questions: exchanges whose head Python has to judge wait for its answer.

Law 1. An exchange that waits is like one in the queue for a permit. It holds its head in the
       in-buffer and nothing else, nothing more of its caller is read, and it has a deadline.
Law 2. The answer brings the head to be read again from its first byte. The reader finds the verdict
       in a table of its own, else in Exchange.verdict, and does not ask twice.
Law 3. One text is one question, however many wait for it; QUESTIONS_MAX are open at most.
Law 4. A caller that leaves does not withdraw its question: the answer is good for the next one.
Tests: tests/relay/test_tokens.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy

from zeroproxy._fast.exchange.relay_pool cimport relay_later
from zeroproxy._fast.types.invariant cimport invariant
from zeroproxy._fast.types.plane cimport Plane, Relay
from zeroproxy._fast.types.token cimport QUESTIONS_MAX, QUESTION_FREE, QUESTION_OPEN, TAG, Question


cdef Question *find(Plane *p, const uint8_t *tag) noexcept nogil:
    """The question about this text, else a free one; NULL: there is none."""
    cdef Question *q
    cdef Question *unused = NULL
    cdef uint32_t i
    for i in range(QUESTIONS_MAX):
        q = &p.questions[i]
        if q.state == QUESTION_FREE:
            if unused == NULL:
                unused = q
        elif memcmp(q.tag, tag, TAG) == 0:
            return q
    return unused


cdef void wait_for(Question *q, Relay *r) noexcept nogil:
    r.queue_prev = <Relay *>q.last_waiting
    r.queue_next = NULL
    if q.last_waiting != NULL:
        (<Relay *>q.last_waiting).queue_next = r
    else:
        q.first_waiting = r
    q.last_waiting = r
    r.x.question = q


cdef bint question_ask(
    Plane *p, Relay *r, const uint8_t *tag, const char *at, size_t n
) noexcept nogil:
    cdef Question *q = find(p, tag) if p.questions != NULL else NULL
    invariant(r.x.question == NULL)
    if q == NULL:
        p.tokens.n_turned_away += 1
        return 0
    if q.state == QUESTION_FREE:
        q.text = <char *>malloc(n)
        if q.text == NULL:
            return 0
        memcpy(q.text, at, n)
        memcpy(q.tag, tag, TAG)
        q.len = <uint32_t>n
        q.generation += 1
        q.state = QUESTION_OPEN
        p.tokens.n_questions += 1
        p.has_questions = 1
    wait_for(q, r)
    return 1


cdef void question_leave(Relay *r) noexcept nogil:
    cdef Question *q = r.x.question
    if q == NULL:
        return
    if r.queue_prev != NULL:
        r.queue_prev.queue_next = r.queue_next
    else:
        q.first_waiting = r.queue_next
    if r.queue_next != NULL:
        r.queue_next.queue_prev = r.queue_prev
    else:
        q.last_waiting = r.queue_prev
    r.queue_prev = r.queue_next = NULL
    r.x.question = NULL


cdef void question_answer(Plane *p, Question *q, int verdict) noexcept nogil:
    cdef Relay *r
    while q.first_waiting != NULL:
        r = <Relay *>q.first_waiting
        question_leave(r)
        r.x.verdict = <uint8_t>verdict
        relay_later(p, r)
    free(q.text)
    q.text = NULL
    q.state = QUESTION_FREE
