"""Accumulation of the counts of each JSON object of a response. response_totals.pyx adds them up.

Law 1. Neither "the last usage" nor "the sum of usages" is right. Usage beside an empty `choices`,
       or in a dialect's closing event, is that of the whole request. Several such objects add up
       only for several requested or seen choices (llama.cpp sends one per choice), or on a conn
       with several answers. Else they are one, sent twice. Usage beside a choice is a running
       count of that choice and replaces the one before (vLLM's continuous_usage_stats). The whole
       beats the parts.
Law 2. An unknown count stays unknown: -1, never 0. Only where a dialect cannot generate (an
       embedding) are the missing completion tokens 0.
Law 3. Where the server has not counted, every event with text holds at least one token: that many
       are a lower bound, and are called one. A count is exact only if no text came after it.
Law 4. A count of used tokens never shrinks: of two for the same tokens, in any dialect, the higher
       holds. Anthropic's input moves between its three fields: their sum.
Tests: tests/unit/test_meter_totals.py, tests/unit/test_meter_golden.py.
"""

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from zeroproxy._fast.types.meter cimport (
    FACT_CACHED,
    FACT_CACHE_MADE,
    FACT_CACHE_READ,
    FACT_CHOICES,
    FACT_COMPLETION,
    FACT_CONTENT,
    FACT_DONE,
    FACT_EMBEDDING,
    FACT_ERROR,
    FACT_ERROR_CODE,
    FACT_FINISH,
    FACT_GENERATED,
    FACT_INDEX,
    FACT_NO_ID,
    FACT_PROMPT,
    FACT_REASONING,
    FACT_TOKEN,
    FACT_TOTAL,
    FACT_T_CACHE,
    FACT_T_PREDICTED,
    FACT_T_PROMPT,
    FAMILY_META,
    FAMILY_NATIVE,
    FAMILY_OLLAMA,
    FAMILY_TGI,
    FAMILY_USAGE,
    FAMILY_WORKER,
    METER_SLOTS,
    TYPE_ERROR,
    TYPE_MESSAGE,
    TYPE_MESSAGE_DELTA,
    TYPE_MESSAGE_START,
    TYPE_MESSAGE_STOP,
    TYPE_OTHER,
    TYPE_PING,
    TYPE_PRELUDE,
    TYPE_RESPONSE,
    TYPE_RESPONSE_FAILED,
    TYPE_TRANSCRIPTION,
    Meter,
    Slot,
    bit,
    value_of,
)
from zeroproxy._fast.usage.response_totals cimport UNKNOWN, added
from zeroproxy._fast.usage.template cimport learn_root_begins, learn_root_ends


cdef void begin_root(Meter *m) noexcept nogil:
    learn_root_begins(m)
    m.seen = 0
    m.type = TYPE_OTHER
    m.n_choices = 0
    m.first_index = 0
    m.n_prefill = 0


cdef void end_choice(Meter *m) noexcept nogil:
    """Add what an element of `choices` had."""
    cdef int64_t index = value_of(m, FACT_INDEX)
    if index < 0:
        index = 0
    if m.n_choices == 0:
        m.first_index = <uint16_t>(index if index < 0xFFFF else 0xFFFF)
    if m.n_choices < 255:
        m.n_choices += 1
    if index < 64:
        m.choices_seen |= <uint64_t>1 << index
        if m.seen & bit(FACT_FINISH):
            m.choices_done |= <uint64_t>1 << index
    m.seen &= ~(bit(FACT_INDEX) | bit(FACT_FINISH))


# ---------------------------------------------------------------- where counts go


cdef inline int64_t first_of(int64_t a, int64_t b) noexcept nogil:
    return a if a >= 0 else b


cdef inline int64_t higher(int64_t a, int64_t b) noexcept nogil:
    """The higher of two counts (law 4); -1, not known, is the least."""
    return a if a > b else b


cdef inline uint32_t small(int64_t n) noexcept nogil:
    """A count as a Slot keeps it."""
    return UNKNOWN if n < 0 else <uint32_t>(n if n < UNKNOWN else UNKNOWN - 1)


