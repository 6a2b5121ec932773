"""From what each JSON object of a response says to the totals of the whole response.

Law 1. Neither "the last usage" nor "the sum of usages" is right. Usage beside an empty `choices`,
       or in a dialect's closing event, is that of the whole request: several such objects add up
       (llama.cpp sends one per choice). Usage beside a choice is a running count of that choice and
       replaces the one before (vLLM's continuous_usage_stats). The whole beats the parts.
Law 2. What is not known stays unknown: -1, never 0. Only where a dialect cannot generate (an
       embedding) are the missing completion tokens 0.
Law 3. Where the server has not counted, every event with text holds at least one token: that many
       are a lower bound, and are called one. A count is exact only if no text came after it.
"""

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from zeroproxy._fast.meter_types cimport (
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
    TYPE_RESPONSE,
    TYPE_RESPONSE_FAILED,
    Meter,
    Slot,
    bit,
    value_of,
)
from zeroproxy._fast.skeleton cimport learn_root_begins, learn_root_ends
from zeroproxy._fast.types cimport EXACT, LOWER_BOUND, NONE, UNTRUSTED, Tokens

cdef enum:
    UNKNOWN = 0xFFFFFFFF    # in a Slot


cdef void begin_root(Meter *m) noexcept nogil:
    learn_root_begins(m)
    m.seen = 0
    m.type = TYPE_OTHER
    m.n_choices = 0
    m.first_index = 0
    m.n_prefill = 0


cdef void end_choice(Meter *m) noexcept nogil:
    """An element of `choices` has ended."""
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


cdef inline int64_t added(int64_t a, int64_t b) noexcept nogil:
    return b if a < 0 else a if b < 0 else a + b


cdef inline int64_t first_of(int64_t a, int64_t b) noexcept nogil:
    return a if a >= 0 else b


cdef inline uint32_t small(int64_t n) noexcept nogil:
    """As a Slot keeps it."""
    return UNKNOWN if n < 0 else <uint32_t>(n if n < UNKNOWN else UNKNOWN - 1)


cdef void count_text(Meter *m) noexcept nogil:
    """An event with text."""
    m.n_parts += 1
    m.n_parts_new += 1


cdef void add_final(Meter *m, bint sums_prompts) noexcept nogil:
    """Counts of the whole request, or of one generation that is reported only once."""
    cdef int64_t completion = value_of(m, FACT_COMPLETION)
    if sums_prompts:
        m.final.prompt = added(m.final.prompt, value_of(m, FACT_PROMPT))
        m.final.cached = added(m.final.cached, value_of(m, FACT_CACHED))
    else:
        m.final.prompt = first_of(m.final.prompt, value_of(m, FACT_PROMPT))
        m.final.cached = first_of(m.final.cached, value_of(m, FACT_CACHED))
    m.final.completion = added(m.final.completion, completion)
    m.final.reasoning = added(m.final.reasoning, value_of(m, FACT_REASONING))
    if completion >= 0:
        m.n_parts_new = 0
    if m.seen & bit(FACT_T_PREDICTED) and m.n_told < 255:
        m.n_told += 1


cdef Slot *slot_of(Meter *m, uint32_t key) noexcept nogil:
    """NULL: more are seen than kept."""
    cdef int k
    for k in range(m.n_slots):
        if m.slots[k].key == key:
            return &m.slots[k]
    if m.n_slots == METER_SLOTS:
        m.is_clipped = 1
        return NULL
    m.slots[m.n_slots].key = key
    m.n_slots += 1
    return &m.slots[m.n_slots - 1]


cdef void put_running(Meter *m, uint32_t key) noexcept nogil:
    """Counts so far of one choice; they replace what it had."""
    cdef int64_t completion = value_of(m, FACT_COMPLETION)
    cdef Slot *s
    # Text without a token is no count: Ollama reports zeros until the last event.
    if completion == 0 and m.seen & bit(FACT_CONTENT):
        return
    s = slot_of(m, key)
    if s == NULL:
        return
    s.prompt = small(value_of(m, FACT_PROMPT))
    s.completion = small(completion)
    s.cached = small(value_of(m, FACT_CACHED))
    s.reasoning = small(value_of(m, FACT_REASONING))
    if completion >= 0:
        m.n_parts_new = 0


