"""Levels of a JSON text: the meaning of an object or array at its start, its effect at its end.

Law. Only usage/dialects.pyx gives meaning; a level that has none is counted and nothing else.
Tests: tests/unit/test_meter.py.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from zeroproxy._fast.types.meter cimport (
    FACT_CACHE_MADE,
    FACT_CHOICES,
    FACT_CONTENT,
    FACT_EMBEDDING,
    FACT_ERROR,
    FACT_FINISH,
    FACT_INDEX,
    FACT_PROMPT,
    FACT_TOKEN,
    FACT_TOTAL,
    FAMILY_META,
    FAMILY_TGI,
    FAMILY_USAGE,
    PLACE_CALLS,
    PLACE_CHOICE,
    PLACE_CHOICES,
    PLACE_COUNT,
    PLACE_META,
    PLACE_PREFILL,
    PLACE_ROOT,
    PLACE_ROOTS,
    PLACE_TGI,
    PLACE_TIMINGS,
    PLACE_TOKEN,
    PLACE_USAGE,
    SENSE_NONE,
    WALK_DEPTH,
    Meter,
    Walk,
    bit,
)
from zeroproxy._fast.usage.accumulator cimport begin_root, end_choice, end_root
from zeroproxy._fast.usage.json_levels cimport place_now, sense_of_element


cdef int open_array(Meter *m, int sense) noexcept nogil:
    """The Sense of an array's level."""
    if sense == PLACE_ROOT:
        return PLACE_ROOTS
    if sense == PLACE_CHOICES:
        m.seen |= bit(FACT_CHOICES)
        return sense
    if sense == FACT_EMBEDDING:
        m.seen |= bit(FACT_EMBEDDING)
    return sense if sense == PLACE_CALLS or sense == PLACE_PREFILL else SENSE_NONE


cdef int open_object(Meter *m, int sense) noexcept nogil:
    """The Sense of an object's level; its mere presence may be a fact."""
    if sense == PLACE_ROOT:
        begin_root(m)
    elif sense == PLACE_USAGE:
        # The last of two usage objects counts, as in every JSON parser these servers' clients use.
        m.seen &= ~((<uint64_t>2 << (FACT_CACHE_MADE - FACT_PROMPT)) - 1 | bit(FACT_TOTAL))
        m.seen |= bit(FAMILY_USAGE)
    elif sense == PLACE_CHOICE:
        m.seen &= ~(bit(FACT_INDEX) | bit(FACT_FINISH))
    elif sense == PLACE_META:
        m.seen |= bit(FAMILY_META)
    elif sense == PLACE_TGI:
        m.seen |= bit(FAMILY_TGI)
    elif sense == PLACE_TOKEN:
        m.seen |= bit(FACT_TOKEN)
    elif sense == PLACE_CALLS:
        # delta.audio, delta.function_call.
        m.seen |= bit(FACT_CONTENT)
        return SENSE_NONE
    elif sense == PLACE_CHOICES or sense == PLACE_PREFILL:
        return SENSE_NONE
    elif sense == FACT_ERROR:
        m.seen |= bit(FACT_ERROR)
        return SENSE_NONE
    elif sense == FACT_FINISH:
        # SGLang's meta_info.finish_reason is an object.
        m.seen |= bit(FACT_FINISH)
    return sense if sense < PLACE_COUNT else SENSE_NONE


cdef void note_element(Meter *m, int place) noexcept nogil:
    """Note an object or array that begins inside the array `place`."""
    if place == PLACE_CALLS:
        m.seen |= bit(FACT_CONTENT)
    elif place == PLACE_PREFILL:
        m.n_prefill += 1


cdef void open_level(Meter *m, bint is_object, uint32_t at) noexcept nogil:
    cdef Walk *w = &m.walk
    cdef int sense
    note_element(m, place_now(w))
    sense = open_object(m, w.here.sense) if is_object else open_array(m, w.here.sense)
    if sense == PLACE_ROOT:
        w.comma = at
    if w.here.depth < WALK_DEPTH:
        w.here.place[w.here.depth] = <uint8_t>sense
    w.here.depth += 1
    w.here.is_key = is_object
    w.here.sense = SENSE_NONE if is_object else <uint8_t>sense_of_element(sense)


cdef void close_level(Meter *m, uint32_t at) noexcept nogil:
    cdef Walk *w = &m.walk
    cdef int place = place_now(w)
    if w.here.depth:
        w.here.depth -= 1
    if place == PLACE_CHOICE:
        end_choice(m)
    elif place == PLACE_ROOT:
        end_root(m)
    elif PLACE_USAGE <= place <= PLACE_TIMINGS and place_now(w) == PLACE_ROOT:
        w.usage.end = at + 1
    w.here.is_key = 0
    w.here.sense = PLACE_ROOT if w.here.depth == 0 else SENSE_NONE
