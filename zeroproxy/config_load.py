"""Reading a configuration: TOML, ${ENV}, types, and what only several keys together can say.

Law. Whatever is wrong is said in one line: file, line, key, what, and the nearest spelling.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from pathlib import Path
from typing import Any, get_args, get_type_hints
from urllib.parse import urlsplit

import msgspec

from zeroproxy.config import Config
from zeroproxy.errors import ConfigError
from zeroproxy.toml_lines import Lines

#: Keys of the contract whose feature is not in this version, and what to say about them.
NOT_YET = {
    "server.tls": "TLS listeners",
    "upstream.models": "routing by model",
    "upstream.preset": "server presets",
    "upstream.health": "active health checks",
    "upstream.breaker": "circuit breakers",
    "upstream.pool.prewarm": "pre-warmed connections",
    "metering": "the usage ledger and its sinks",
    "auth": "API keys",
}
BALANCE_NOT_YET = ("power_of_two", "consistent_hash", "fastest")
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
MSGSPEC_PATH = re.compile(r" - at `\$(.*)`$")


class Reader:
    """One text being read; every complaint knows where it stands."""

    def __init__(self, text: str, name: str) -> None:
        self.text, self.name = text, name
        self.lines = Lines(text)

    def error(self, message: str, path: tuple[str | int, ...]) -> ConfigError:
        return ConfigError(message, file=self.name, line=self.lines.find(path), key=show(path))

    def parse(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            found = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
            line = int(found[1]) if found else self.text.count("\n") + 1
            column = f" (column {found[2]})" if found else ""
            message = re.sub(r" \(at .*\)$", "", str(error))
            raise ConfigError(f"{message}{column}", file=self.name, line=line) from None

    def expand(self, value: Any, path: tuple[str | int, ...]) -> Any:
        """Replace ${NAME} in every string; a missing variable is an error."""
        if isinstance(value, dict):
            return {k: self.expand(v, (*path, k)) for k, v in value.items()}
        if isinstance(value, list):
            return [self.expand(v, (*path, k)) for k, v in enumerate(value)]
        if not isinstance(value, str):
            return value

        def replace(found: re.Match[str]) -> str:
            if found[1] not in os.environ:
                raise self.error(f"the environment has no {found[1]}", path)
            return os.environ[found[1]]

        return VARIABLE.sub(replace, value)

    def check_keys(self, value: Any, kind: Any, path: tuple[str | int, ...]) -> None:
        """Unknown keys, found before types are looked at, so that a typo is called a typo."""
        plain = ".".join(str(p) for p in path if not isinstance(p, int))
        if plain in NOT_YET:
            raise self.error(f"{NOT_YET[plain]} are not supported by this version", path)
        for struct in structs_in(kind):
            if isinstance(value, list):
                for k, item in enumerate(value):
                    self.check_keys(item, struct, (*path, k))
            elif isinstance(value, dict):
                self.check_table(value, struct, path)

    def check_table(self, table: dict[str, Any], struct: Any, path: tuple[str | int, ...]) -> None:
        hints = get_type_hints(struct)
        for key, value in table.items():
            plain = ".".join([*(str(p) for p in path if not isinstance(p, int)), key])
            if key not in hints and plain not in NOT_YET:
                raise self.error(f"unknown key{nearest(key, hints)}", (*path, key))
            self.check_keys(value, hints.get(key), (*path, key))

    def convert(self, raw: dict[str, Any]) -> Config:
        try:
            return msgspec.convert(raw, Config)
        except msgspec.ValidationError as error:
            message = str(error)
            path: tuple[str | int, ...] = ()
            if found := MSGSPEC_PATH.search(message):
                path, message = read_path(found[1]), message[: found.start()]
            if path and path[-1] == "balance":
                value = dig(raw, path)
                if value in BALANCE_NOT_YET:
                    message = f'"{value}" is not supported by this version'
                else:
                    message = f'"{value}" is none of least_inflight, round_robin'
            missing = re.match(r"Object missing required field `(\w+)`", message)
            if missing:
                path, message = (*path, missing[1]), "is missing"
            raise self.error(lower_first(message), path) from None


def lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def show(path: tuple[str | int, ...]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def read_path(text: str) -> tuple[str | int, ...]:
    """msgspec's path, `.upstream[0].pool`, as a tuple."""
    found = re.findall(r"\.([^.\[]+)|\[(\d+)\]|\[\.\.\.\]", text)
    return tuple(name or int(number or 0) for name, number in found)