cdef inline uint32_t raised(uint32_t was, int64_t n) noexcept nogil:
    """The higher of two counts (law 4), as a Slot keeps it."""
    return small(n) if was == UNKNOWN or n > was else was


cdef void count_text(Meter *m) noexcept nogil:
    """Count an event with text."""
    m.n_parts += 1


cdef bint adds_up(const Meter *m) noexcept nogil:
    """True if two closing counts are those of two generations (law 1)."""
    return m.is_single or m.is_session or m.n_requested > 1 \
        or m.choices_seen & (m.choices_seen - 1) != 0


cdef void raise_final(Meter *m) noexcept nogil:
    """Add counts of the whole request, and of nothing else."""
    m.final.prompt = higher(m.final.prompt, value_of(m, FACT_PROMPT))
    m.final.completion = higher(m.final.completion, value_of(m, FACT_COMPLETION))
    m.final.cached = higher(m.final.cached, value_of(m, FACT_CACHED))
    m.final.reasoning = higher(m.final.reasoning, value_of(m, FACT_REASONING))
    if m.seen & bit(FACT_COMPLETION):
        m.n_parts_reported = m.n_parts


cdef void add_final(Meter *m, bint sums_prompts) noexcept nogil:
    """Add counts of the whole request, or of one generation that is reported only once."""
    cdef int64_t completion = value_of(m, FACT_COMPLETION)
    if m.seen & bit(FACT_T_PREDICTED) and m.n_reported < 255:
        m.n_reported += 1
    if not adds_up(m):
        raise_final(m)
        return
    if sums_prompts:
        m.final.prompt = added(m.final.prompt, value_of(m, FACT_PROMPT))
        m.final.cached = added(m.final.cached, value_of(m, FACT_CACHED))
    else:
        m.final.prompt = first_of(m.final.prompt, value_of(m, FACT_PROMPT))
        m.final.cached = first_of(m.final.cached, value_of(m, FACT_CACHED))
    m.final.completion = added(m.final.completion, completion)
    m.final.reasoning = added(m.final.reasoning, value_of(m, FACT_REASONING))
    if completion >= 0:
        m.n_parts_reported = m.n_parts


cdef Slot *slot_of(Meter *m, uint32_t key) noexcept nogil:
    """Slot of a choice; NULL: more are seen than kept."""
    cdef Slot *s
    cdef int k
    for k in range(m.n_slots):
        if m.slots[k].key == key:
            return &m.slots[k]
    if m.n_slots == METER_SLOTS:
        m.is_clipped = 1
        return NULL
    s = &m.slots[m.n_slots]
    s.key = key
    s.prompt = s.completion = s.cached = s.reasoning = UNKNOWN
    m.n_slots += 1
    return s


cdef void put_running(Meter *m, uint32_t key) noexcept nogil:
    """Replace a choice's counts by those so far."""
    cdef int64_t completion = value_of(m, FACT_COMPLETION)
    cdef Slot *s
    # Text without a token is no count: Ollama reports zeros until the last event.
    if completion == 0 and m.seen & bit(FACT_CONTENT):
        return
    s = slot_of(m, key)
    if s == NULL:
        return
    s.prompt = raised(s.prompt, value_of(m, FACT_PROMPT))
    s.completion = raised(s.completion, completion)
    s.cached = raised(s.cached, value_of(m, FACT_CACHED))
    s.reasoning = raised(s.reasoning, value_of(m, FACT_REASONING))
    if completion >= 0:
        m.n_parts_reported = m.n_parts


cdef void put_timings(Meter *m) noexcept nogil:
    """llama.cpp's timings in the shape of usage; cached tokens are part of the prompt. Builds
    without cache_n do not report the prompt either."""
    cdef int64_t cached = value_of(m, FACT_T_CACHE)
    cdef int64_t prompt = value_of(m, FACT_T_PROMPT)
    cdef int64_t completion = value_of(m, FACT_T_PREDICTED)
    if cached < 0 or prompt < 0 or completion < 0:
        return
    set_value(m, FACT_CACHED, cached)
    set_value(m, FACT_PROMPT, cached + prompt)
    set_value(m, FACT_COMPLETION, completion)
    put_running(m, m.first_index)


