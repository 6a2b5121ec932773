from zeroproxy._fast.engine.names cimport Names
from zeroproxy._fast.engine.token_values cimport Questions


cdef class Keys(Questions):
    cdef Names names
