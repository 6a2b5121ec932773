"""Where a command's configuration comes from: a file, and values that go over it.

The file is that of -c, else of ZEROPROXY_CONFIG, else /etc/zeroproxy/zeroproxy.toml if it exists.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zeroproxy.config.overrides import Override
    from zeroproxy.config.schema import Admin, Config

#: The file that is read where none is named.
DEFAULT_FILE = "/etc/zeroproxy/zeroproxy.toml"
#: The variable that names it.
FILE_VARIABLE = "ZEROPROXY_CONFIG"


@dataclass(frozen=True)
class Source:
    """A file with what goes over it. `load` may be called again, for a reload."""

    path: str
    overrides: tuple[Override, ...] = ()

    def load(self) -> Config:
        """Raises ConfigError."""
        from zeroproxy.config.load import load_config

        return load_config(self.path, self.overrides)

    def load_admin(self) -> Admin:
        """[admin] alone; other keys may be wrong or missing. Raises ConfigError."""
        from zeroproxy.config.load import load_admin

        return load_admin(self.path, self.overrides)


def default_path() -> str:
    """The file to read where -c names none; empty: there is none."""
    if named := os.environ.get(FILE_VARIABLE, ""):
        return named
    return DEFAULT_FILE if Path(DEFAULT_FILE).exists() else ""


def source_of(args: argparse.Namespace) -> Source | None:
    """The source that the options and the environment name; None: there is no file. Raises
    ConfigError."""
    path = args.config or default_path()
    return Source(path, overrides_of(args)) if path else None


def overrides_of(args: argparse.Namespace) -> tuple[Override, ...]:
    """Those of the environment, then those of --set. Raises ConfigError."""
    from zeroproxy.config.overrides import from_environment, from_option

    given = [from_option(text) for text in args.set or ()]
    return (*from_environment(os.environ), *given)