cdef void set_value(Meter *m, int fact, int64_t n) noexcept nogil:
    m.value[fact - FACT_PROMPT] = n
    m.seen |= bit(fact)


# ---------------------------------------------------------------- dialects


cdef void merge_anthropic(Meter *m) noexcept nogil:
    """Anthropic: input and cache in the first event or, better, in the last; output in the last.
    vLLM's first event has all of the input as one, its last has the cached part apart."""
    cdef int64_t prompt = value_of(m, FACT_PROMPT)
    cdef int64_t read = value_of(m, FACT_CACHE_READ)
    cdef int64_t made = value_of(m, FACT_CACHE_MADE)
    cdef int64_t was = added(added(m.final.prompt, m.final.cached), m.cache_made)
    m.is_anthropic = 1
    if prompt < 0:
        m.final.cached = higher(m.final.cached, read)
        m.cache_made = higher(m.cache_made, made)
    elif added(added(prompt, read), made) >= was:
        m.final.prompt = prompt
        m.final.cached = read
        m.cache_made = made
    # The output count of message_start is a placeholder.
    if m.type != TYPE_MESSAGE_START and m.seen & bit(FACT_COMPLETION):
        m.final.completion = higher(m.final.completion, value_of(m, FACT_COMPLETION))
        m.n_parts_reported = m.n_parts
    if m.type == TYPE_MESSAGE:
        m.is_ended = 1


cdef void merge_native(Meter *m) noexcept nogil:
    """llama.cpp /completion: both counts in every event."""
    m.sums_prompts = 1
    if m.seen & bit(FACT_T_CACHE):
        set_value(m, FACT_CACHED, value_of(m, FACT_T_CACHE))
    put_running(m, small(value_of(m, FACT_INDEX)) if m.seen & bit(FACT_INDEX) else 0)
    if m.seen & bit(FACT_DONE):
        m.is_ended = 1


cdef void merge_ollama(Meter *m) noexcept nogil:
    """Ollama: counts in the last line; a count that is missing was left out, not zero."""
    if m.seen & bit(FACT_EMBEDDING):
        set_value(m, FACT_COMPLETION, 0)
        m.is_ended = 1
    elif value_of(m, FACT_COMPLETION) == 0 and m.n_parts:
        # Servers that imitate Ollama and do not count.
        m.is_untrusted = 1
    raise_final(m)
    if m.seen & bit(FACT_DONE):
        m.is_ended = 1


cdef void merge_tgi(Meter *m) noexcept nogil:
    """TGI /generate and /generate_stream: one event, one token; details may have the prompt."""
    if m.seen & bit(FACT_TOKEN):
        m.n_tokens += 1
        m.counts_tokens = 1
    if m.seen & bit(FAMILY_TGI):
        m.final.prompt = higher(m.final.prompt, value_of(m, FACT_PROMPT))
        m.final.completion = higher(m.final.completion, value_of(m, FACT_COMPLETION))
        if m.n_prefill:
            m.final.prompt = m.n_prefill
    if m.seen & bit(FACT_GENERATED):
        m.is_ended = 1


cdef void merge_meta(Meter *m, bint is_stream) noexcept nogil:
    """SGLang /generate: running counts per generation; in one JSON text each stands once."""
    if is_stream:
        m.sums_prompts = 1
        put_running(m, m.meta_id)
        return
    if not m.seen & bit(FACT_COMPLETION):
        set_value(m, FACT_COMPLETION, 0)
    add_final(m, 1)


cdef void read_total(Meter *m) noexcept nogil:
    """Derive counts that are missing beside total_tokens. Rerank, score and embeddings generate
    nothing, so where it stands alone it is the prompt."""
    cdef int64_t total = value_of(m, FACT_TOTAL)
    cdef int64_t prompt = value_of(m, FACT_PROMPT)
    cdef int64_t completion = value_of(m, FACT_COMPLETION)
    if prompt < 0 and completion < 0:
        if not m.seen & bit(FACT_CHOICES):
            set_value(m, FACT_PROMPT, total)
    elif prompt < 0 and total >= completion:
        set_value(m, FACT_PROMPT, total - completion)
    elif completion < 0 and total >= prompt:
        set_value(m, FACT_COMPLETION, total - prompt)


