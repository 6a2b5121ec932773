# The meter's own words; see meter.pyx and jsonwalk.pyx. cimports libc only.

from libc.stdint cimport int64_t, uint8_t, uint32_t

cdef enum:
    WALK_DEPTH = 8          # levels whose meaning is remembered; deeper ones are only counted
    WALK_TEXT = 64          # bytes of a key or a string value that are kept
    METER_CHOICES = 8       # choices whose running usage is kept apart; later ones share the last


cdef struct Walk:           # a resumable position inside one JSON text
    uint32_t depth
    uint8_t state           # jsonwalk.WalkState
    uint8_t place[WALK_DEPTH]   # jsonwalk.Place of each open level
    uint8_t next_place      # Place the value that follows has
    uint8_t text_len        # of a key or string being read; WALK_TEXT + 1: too long to matter
    uint8_t is_key
    uint8_t is_wanted       # the string being read is kept
    uint8_t negative
    int64_t number
    char text[WALK_TEXT]


cdef struct Counts:         # one usage object; -1: not in it
    int64_t prompt
    int64_t completion
    int64_t cached
    int64_t reasoning


cdef struct Meter:
    uint32_t n_events       # SSE events that have ended
    char[4] tail            # the last bytes seen, newest last
    char last               # the last byte whose line was looked at
    uint8_t at_edge         # 1: the last byte seen ended an event, or nothing was seen yet
    uint8_t kind            # meter.Kind
    uint8_t line            # meter.LineState
    uint8_t matched         # bytes of "data:" matched on this line
    uint8_t has_usage       # this event: a usage object was read
    uint8_t has_choices     # this event: choices is not empty
    uint8_t choice          # this event: index of the choice
    uint8_t has_final       # some event carried the usage of the whole request
    uint8_t n_choices       # running usages kept
    uint8_t model_len
    Walk walk
    Counts usage            # this event
    Counts final
    Counts running[METER_CHOICES]
    char model[64]
