# A form that is watched while it goes by. No code; the laws of http.pxd hold here too.

from libc.stdint cimport uint8_t

cdef enum:
    DELIMITER_MAX = 72      # "--" and a boundary
    PART_TEXT = 160         # bytes of a part's header line, quoted texts left out
    PART_NAME = 16          # bytes of a part's name that are kept


cdef struct FormWatch:
    uint8_t state           # request.form_watch.WatchState
    uint8_t n               # of the delimiter
    uint8_t matched         # of them
    uint8_t text_len
    uint8_t name_len        # PART_NAME + 1: too long to matter
    uint8_t has_name        # the part's head has said it
    uint8_t is_model
    uint8_t is_typed        # as something else than plain text
    uint8_t n_models        # parts of that name
    uint8_t is_veiled       # a head is not of the plain form: others may read it in another way
    char[DELIMITER_MAX] delimiter
    uint8_t[DELIMITER_MAX] back     # of a prefix: the length of its longest border
    char[PART_TEXT] text
    char[PART_NAME] name