cdef void put_timings(Meter *m) noexcept nogil:
    """llama.cpp's timings in the shape of usage; cached tokens are part of the prompt. Builds that
    do not say cache_n do not say the prompt either."""
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


cdef void fold_anthropic(Meter *m) noexcept nogil:
    """Anthropic: input and cache in the first event or, better, in the last; output in the last."""
    cdef int64_t prompt = value_of(m, FACT_PROMPT)
    m.is_anthropic = 1
    if prompt >= 0:
        m.final.prompt = prompt
        m.final.cached = m.cache_made = -1
    m.final.cached = first_of(value_of(m, FACT_CACHE_READ), m.final.cached)
    m.cache_made = first_of(value_of(m, FACT_CACHE_MADE), m.cache_made)
    # What message_start says of the output is a placeholder.
    if m.type != TYPE_MESSAGE_START and m.seen & bit(FACT_COMPLETION):
        m.final.completion = value_of(m, FACT_COMPLETION)
        m.n_parts_new = 0
    if m.type == TYPE_MESSAGE:
        m.is_ended = 1


cdef void fold_native(Meter *m) noexcept nogil:
    """llama.cpp /completion: both counts in every event."""
    m.sums_prompts = 1
    if m.seen & bit(FACT_T_CACHE):
        set_value(m, FACT_CACHED, value_of(m, FACT_T_CACHE))
    put_running(m, small(value_of(m, FACT_INDEX)) if m.seen & bit(FACT_INDEX) else 0)
    if m.seen & bit(FACT_DONE):
        m.is_ended = 1


cdef void fold_ollama(Meter *m) noexcept nogil:
    """Ollama: counts in the last line; a count that is missing was left out, not zero."""
    cdef int64_t completion = value_of(m, FACT_COMPLETION)
    m.final.prompt = first_of(value_of(m, FACT_PROMPT), m.final.prompt)
    m.final.cached = first_of(value_of(m, FACT_CACHED), m.final.cached)
    if m.seen & bit(FACT_EMBEDDING):
        completion = 0
        m.is_ended = 1
    elif completion == 0 and m.n_parts:
        # Servers that imitate Ollama and do not count.
        m.is_untrusted = 1
    if completion >= 0:
        m.final.completion = completion
        m.n_parts_new = 0
    if m.seen & bit(FACT_DONE):
        m.is_ended = 1


cdef void fold_tgi(Meter *m) noexcept nogil:
    """TGI /generate and /generate_stream: one event, one token; details may say the prompt."""
    if m.seen & bit(FACT_TOKEN):
        m.n_tokens += 1
        m.counts_tokens = 1
    if m.seen & bit(FAMILY_TGI):
        m.final.prompt = first_of(value_of(m, FACT_PROMPT), m.final.prompt)
        m.final.completion = first_of(value_of(m, FACT_COMPLETION), m.final.completion)
        if m.n_prefill:
            m.final.prompt = m.n_prefill
    if m.seen & bit(FACT_GENERATED):
        m.is_ended = 1


cdef void fold_meta(Meter *m, bint is_stream) noexcept nogil:
    """SGLang /generate: running counts per generation; in one JSON text each stands once."""
    if is_stream:
        m.sums_prompts = 1
        put_running(m, m.meta_id)
        return
    if not m.seen & bit(FACT_COMPLETION):
        set_value(m, FACT_COMPLETION, 0)
    add_final(m, 1)


cdef void fold_usage(Meter *m, bint is_stream) noexcept nogil:
    """OpenAI's usage, and what servers put beside or instead of it."""
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


cdef void fold_typed(Meter *m) noexcept nogil:
    """Dialects whose events say what they are."""
    if m.type in (TYPE_MESSAGE, TYPE_MESSAGE_START, TYPE_MESSAGE_DELTA):
        fold_anthropic(m)
    elif m.type == TYPE_MESSAGE_STOP:
        m.is_ended = 1
    elif m.type != TYPE_ERROR:
        if m.seen & bit(FAMILY_USAGE) and m.seen & (bit(FACT_PROMPT) | bit(FACT_COMPLETION)):
            add_final(m, 0)
        if m.type != TYPE_RESPONSE:
            m.is_ended = 1


