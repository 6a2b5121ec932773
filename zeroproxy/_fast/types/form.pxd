# State of a form that is watched while it passes. No code; the laws of http.pxd hold here too.

from libc.stdint cimport uint8_t

cdef enum:
    DELIMITER_MAX = 72      # "--" and a boundary
    PART_TEXT = 160         # bytes of a part's header line, quoted texts left out
    PART_NAME = 16          # bytes of a part's name that are kept


cdef struct FormWatch:
    uint8_t state           # form_guard.WatchState
    uint8_t n               # bytes of the delimiter
    uint8_t matched         # of them, by the last bytes of data
    uint8_t text_len
    uint8_t name_len        # PART_NAME + 1: too long to matter
    uint8_t has_name        # the part's head has a Content-Disposition
    uint8_t is_model        # the part's name is `model`
    uint8_t is_typed        # the part's type is not plain text in UTF-8
    uint8_t n_models        # parts named `model`
    uint8_t is_ambiguous    # a head is not of the plain form: servers may read it in another way
    char[DELIMITER_MAX] delimiter
    uint8_t[DELIMITER_MAX] back     # length of the longest border of each prefix
    char[PART_TEXT] text
    char[PART_NAME] name
