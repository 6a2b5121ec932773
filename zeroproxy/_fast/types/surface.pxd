# The surface: the requests that may reach an engine, and what is taken from them. No code; the laws
# of http.pxd hold here too.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    METHODS_ALL = 0xFFFF    # of a rule without a method
    METHODS_WEBSOCKET = 1 << 15     # a GET that asks for a WebSocket; the others: 1 << Method
    NAME_MOST = 40          # bytes of a header's or a member's name
    MEMBERS_MOST = 64       # names of members, of all upstreams: one bit each


cdef struct PathRule:
    const char *path        # borrowed from Surface.pieces; of a prefix: up to its last slash
    uint16_t len            # 0: a free place
    uint16_t methods        # METHODS_x


cdef struct PathTable:      # paths that pass
    uint8_t is_open         # all of them, whatever the method
    uint32_t mask           # of places: a power of two minus one
    uint32_t n_prefixes
    PathRule *places        # exact paths, open addressing
    PathRule *prefixes


cdef struct NameRule:       # of a header or a member; the name in lower case
    uint8_t len
    uint8_t is_prefix
    uint8_t is_kept         # headers: an exception from other rules
    char[NAME_MOST + 2] name    # as configured, a prefix with its star; ends with a NUL


cdef struct HeaderTable:    # headers that are removed
    uint64_t[4] filter      # one bit for two bytes of each name: others are not compared
    uint32_t n
    NameRule *rules         # exceptions first


cdef struct MemberNames:    # members of the root that some upstream refuses
    uint64_t[32] lens       # by the first byte: one bit for each length that may occur
    uint32_t n
    NameRule[MEMBERS_MOST] rules


cdef struct SurfaceRow:     # of one upstream
    const PathTable *paths
    const HeaderTable *headers
    uint64_t refuses        # bits of MemberNames.rules


cdef struct Surface:        # of all upstreams; never changed, freed with the plane
    SurfaceRow *rows
    uint32_t n_rows         # by index of the upstream; one beyond it has no path
    uint32_t n_tables
    PathTable **tables      # equal ones are one
    MemberNames members
    uint8_t[32] digest      # of the settings it was made of
    void *pieces            # owned: a list of all memory above
    Surface *older          # owned; an exchange may still refer to it


cdef struct SurfaceUse:     # of one exchange
    const Surface *held     # borrowed: in force when its head came; NULL: everything passes
    uint16_t allows         # METHODS_x of the path, where the method is refused
    uint8_t member          # index of the MemberNames.rules that refuses it
    uint8_t is_blind        # the scan has ended before the body: the rest is not passed on