cdef void end_root(Meter *m) noexcept nogil:
    """A JSON object of the response has ended: what it says finds its place."""
    # meter.KIND_JSON: one text, not a stream of them.
    cdef bint is_stream = not m.is_single
    note_error(m)
    # TGI's chat (its ids are empty) makes one event a token, the one without text included.
    if m.seen & bit(FACT_CONTENT) or (m.seen & bit(FACT_NO_ID) and m.n_choices):
        count_text(m)
    if m.type != TYPE_OTHER:
        fold_typed(m)
    elif m.seen & bit(FAMILY_META):
        fold_meta(m, is_stream)
    elif m.seen & bit(FAMILY_NATIVE):
        fold_native(m)
    elif m.seen & (bit(FACT_TOKEN) | bit(FACT_GENERATED)):
        fold_tgi(m)
    elif m.seen & bit(FAMILY_WORKER):
        set_value(m, FACT_COMPLETION, 0)
        add_final(m, 1)
        m.is_ended = 1
    elif m.seen & (bit(FAMILY_OLLAMA) | bit(FACT_DONE)):
        fold_ollama(m)
    else:
        fold_usage(m, is_stream)
    m.n_roots += 1
    learn_root_ends(m)


# ---------------------------------------------------------------- the end


cdef int64_t known(uint32_t n) noexcept nogil:
    return -1 if n == UNKNOWN else n


cdef int64_t sum_prompts(const Meter *m) noexcept nogil:
    """Choices of one prompt share it: n of them each, numbered prompt by prompt."""
    cdef int64_t sum = -1
    cdef int k, j
    cdef uint32_t group
    for k in range(m.n_slots):
        group = m.slots[k].key // m.n_asked if m.n_asked else m.slots[k].key
        for j in range(k):
            if group == (m.slots[j].key // m.n_asked if m.n_asked else m.slots[j].key):
                break
        else:
            sum = added(sum, known(m.slots[k].prompt))
    return sum


cdef void sum_slots(const Meter *m, Tokens *t) noexcept nogil:
    cdef const Slot *s
    cdef int k
    for k in range(m.n_slots):
        s = &m.slots[k]
        t.prompt = first_of(t.prompt, known(s.prompt))
        t.completion = added(t.completion, known(s.completion))
        t.cached = added(t.cached, known(s.cached)) if m.sums_prompts \
            else first_of(t.cached, known(s.cached))
        t.reasoning = added(t.reasoning, known(s.reasoning))
    if m.sums_prompts:
        t.prompt = sum_prompts(m)


cdef bint lacks_choices(const Meter *m) noexcept nogil:
    """Whether a choice has begun whose tokens the server had not told when the response ended."""
    cdef uint64_t rest = m.choices_seen
    cdef int n = m.n_told if m.final.completion >= 0 else m.n_slots
    if m.is_single or n == 0:
        return 0
    while rest:
        rest &= rest - 1
        n -= 1
    return n < 0


cdef int lower_bound(const Meter *m, Tokens *t) noexcept nogil:
    """Some or all of the completion was not counted by the server."""
    if t.completion < 0 and t.prompt < 0 and m.n_parts == 0:
        return NONE
    t.completion = m.n_parts if t.completion < 0 else t.completion + m.n_parts_new
    return LOWER_BOUND


cdef int fold_all(const Meter *m, Tokens *t) noexcept nogil:
    """The totals of the response, and their Exactness."""
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
        t.prompt = first_of(t.prompt, m.head_prompt)
        t.completion = first_of(t.completion, m.head_completion)
        if t.completion < 0 or (not is_final and (m.n_parts_new or m.is_clipped)) \
                or lacks_choices(m):
            return lower_bound(m, t)
    return UNTRUSTED if m.is_untrusted else EXACT
