"""Print every dependency pyproject.toml names, extras included, one a line: for a plain pip install
that does not build the project itself."""

import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
for line in project["dependencies"]:
    print(line)
for extra in ("otel", "redis", "postgres", "test", "check"):
    print("\n".join(project["optional-dependencies"][extra]))
