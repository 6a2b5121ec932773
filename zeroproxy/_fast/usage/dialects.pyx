"""Keys of every dialect that the meter reads: the meaning of each, by its place.

Source: the servers' own code, by the versions named in docs/metering.md. A name counts only in the
place it is listed for; the same word anywhere else is text.

Law. MEANINGS is the only source. It is compiled at import into a table by place and length, so that
     a key costs one look-up and, at most times, one comparison.
Tests: tests/unit/test_meter_golden.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t
from libc.string cimport memcmp, memcpy

from zeroproxy._fast.jsonscan.string_end_and_number cimport is_equal
from zeroproxy._fast.types.meter cimport (
    FACT_CACHED,
    FACT_CACHE_MADE,
    FACT_CACHE_READ,
    FACT_COMPLETION,
    FACT_CONTENT,
    FACT_DONE,
    FACT_EMBEDDING,
    FACT_ERROR,
    FACT_ERROR_CODE,
    FACT_FINISH,
    FACT_GENERATED,
    FACT_INDEX,
    FACT_META_ID,
    FACT_MODEL,
    FACT_NO_ID,
    FACT_OBJECT,
    FACT_PROMPT,
    FACT_REASONING,
    FACT_TOTAL,
    FACT_TYPE,
    FACT_T_CACHE,
    FACT_T_PREDICTED,
    FACT_T_PROMPT,
    FAMILY_NATIVE,
    FAMILY_OLLAMA,
    FAMILY_SPAN,
    FAMILY_WORKER,
    PLACE_CALLS,
    PLACE_CHOICE,
    PLACE_CHOICES,
    PLACE_COUNT,
    PLACE_DELTA,
    PLACE_DETAILS,
    PLACE_MESSAGE,
    PLACE_META,
    PLACE_PREFILL,
    PLACE_RESPONSE,
    PLACE_ROOT,
    PLACE_TGI,
    PLACE_TIMINGS,
    PLACE_TOKEN,
    PLACE_USAGE,
    TYPE_ERROR,
    TYPE_MESSAGE,
    TYPE_MESSAGE_DELTA,
    TYPE_MESSAGE_START,
    TYPE_MESSAGE_STOP,
    TYPE_OTHER,
    TYPE_PING,
    TYPE_PRELUDE,
    TYPE_RESPONSE,
    TYPE_RESPONSE_DONE,
    TYPE_RESPONSE_FAILED,
    TYPE_TRANSCRIPTION,
    WALK_TEXT,
)
from zeroproxy._fast.usage.dialects cimport Name

# A name with a family: (sense, family).
MEANINGS = {
    PLACE_ROOT: {
        b"model": FACT_MODEL,
        b"id": FACT_NO_ID,
        b"type": FACT_TYPE,
        b"object": FACT_OBJECT,
        b"choices": PLACE_CHOICES,
        b"usage": (PLACE_USAGE, FAMILY_SPAN),
        b"message": PLACE_MESSAGE,
        b"response": PLACE_RESPONSE,
        b"error": FACT_ERROR,
        b"error_code": FACT_ERROR_CODE,
        b"finish_reason": FACT_FINISH,
        b"timings": (PLACE_TIMINGS, FAMILY_SPAN),
        b"meta_info": PLACE_META,
        b"index": FACT_INDEX,
        b"content": FACT_CONTENT,
        b"delta": PLACE_DELTA,
        b"tokens_evaluated": (FACT_PROMPT, FAMILY_NATIVE),
        b"tokens_predicted": (FACT_COMPLETION, FAMILY_NATIVE),
        b"stop": FACT_DONE,
        b"prompt_eval_count": (FACT_PROMPT, FAMILY_OLLAMA),
        b"eval_count": (FACT_COMPLETION, FAMILY_OLLAMA),
        b"prompt_eval_cached_count": (FACT_CACHED, FAMILY_OLLAMA),
        b"done": FACT_DONE,
        b"embedding": FACT_EMBEDDING,
        b"embeddings": FACT_EMBEDDING,
        b"token": PLACE_TOKEN,
        b"generated_text": FACT_GENERATED,
        b"details": PLACE_TGI,
        b"token_num": (FACT_PROMPT, FAMILY_WORKER),
    },
    PLACE_MESSAGE: {
        b"model": FACT_MODEL,
        b"usage": PLACE_USAGE,
        b"content": FACT_CONTENT,
        b"thinking": FACT_CONTENT,
    },
    PLACE_RESPONSE: {
        b"model": FACT_MODEL,
        b"usage": PLACE_USAGE,
    },
    PLACE_CHOICE: {
        b"index": FACT_INDEX,
        b"delta": PLACE_DELTA,
        b"text": FACT_CONTENT,
        b"finish_reason": FACT_FINISH,
    },
    PLACE_DELTA: {
        b"content": FACT_CONTENT,
        b"reasoning": FACT_CONTENT,
        b"reasoning_content": FACT_CONTENT,
        b"refusal": FACT_CONTENT,
        b"tool_calls": PLACE_CALLS,
        b"function_call": PLACE_CALLS,
        b"audio": PLACE_CALLS,
        b"images": PLACE_CALLS,
        b"reasoning_details": PLACE_CALLS,
        b"text": FACT_CONTENT,
        b"thinking": FACT_CONTENT,
        b"partial_json": FACT_CONTENT,
    },
    PLACE_USAGE: {
        b"prompt_tokens": FACT_PROMPT,
        b"input_tokens": FACT_PROMPT,
        b"completion_tokens": FACT_COMPLETION,
        b"output_tokens": FACT_COMPLETION,
        b"total_tokens": FACT_TOTAL,
        b"reasoning_tokens": FACT_REASONING,
        b"cache_read_input_tokens": FACT_CACHE_READ,
        b"cache_creation_input_tokens": FACT_CACHE_MADE,
        b"prompt_tokens_details": PLACE_DETAILS,
        b"input_tokens_details": PLACE_DETAILS,
        b"completion_tokens_details": PLACE_DETAILS,
        b"output_tokens_details": PLACE_DETAILS,
    },
    PLACE_DETAILS: {
        b"cached_tokens": FACT_CACHED,
        b"reasoning_tokens": FACT_REASONING,
        b"reasoning": FACT_REASONING,
    },
    PLACE_TIMINGS: {
        b"cache_n": FACT_T_CACHE,
        b"prompt_n": FACT_T_PROMPT,
        b"predicted_n": FACT_T_PREDICTED,
    },
    PLACE_META: {
        b"id": FACT_META_ID,
        b"finish_reason": FACT_FINISH,
        b"prompt_tokens": FACT_PROMPT,
        b"completion_tokens": FACT_COMPLETION,
        b"cached_tokens": FACT_CACHED,
        b"reasoning_tokens": FACT_REASONING,
    },
    PLACE_TGI: {
        b"input_length": FACT_PROMPT,
        b"generated_tokens": FACT_COMPLETION,
        b"prefill": PLACE_PREFILL,
    },
}

TYPES = {
    b"message": TYPE_MESSAGE,
    b"message_start": TYPE_MESSAGE_START,
    b"message_delta": TYPE_MESSAGE_DELTA,
    b"message_stop": TYPE_MESSAGE_STOP,
    b"content_block_start": TYPE_PRELUDE,
    b"ping": TYPE_PING,
    b"keepalive": TYPE_PING,
    b"response.completed": TYPE_RESPONSE_DONE,
    b"response.incomplete": TYPE_RESPONSE_DONE,
    b"response.failed": TYPE_RESPONSE_FAILED,
    b"transcription.done": TYPE_TRANSCRIPTION,
    b"transcript.text.done": TYPE_TRANSCRIPTION,
    b"error": TYPE_ERROR,
}

cdef enum:
    NAMES_MAX = 96

cdef Name[NAMES_MAX] NAMES
cdef uint8_t[PLACE_COUNT][WALK_TEXT + 1] FIRST
cdef uint8_t[PLACE_COUNT] HAS
cdef Name[16] TYPE_NAMES
cdef int n_types = 0


cdef int compile_meanings() except -1:
    """Index 0 of NAMES stays free: it means none."""
    cdef int n = 0
    cdef Name *name
    global n_types
    for place, keys in MEANINGS.items():
        HAS[<int>place] = 1
        for word, meaning in keys.items():
            if len(word) > WALK_TEXT:
                raise ValueError(f"{word!r}: longer than what is kept of a key")
            n += 1
            name = &NAMES[n]
            memcpy(name.text, <const char *>word, len(word))
            name.len = len(word)
            name.sense, name.family = meaning if isinstance(meaning, tuple) else (meaning, 0)
            name.next = FIRST[<int>place][len(word)]
            FIRST[<int>place][len(word)] = <uint8_t>n
    for word, kind in TYPES.items():
        memcpy(TYPE_NAMES[n_types].text, <const char *>word, len(word))
        TYPE_NAMES[n_types].len = len(word)
        TYPE_NAMES[n_types].sense = kind
        n_types += 1
    return 0


compile_meanings()


cdef bint has_names(int place) noexcept nogil:
    return HAS[place]


cdef const Name *name_in(int place, const char *at, size_t len) noexcept nogil:
    """Meaning of the key [at, at + len) in `place`; NULL: none."""
    cdef int i
    if len > WALK_TEXT:
        return NULL
    i = FIRST[place][len]
    while i:
        if is_equal(NAMES[i].text, at, len):
            return &NAMES[i]
        i = NAMES[i].next
    return NULL


cdef int type_of(const char *at, size_t len) noexcept nogil:
    """Type of a root's "type"."""
    cdef int i
    for i in range(n_types):
        if TYPE_NAMES[i].len == len and memcmp(TYPE_NAMES[i].text, at, len) == 0:
            return TYPE_NAMES[i].sense
    if len > 9 and memcmp(at, b"response.", 9) == 0:
        return TYPE_RESPONSE
    return TYPE_OTHER
