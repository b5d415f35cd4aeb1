"""`python -m sdpose_core.cli`: the `sdpose` command where its script is not on the path."""

import sys

from .main import main

sys.exit(main())
