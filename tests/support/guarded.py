"""Bytes placed so that the next byte after them is not mapped: reading it kills the process."""

import ctypes
import mmap
from collections.abc import Iterator
from contextlib import contextmanager

PAGE = mmap.PAGESIZE
PROT_NONE = 0
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


@contextmanager
def at_guard_page(data: bytes) -> Iterator[memoryview]:
    """`data`, writable, its last byte directly before an unmapped page."""
    pages = max(1, -(-len(data) // PAGE))
    area = mmap.mmap(-1, (pages + 1) * PAGE)
    anchor = ctypes.c_char.from_buffer(area)
    guard = ctypes.addressof(anchor) + pages * PAGE
    del anchor
    if LIBC.mprotect(guard, PAGE, PROT_NONE):
        raise OSError(ctypes.get_errno(), "mprotect")
    whole = memoryview(area)
    begin = pages * PAGE - len(data)
    part = whole[begin : pages * PAGE]
    part[:] = data
    try:
        yield part
    finally:
        part.release()
        whole.release()
        LIBC.mprotect(guard, PAGE, mmap.PROT_READ | mmap.PROT_WRITE)
        area.close()


def read_past_the_end(data: bytes) -> int:
    """Touch the guard page. It must not return. Run it in a process of its own."""
    with at_guard_page(data) as part:
        address = ctypes.addressof(ctypes.c_char.from_buffer(part))
        return ctypes.string_at(address + len(part), 1)[0]
