"""Where the repository and the files of the tests are."""

from pathlib import Path

SUPPORT = Path(__file__).resolve().parent
TESTS = SUPPORT.parent
ROOT = TESTS.parent
DATA = TESTS / "data"
GOLDEN = TESTS / "golden"
SHARED = ROOT.parent / "shared"
"""Pictures and annotations that are not part of the project; tests that need them say so and are skipped without."""
