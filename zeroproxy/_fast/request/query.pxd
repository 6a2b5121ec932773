from zeroproxy._fast.types.http cimport Head
from zeroproxy._fast.types.model cimport ModelName

cdef bint query_model(const Head *h, ModelName *name) noexcept nogil
