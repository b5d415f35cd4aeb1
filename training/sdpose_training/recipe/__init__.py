"""Training recipes: TOML and command-line overrides to checked settings."""

from sdpose_core.dependencies import require
from sdpose_core.errors import MissingDependency

try:
    for package in ("pydantic", "tomli_w"):
        require(package, "a training recipe")
except MissingDependency as error:  # one line, as scripts import recipes before they can report anything
    raise SystemExit(str(error)) from None