def dig(value: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        value = value[part]
    return value


def nearest(key: str, known: dict[str, Any]) -> str:
    found = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f'; did you mean "{found[0]}"?' if found else f"; known here: {', '.join(known)}"


def structs_in(kind: Any) -> list[type[msgspec.Struct]]:
    """The Struct types a field's annotation can hold."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [kind]
    return [s for argument in get_args(kind) for s in structs_in(argument)]


# ---------------------------------------------------------------- several keys together


def check_address(reader: Reader, address: str, path: tuple[str | int, ...]) -> None:
    if address.startswith("unix:"):
        if not address.removeprefix("unix:"):
            raise reader.error("unix: needs a path", path)
        return
    kind, _, rest = address.partition(":")
    if kind == "fd" and rest.isdigit():
        return
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535 or (":" in host and host[0] != "["):
        raise reader.error(
            f'"{address}" is no address: HOST:PORT, [IPV6]:PORT, unix:/path or fd:N', path
        )


def check_url(reader: Reader, url: str, path: tuple[str | int, ...]) -> None:
    if url.startswith("unix:/"):
        return
    if url.startswith("https://"):
        raise reader.error("https:// endpoints are not supported by this version", path)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme != "http" or not parts.hostname or port == 0:
        raise reader.error(f'"{url}" is no endpoint: http://HOST:PORT or unix:/path', path)
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise reader.error(f'"{url}": an endpoint has no path; paths are passed through', path)
    if parts.username is not None:
        raise reader.error("an endpoint has no user in its URL", path)


def check_together(reader: Reader, config: Config) -> None:
    if not config.upstream:
        raise reader.error("at least one [[upstream]] is needed", ("upstream",))
    if len(config.upstream) > 1:
        raise reader.error("more than one upstream is not supported by this version",
                           ("upstream", 1))  # fmt: skip
    if config.server.workers > 1:
        raise reader.error("more than one worker is not supported by this version",
                           ("server", "workers"))  # fmt: skip
    if not config.listens():
        raise reader.error("at least one address is needed", ("server", "listen"))
    for k, address in enumerate(config.listens()):
        alone = isinstance(config.server.listen, str)
        check_address(reader, address, ("server", "listen") if alone else ("server", "listen", k))
    if config.admin.listen:
        check_address(reader, config.admin.listen, ("admin", "listen"))
    for k, upstream in enumerate(config.upstream):
        if not upstream.endpoints:
            raise reader.error("at least one endpoint is needed", ("upstream", k, "endpoints"))
        seen: set[str] = set()
        for j, endpoint in enumerate(upstream.all_endpoints()):
            path = ("upstream", k, "endpoints", j)
            check_url(reader, endpoint.url, path)
            if endpoint.url in seen:
                raise reader.error(f"{endpoint.url} is there twice", path)
            seen.add(endpoint.url)
    if config.limits.header_line_bytes > config.limits.header_bytes:
        raise reader.error("is larger than limits.header_bytes", ("limits", "header_line_bytes"))


# ---------------------------------------------------------------- doors


def parse_config(text: str, name: str = "<text>") -> Config:
    """Config from TOML text. Raises ConfigError; `name` is what it calls the file."""
    reader = Reader(text, name)
    raw = reader.parse()
    reader.check_keys(raw, Config, ())
    raw = reader.expand(raw, ())
    config = reader.convert(raw)
    check_together(reader, config)
    return config


def load_config(path: str | Path) -> Config:
    """Config from a file. Raises ConfigError, also when the file cannot be read."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"is not UTF-8 (byte {error.start})", file=str(path)) from None
    return parse_config(text, str(path))
