# The meter and the scan of a request. No code. See json_walk.pyx, accumulator.pyx and
# response_meter.pyx.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from zeroproxy._fast.types.form cimport FormWatch
from zeroproxy._fast.types.key_terms cimport TermsScan
from zeroproxy._fast.types.model_name cimport ModelName, Unescape
from zeroproxy._fast.types.surface cimport MemberNames


cdef enum Exactness:
    EXACTNESS_EXACT = 0     # the server's own final count
    EXACTNESS_LOWER_BOUND   # cut short: at least this many
    EXACTNESS_NONE          # nothing countable was seen
    EXACTNESS_UNTRUSTED     # the server counts, but is known to be wrong
    EXACTNESS_UNCOUNTED     # an engine worked on it; it ended before any count came
    EXACTNESS_COUNT


cdef struct Tokens:         # -1: not known
    int64_t prompt          # total, cached ones included
    int64_t completion
    int64_t cached
    int64_t reasoning


cdef enum:
    WALK_DEPTH = 8          # levels whose meaning is remembered; deeper ones are only counted
    WALK_TEXT = 32          # bytes of a key, a word or a number that are kept
    REQUEST_TEXT = 40       # bytes of a request's name or value that are kept
    PLACES_MAX = 9          # of the model, of the end, three in stream_options; others for terms
    METER_SLOTS = 8         # choices whose running usage is kept apart
    TOKENS_MAX = 1 << 28    # in a record: more is no count but a fault. The sum of 2^35 such counts
                            # fits an int64, that of 2^25 the integers of a double


cdef enum:                  # alone: a C compiler may give all members of an enum its type, no int
    COUNT_MAX = 0x2000000000000000  # of a number that is read; sums stay below it


cdef enum Sense:            # meaning of a level or a value; places first, then facts
    SENSE_NONE = 0
    PLACE_ROOT              # one JSON object of the response
    PLACE_ROOTS             # an array of such
    PLACE_MESSAGE           # root.message: Anthropic, Ollama
    PLACE_RESPONSE          # root.response: OpenAI Responses; a string in Ollama
    PLACE_CHOICES
    PLACE_CHOICE            # an element of choices
    PLACE_DELTA             # choice.delta, choice.message, and Anthropic's root.delta
    PLACE_CALLS             # delta.tool_calls, audio and the like: objects that are content
    PLACE_USAGE
    PLACE_TIMINGS           # llama.cpp; next to PLACE_USAGE: json_levels.close_level
    PLACE_DETAILS           # usage.*_tokens_details
    PLACE_META              # SGLang's meta_info
    PLACE_TOKEN             # TGI
    PLACE_TGI               # TGI's details
    PLACE_PREFILL           # TGI's details.prefill
    PLACE_COUNT
    # Numbers: Meter.value holds them, and Meter.seen has their bits. Every dialect has names of its
    # own for the same four; FAMILY_x is the dialect's.
    FACT_PROMPT = 32
    FACT_COMPLETION
    FACT_CACHED
    FACT_REASONING
    FACT_CACHE_READ         # Anthropic: not part of its input_tokens
    FACT_CACHE_MADE
    FACT_INDEX              # of the choice being read, or of the root
    FACT_T_CACHE            # llama.cpp timings: cache_n, prompt_n, predicted_n
    FACT_T_PROMPT
    FACT_T_PREDICTED
    FACT_ERROR_CODE         # FastChat
    FACT_TOTAL              # prompt and completion; only read in one JSON text
    FACT_NUMBERS            # end of the numbers
    # words and flags: only Meter.seen
    FACT_MODEL = FACT_NUMBERS
    FACT_TYPE
    FACT_OBJECT
    FACT_META_ID
    FACT_FINISH             # a finish_reason that is not null
    FACT_CONTENT            # text that is not empty
    FACT_ERROR              # an object or a string
    FACT_GENERATED          # TGI's generated_text, not null
    FACT_TOKEN              # TGI's token
    FACT_DONE               # Ollama's done, llama.cpp's stop: true
    FACT_EMBEDDING
    FACT_NO_ID              # TGI: the id is empty
    FACT_CHOICES            # a choices array, empty or not
    FAMILY_USAGE            # a usage object
    FAMILY_META             # SGLang: meta_info
    FAMILY_NATIVE           # llama.cpp: tokens_evaluated, tokens_predicted
    FAMILY_OLLAMA           # prompt_eval_count, eval_count
    FAMILY_TGI              # details
    FAMILY_WORKER           # FastChat: token_num
    FAMILY_SPAN             # a member that may be stripped, whatever its value
    FACT_END                # at most 96: Meter.seen has 64 bits


