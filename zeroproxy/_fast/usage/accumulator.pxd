from zeroproxy._fast.types.meter cimport Meter

# Start a JSON object of the response.
cdef void begin_root(Meter *m) noexcept nogil
# Add what an element of `choices` had.
cdef void end_choice(Meter *m) noexcept nogil
# Add what a JSON object of the response had.
cdef void end_root(Meter *m) noexcept nogil
# Count an event with text.
cdef void count_text(Meter *m) noexcept nogil
