from zeroproxy._fast.types.http cimport Head
from zeroproxy._fast.types.model_name cimport ModelName

# Set `name`, decoded, to the first `model` in the query that is not empty. False: there is none.
cdef bint query_model(const Head *h, ModelName *name) noexcept nogil
