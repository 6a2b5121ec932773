/* The two functions that libFuzzer calls. The targets are compiled modules that cimport the
 * kernels, so a Python starts once. After that no Python runs, except in the engine's own methods.
 *
 * ZEROPROXY_TARGET: "module:name"; module.TARGETS[name] is the address of the function. */
#include <Python.h>
#include <stdint.h>

typedef int (*Target)(const uint8_t *data, size_t size);

static Target target;

static void fail(const char *what)
{
    if (PyErr_Occurred())
        PyErr_Print();
    fprintf(stderr, "fuzz: %s\n", what);
    exit(2);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char name[128];
    const char *chosen = getenv("ZEROPROXY_TARGET");
    (void)argc;
    (void)argv;
    if (chosen == NULL || strlen(chosen) >= sizeof(name))
        fail("ZEROPROXY_TARGET is not module:name");
    strcpy(name, chosen);
    char *colon = strchr(name, ':');
    if (colon == NULL)
        fail("ZEROPROXY_TARGET is not module:name");
    *colon = 0;
    Py_InitializeEx(0);
    PyObject *module = PyImport_ImportModule(name);
    if (module == NULL)
        fail("the module cannot be imported");
    PyObject *targets = PyObject_GetAttrString(module, "TARGETS");
    PyObject *address = targets ? PyMapping_GetItemString(targets, colon + 1) : NULL;
    target = address ? (Target)PyLong_AsVoidPtr(address) : NULL;
    if (target == NULL)
        fail("no such target");
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return target(data, size);
}
