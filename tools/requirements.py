"""Print the requirements of pyproject.toml, and of the extras given as arguments, one a line.

They are for a plain pip install that does not build the project itself."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
for line in project["dependencies"]:
    print(line)
for extra in sys.argv[1:]:
    print("\n".join(project["optional-dependencies"][extra]))
