"""The floors of ARCHITECTURE.md, as a test reads them: lowest first. A folder of the data plane is
a floor. A file imports from its own folder, or from what stands before it in this list."""

FLOORS = [
    "_version",
    "early_signals",
    "errors",
    "log",
    "backoff",
    "tasks",
    "config",
    "_fast.types",
    "_fast.memory",
    "_fast.http1",
    "_fast.jsonscan",
    "_fast.tenants",
    "_fast.usage",
    "_fast.net",
    "_fast.upstream",
    "_fast.exchange",
    "_fast.request",
    "_fast.response",
    "_fast.engine",
    "policy",
    "metering",
    "sim",
    "admin",
    "server",
    "embed",
    "loadtest",
    "commands",
    "__init__",
    "__main__",
]

#: Compiled folders that never take the GIL: the data path below the exchange.
WITHOUT_GIL = ("types", "memory", "tenants", "http1", "jsonscan", "usage", "net", "upstream")


def floor_of(module: str) -> int:
    """Place in FLOORS of a dotted module below zeroproxy; KeyError: it is on no floor."""
    parts = module.split(".") if module else ["__init__"]
    if parts == ["_fast"]:
        return 0  # its __init__, which imports nothing
    name = ".".join(parts[:2]) if parts[0] == "_fast" else parts[0]
    if name not in FLOORS:
        raise KeyError(module)
    return FLOORS.index(name)
