"""The floors of ARCHITECTURE.md, as a test reads them: lowest first, and within `_fast` the
order of the stairs on each floor. A file may import only what stands before it."""

FAST = {
    0: [
        "types", "model_types", "reactor_types", "limit_types", "admission_types", "meter_types",
        "breaker_types", "pool_types", "balance_types", "tls_types", "key_types", "turn_types",
        "record", "plane", "change_types", "invariant", "clock", "prefetch", "outcome",
    ],
    1: [
        "buffer", "grammar", "values", "fields", "rules", "startline", "http1", "body", "headers",
        "scan", "json_text", "vocabulary", "skeleton", "totals", "fold", "jsonlevel", "jsonwalk",
        "frames", "sse", "meter", "edits", "asked", "keyed", "form", "query", "strip", "bell",
        "ring", "spill", "stats", "exchange", "limit", "breaker", "pace", "line", "keys", "lanes",
    ],
    2: [
        "sock", "turn", "reactor", "timer", "libssl", "tls", "conn", "keepalive", "endpoint",
        "balance", "idle",
    ],
    3: [
        "identity", "date", "metering", "relays", "admission", "settle", "room", "retry", "hedge",
        "error_body", "answer", "deadline", "dispatch", "silence", "gate", "routing", "editing",
        "affinity", "intake", "request", "payload", "response", "tunnel", "relay", "accept",
        "tls_setup", "drive", "terms", "settings", "route_table", "tenants", "keyring", "roster",
        "change", "reading", "vitals", "snapshot", "engine", "probe_http1", "probe_meter",
        "probe_core", "probe_balance", "probe_keys", "probe_queue",
    ],
}  # fmt: skip

PYTHON = [
    (
        0,
        "_version", "errors", "log", "presets", "config_base", "config_tls", "config_auth",
        "config_upstream", "config_metering", "config", "toml_lines",
        "config_addresses", "config_rules", "config_load", "config_files",
    ),
    (
        4,
        "policy", "metering", "sim",
    ),
    (
        5,
        "admin",
    ),
    (
        6,
        "server", "embed", "check_report", "check", "usage", "new_key", "loadtest", "stdio",
    ),
    (
        7,
        "demo", "cli", "__init__", "__main__",
    ),
]  # fmt: skip


def rank_of(module: str) -> tuple[int, int]:
    """(floor, step) of a dotted module below zeroproxy; KeyError: it is in no list."""
    parts = module.split(".")
    if parts[0] == "":
        parts[0] = "__init__"
    if parts[0] == "_fast":
        if len(parts) == 1:
            return (0, -1)  # its __init__, which imports nothing
        for floor, names in FAST.items():
            if parts[1] in names:
                return (floor, names.index(parts[1]))
        raise KeyError(module)
    for floor, *names in PYTHON:
        if parts[0] in names:
            return (floor, names.index(parts[0]))
    raise KeyError(module)
