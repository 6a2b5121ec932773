"""The end of a response: its totals, and how exact they are.

Law 1. Exact is a count by the server up to the end, unless it counts no token where there was text.
       (Absurd counts are left out where records are made: response_usage.pyx.)
Law 2. Cached tokens are prompt tokens: never more of them.
Tests: tests/unit/test_meter_totals.py.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from zeroproxy._fast.types.meter cimport (
    EXACTNESS_EXACT,
    EXACTNESS_LOWER_BOUND,
    EXACTNESS_NONE,
    EXACTNESS_UNTRUSTED,
    Meter,
    Slot,
    Tokens,
)
from zeroproxy._fast.usage.response_totals cimport UNKNOWN, added


cdef inline int64_t known(uint32_t n) noexcept nogil:
    return -1 if n == UNKNOWN else n


cdef inline uint32_t group_of(const Meter *m, int k) noexcept nogil:
    """Choices of one prompt share it: n of them each, numbered prompt by prompt."""
    return m.slots[k].key // m.n_requested if m.n_requested else m.slots[k].key


cdef void sum_prompts(const Meter *m, Tokens *t) noexcept nogil:
    """Each prompt once, and what of it was cached: as its first choice has it."""
    cdef int k, j
    t.prompt = t.cached = -1
    for k in range(m.n_slots):
        for j in range(k):
            if group_of(m, j) == group_of(m, k):
                break
        else:
            t.prompt = added(t.prompt, known(m.slots[k].prompt))
            t.cached = added(t.cached, known(m.slots[k].cached))


cdef void sum_slots(const Meter *m, Tokens *t) noexcept nogil:
    cdef const Slot *s
    cdef int k
    for k in range(m.n_slots):
        s = &m.slots[k]
        if t.prompt < 0:
            t.prompt = known(s.prompt)
        if t.cached < 0:
            t.cached = known(s.cached)
        t.completion = added(t.completion, known(s.completion))
        t.reasoning = added(t.reasoning, known(s.reasoning))
    if m.sums_prompts:
        sum_prompts(m, t)


cdef bint lacks_choices(const Meter *m) noexcept nogil:
    """True if a choice has begun whose tokens the server had not counted at the end."""
    cdef uint64_t rest = m.choices_seen
    cdef int n = m.n_reported if m.final.completion >= 0 else m.n_slots
    if m.is_single or n == 0:
        return 0
    while rest:
        rest &= rest - 1
        n -= 1
    return n < 0


cdef int lower_bound(const Meter *m, Tokens *t) noexcept nogil:
    """Lower bound of a completion that the server has not counted whole."""
    if t.completion < 0 and t.prompt < 0 and m.n_parts == 0:
        return EXACTNESS_NONE
    if t.completion < 0:
        t.completion = m.n_parts
    else:
        t.completion += m.n_parts - m.n_parts_reported
    return EXACTNESS_LOWER_BOUND


cdef int sum_all(const Meter *m, Tokens *t) noexcept nogil:
    cdef bint is_final = m.final.completion >= 0
    t.prompt = m.final.prompt
    t.completion = m.final.completion
    t.cached = m.final.cached
    t.reasoning = m.final.reasoning
    if not is_final:
        sum_slots(m, t)
    if m.is_anthropic and t.prompt >= 0:
        t.prompt += (t.cached if t.cached > 0 else 0) + (m.cache_made if m.cache_made > 0 else 0)
    if m.counts_tokens and t.completion < 0:
        t.completion = m.n_tokens
    elif m.counts_tokens == 0:
        if t.prompt < 0:
            t.prompt = m.head_prompt
        if t.completion < 0:
            t.completion = m.head_completion
        if t.completion < 0 or lacks_choices(m) or (
            (m.is_session or not is_final) and (m.n_parts > m.n_parts_reported or m.is_clipped)
        ):
            return lower_bound(m, t)
    return EXACTNESS_EXACT


cdef bint counts_nothing(const Meter *m, const Tokens *t) noexcept nogil:
    """True for zeros where there was an answer. An echo of the prompt is text without a token."""
    if t.completion != 0:
        return 0
    if t.prompt > 0 and (m.is_single or m.sums_prompts):
        return 0
    return m.n_parts != 0 or (m.is_single and m.choices_seen != 0)


cdef int sum_tokens(const Meter *m, Tokens *t) noexcept nogil:
    """Fill `t` with the totals of the response; returns their Exactness."""
    cdef int exactness = sum_all(m, t)
    if t.cached > t.prompt >= 0:
        t.cached = t.prompt
    if m.is_absurd or (exactness == EXACTNESS_EXACT and (m.is_untrusted or counts_nothing(m, t))):
        return EXACTNESS_UNTRUSTED
    return exactness
