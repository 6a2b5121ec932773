from zeroproxy._fast.model_types cimport ModelName
from zeroproxy._fast.types cimport Head

cdef bint query_model(const Head *h, ModelName *name) noexcept nogil
