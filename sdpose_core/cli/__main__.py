# PYTHON_ARGCOMPLETE_OK
"""The `sdpose` command, also as `python -m sdpose_core.cli`."""

import os
import signal
import sys


def start() -> int:
    """See `main`. Ctrl-C while the program is loaded ends it in one line, too."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # not if Ctrl-C is ignored, as after nohup
        signal.signal(signal.SIGINT, _stop)
    from .main import main

    signal.signal(signal.SIGINT, before)
    return main()


def _stop(*_: object) -> None:
    os.write(2, b"sdpose: stopped\n")
    os._exit(130)


if __name__ == "__main__":
    sys.exit(start())