cdef enum Type:             # the root's "type", as far as it matters
    TYPE_OTHER = 0
    TYPE_MESSAGE
    TYPE_MESSAGE_START
    TYPE_MESSAGE_DELTA
    TYPE_MESSAGE_STOP
    TYPE_RESPONSE           # response.*
    TYPE_RESPONSE_DONE      # completed, incomplete
    TYPE_RESPONSE_FAILED
    TYPE_TRANSCRIPTION      # transcription.done: one per utterance
    TYPE_ERROR
    TYPE_PRELUDE            # the frame of a content to come
    TYPE_PING               # of no meaning


cdef enum Watch:            # the reason to look at a read of a stream, or-ed
    WATCH_FIRST = 1         # for the first content
    WATCH_QUIET = 2         # for data: a comment or a ping has passed


cdef struct Position:       # where a walk stands; a plain copy resumes it
    uint32_t depth
    uint8_t[WALK_DEPTH] place   # Sense of each open level
    uint8_t state           # json_walk.WalkState
    uint8_t sense           # of the value that follows
    uint8_t is_key          # the next string names something
    uint8_t is_wanted       # the string being read is kept


cdef struct Span32:         # offsets into the bytes of one walk_feed
    uint32_t begin
    uint32_t end            # 0: not found


cdef struct Walk:           # a resumable position inside one JSON text
    Position here
    uint8_t text_len        # of what is kept; WALK_TEXT + 1: too long to matter
    char[WALK_TEXT] text
    Span32 content          # the text being learnt: from behind its quote to its closing quote
    Span32 usage            # from the comma or brace before usage or timings to behind its value
    uint32_t comma          # the last comma or brace at the root's level


cdef struct Counts:         # -1: not known
    int64_t prompt
    int64_t completion
    int64_t cached
    int64_t reasoning


cdef struct Slot:           # the running usage of one choice, or of one of several generations
    uint32_t key
    uint32_t prompt
    uint32_t completion
    uint32_t cached         # UINT32_MAX: not known, as everywhere here
    uint32_t reasoning


cdef struct Template:       # events that differ from the one before in one text only
    uint64_t head_hash
    uint64_t tail_hash
    uint32_t head_len       # 0: nothing learnt
    uint32_t tail_len       # 0: the tail has to be walked
    uint64_t seen           # facts that stood before the text
    Position here           # inside the text
    uint16_t index          # of the choice; in `value` only if `seen` has its bit
    uint8_t type            # Type, as far as the head has it
    uint8_t is_plain        # the event had nothing but its text


cdef struct Meter:
    uint8_t kind            # response_meter.Kind
    uint8_t at_edge         # 1: the last byte seen ended an event, or nothing was seen yet
    uint8_t line            # sse.LineState
    uint8_t name_len        # of the SSE field name being read
    uint8_t done_len        # bytes of "[DONE]" matched in this event
    uint8_t had_cr          # the last byte was a CR: an LF that follows ends no second line
    uint8_t is_blank        # nothing on this line yet
    uint8_t has_data        # this event has data
    uint8_t is_over         # [DONE] was seen: what follows is relayed, not counted
    uint8_t is_uncounted    # only edges are looked for: this answer is not to be counted
    uint8_t is_ended        # the dialect's own end was seen
    uint8_t has_failed      # an error was reported in the body
    uint8_t watch           # Watch: the relay looks at such a read (response/count_and_strip.pyx)
    uint8_t has_begun       # an event came that is more than a comment, a ping or a prelude
    uint8_t is_ping         # this event
    uint8_t is_prelude      # the last root of this event announces content and has none
    uint8_t is_session      # several answers on one conn: each is counted
    uint8_t is_absurd       # a count of the response's head was beyond TOKENS_MAX
    uint8_t is_clipped      # more choices than slots
    uint8_t is_untrusted
    uint8_t sums_prompts    # each slot has a prompt of its own
    uint8_t is_anthropic
    uint8_t counts_tokens   # TGI: one event, one token
    uint8_t is_single       # one JSON text, not a series of them
    uint8_t type            # Type of the root being read
    uint8_t n_choices       # of the root being read
    uint8_t n_slots
    uint8_t n_reported      # closing counts that are those of a single choice
    uint8_t is_model_requested  # the name is the request's, until the response has one
    uint8_t learning        # template.Learning
    uint32_t n_events       # events with data before [DONE], pings left out, or lines
    uint32_t n_parts        # JSON objects with text
    Template last_event
    # -- above: all that an event known by its template touches
    char[14] name           # of an SSE field, or a WebSocket frame's head
    uint16_t first_index    # of the first choice of the root being read
    uint32_t n_parts_reported   # of n_parts: before the server last counted
    uint16_t n_requested    # choices per prompt, from the request
    uint32_t n_roots        # JSON objects that have ended
    uint32_t n_tokens       # TGI: token events
    uint32_t n_prefill      # TGI: elements of details.prefill
    uint32_t meta_id
    int32_t head_prompt     # TGI's response fields; -1: none
    int32_t head_completion
    uint64_t frame_left     # WebSocket: payload bytes to come
    uint64_t seen           # bit FACT_x - 32
    uint64_t choices_seen   # one bit an index, the first 64
    uint64_t choices_done
    int64_t cache_made      # Anthropic
    Counts final
    Walk walk
    int64_t[FACT_NUMBERS - FACT_PROMPT] value
    Slot[METER_SLOTS] slots
    ModelName *model        # borrowed; NULL: its name is not kept


