"""Conversions of Python values to C, with errors that name the key.

Law. A wrong type is a TypeError, a value out of range a ValueError, an unknown index an
     IndexError. Each text begins with the key. Nothing is rounded, cut or coerced.
Tests: tests/relay/test_engine_api.py.
"""

from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    SECONDS_MOST = 1000000000   # in ns, and added to a clock, they fit 64 bits


cdef int demand_type(object value, str key, object kind) except -1:
    if not isinstance(value, kind):
        raise TypeError(f"{key}: {kind.__name__} expected, not {type(value).__name__}")
    return 0


cdef int demand_int(object value, str key) except -1:
    """bool is an int to Python, and none here."""
    demand_type(value, key, int)
    if isinstance(value, bool):
        raise TypeError(f"{key}: int expected, not bool")
    return 0


cdef uint64_t whole(object value, str key, uint64_t least, uint64_t most) except? 0:
    demand_int(value, key)
    if not least <= value <= most:
        raise ValueError(f"{key}: {value} is not in {least} to {most}")
    return value


cdef uint32_t index_in(object value, str key, uint32_t n) except? 0:
    demand_int(value, key)
    if not 0 <= value < n:
        raise IndexError(f"{key}: no {value}, there are {n}")
    return value


cdef double number(object value, str key, double least, double most) except? 0:
    """NaN is in no range. `least` and `most` are finite: so is the result."""
    cdef double found
    if isinstance(value, bool) or not isinstance(value, (float, int)):
        raise TypeError(f"{key}: float expected, not {type(value).__name__}")
    try:
        found = value
    except OverflowError:
        raise ValueError(f"{key}: an int too large for a float") from None
    if not least <= found <= most:
        raise ValueError(f"{key}: {value} is not in {least:g} to {most:g}")
    return found


cdef uint64_t ns(object value, str key) except? 0:
    return <uint64_t>(number(value, key, 0, SECONDS_MOST) * 1e9)


cdef bint flag(object value, str key) except -1:
    demand_type(value, key, bool)
    return value


cdef int choice(object value, str key, tuple names) except -1:
    demand_type(value, key, str)
    if value not in names:
        raise ValueError(f"{key}: {value!r} is none of {', '.join(names)}")
    return names.index(value)


cdef bytes encoded(object value, str key, size_t most):
    cdef bytes found
    demand_type(value, key, str)
    found = value.encode()
    if len(found) > most:
        raise ValueError(f"{key}: longer than {most} bytes")
    return found