cdef void merge_usage(Meter *m, bint is_stream) noexcept nogil:
    """OpenAI's usage, and the fields that servers put beside or instead of it."""
    if m.seen & bit(FACT_TOTAL):
        read_total(m)
    if m.seen & bit(FAMILY_USAGE) and m.seen & (bit(FACT_PROMPT) | bit(FACT_COMPLETION)):
        if not is_stream and not m.seen & (bit(FACT_COMPLETION) | bit(FACT_CHOICES)):
            set_value(m, FACT_COMPLETION, 0)
        if (m.seen & bit(FACT_CHOICES) and m.n_choices == 0) or not is_stream:
            add_final(m, 0)
        else:
            put_running(m, m.first_index)
    elif m.seen & bit(FACT_T_CACHE):
        put_timings(m)
    if not is_stream and m.n_choices > 1 and m.seen & bit(FACT_T_PREDICTED):
        # llama.cpp answers n > 1, or several prompts, with the usage of the first choice only.
        m.is_untrusted = 1
    if m.seen & bit(FACT_ERROR_CODE) and m.seen & bit(FACT_FINISH):
        m.is_ended = 1


cdef void note_error(Meter *m) noexcept nogil:
    if m.seen & bit(FACT_ERROR) or m.type in (TYPE_ERROR, TYPE_RESPONSE_FAILED):
        m.has_failed = 1
    elif value_of(m, FACT_ERROR_CODE) > 0:
        m.has_failed = 1


cdef void merge_typed(Meter *m) noexcept nogil:
    """Dialects whose events have a type."""
    if m.type == TYPE_PING:
        m.is_ping = 1
    elif m.type == TYPE_PRELUDE:
        return
    elif m.type in (TYPE_MESSAGE, TYPE_MESSAGE_START, TYPE_MESSAGE_DELTA):
        merge_anthropic(m)
    elif m.type == TYPE_MESSAGE_STOP:
        m.is_ended = 1
    elif m.type != TYPE_ERROR:
        if m.seen & bit(FAMILY_USAGE) and m.seen & (bit(FACT_PROMPT) | bit(FACT_COMPLETION)):
            add_final(m, m.is_session and m.type != TYPE_TRANSCRIPTION)
        # In a session the next response begins, and has not ended.
        m.is_ended = m.type != TYPE_RESPONSE or (m.is_ended and not m.is_session)


cdef bint is_prelude(const Meter *m) noexcept nogil:
    """True if the root announces content and has none: a role, an empty closing usage,
    message_start, response.created. A root of no known dialect is no prelude."""
    if m.n_parts or m.choices_done or m.seen & (bit(FACT_ERROR) | bit(FACT_FINISH)):
        return 0
    return m.seen & bit(FACT_CHOICES) != 0 \
        or m.type in (TYPE_MESSAGE_START, TYPE_RESPONSE, TYPE_PRELUDE)


cdef void end_root(Meter *m) noexcept nogil:
    """Add what a JSON object of the response had, once it has ended."""
    # response_meter.KIND_JSON: one text, not a stream of them.
    cdef bint is_stream = not m.is_single
    note_error(m)
    # TGI's chat (its ids are empty) makes one event a token, the one without text included.
    if m.seen & bit(FACT_CONTENT) or (m.seen & bit(FACT_NO_ID) and m.n_choices):
        count_text(m)
    if m.type != TYPE_OTHER:
        merge_typed(m)
    elif m.seen & bit(FAMILY_META):
        merge_meta(m, is_stream)
    elif m.seen & bit(FAMILY_NATIVE):
        merge_native(m)
    elif m.seen & (bit(FACT_TOKEN) | bit(FACT_GENERATED)):
        merge_tgi(m)
    elif m.seen & bit(FAMILY_WORKER):
        set_value(m, FACT_COMPLETION, 0)
        add_final(m, 1)
        m.is_ended = 1
    elif m.seen & (bit(FAMILY_OLLAMA) | bit(FACT_DONE)):
        merge_ollama(m)
    else:
        merge_usage(m, is_stream)
    if not m.has_begun:
        m.is_prelude = is_prelude(m)
    m.n_roots += 1
    learn_root_ends(m)