cdef inline uint64_t bit(int fact) noexcept nogil:
    """The flag of a fact in Meter.seen."""
    return <uint64_t>1 << (fact - FACT_PROMPT)


cdef inline int64_t value_of(const Meter *m, int fact) noexcept nogil:
    """Value of a fact in the root being read; -1: it has none."""
    return m.value[fact - FACT_PROMPT] if m.seen & bit(fact) else -1


# An event with usage that ends a choice. The next event decides whose usage that is, so it waits in
# front of Exchange.partial_event.
cdef struct HeldEvent:
    uint32_t len            # bytes that wait, already metered; 0: none
    uint32_t usage_at       # Event.usage_at and usage_end, in these bytes
    uint32_t usage_end


cdef enum Ambiguous:        # or-ed
    AMBIGUOUS_TEXT = 1      # a byte order mark, or what is no JSON between two strings
    AMBIGUOUS_NAME = 2      # MODEL in other cases


cdef struct Place:          # of a possible edit in a request body
    uint64_t at             # offset in the body
    uint8_t key             # edits.Key of the value that begins there, or of the object that ends
    uint8_t first           # the byte there
    uint8_t lacks           # edits.Edited: usage not requested up to there


cdef union KindScan:        # of a kind of body
    TermsScan terms         # JSON
    FormWatch watch         # a form: is_watched


cdef struct RequestScan:    # state of the scan of a request body, and its findings
    uint64_t n_read         # bytes of the body that are read
    uint64_t user_at        # the user, for consistent hashing: offsets of the inside of the string
    uint64_t user_end       # 0: not found
    uint64_t prompt_at      # of the prompt's value; 0: not found
    uint64_t prompt_end     # of the comma or brace behind it; 0: it goes on
    Place[PLACES_MAX] places    # in the body's order
    uint8_t n_places
    uint8_t n_passed        # of them: edited, or left as they are
    uint32_t depth
    uint32_t bound          # tokens of a choice, the largest that is named; reads_bound only
    uint32_t raw_len        # bytes of the first model's name as the body spells it
    uint8_t state           # request_scan.RequestScanState
    uint8_t usage_request   # edits.UsageRequest
    uint8_t key             # edits.Key of the member being read
    uint8_t inside          # KEY_OPTIONS, KEY_METADATA or KEY_SAMPLING: the member that is read
    uint8_t text_len        # REQUEST_TEXT + 1: too long to matter
    uint8_t reads_bound     # for a token quota; cleared once it was judged
    uint8_t is_stream       # "stream": true
    uint8_t has_options     # stream_options is present, with any value
    uint8_t has_usage       # include_usage: true
    uint8_t has_running     # continuous_usage_stats: true
    uint8_t has_timings     # timings_per_token is present, with any value
    uint8_t has_member      # stream_options is not empty
    uint8_t members         # its members so far, one bit each
    uint8_t is_signed       # usage would be requested, but a signature covers the body
    uint8_t hides_counts    # response_fields is present, with any value; reads_bound only
    uint8_t edits_forbidden     # stream_options is not of a known form
    uint8_t is_guess        # a boolean is spelt as a text or a number, which servers may refuse
    uint8_t is_done         # the root has ended, or the body has none
    uint8_t is_wide         # the text is UTF-16 or UTF-32
    uint8_t is_watched      # a form is watched to its end: of_kind.watch
    uint8_t is_escaped      # the next byte of the string is escaped
    uint8_t is_strict       # the caller's key allows some models only
    uint8_t plain           # strings.PlainState; is_strict only
    uint8_t is_ambiguous    # Ambiguous: other parsers may read it in another way
    uint8_t has_model       # names of a model that are complete; more than one: ambiguous
    uint8_t in_prompt       # the prompt's value has begun and not ended
    uint16_t rename_len     # 0: the model's name stays
    uint16_t rename_skip    # bytes of the value that `rename` replaces, quotes included
    uint16_t n              # choices per prompt; 0: not given
    const char *rename      # borrowed: a Route's
    ModelName *name         # borrowed; NULL: the model's name is not kept
    const MemberNames *refusable    # borrowed; NULL: none is looked for
    uint64_t named          # bits of those that occur in the root
    Unescape escape         # of the text being read
    char[REQUEST_TEXT] text
    KindScan of_kind


cdef union BodyScan:        # first the request is read, then the response; never both
    RequestScan request
    Meter meter
