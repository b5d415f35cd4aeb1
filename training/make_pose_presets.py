"""Writes the poses of the node Pose Preset: sdpose_core/assets/pose_presets.npz.

    python training/make_pose_presets.py --out sdpose_core/assets/pose_presets.npz

Poses are in `sdpose_training/synthetic/presets.py`; the body is anny (see NOTICE.md of the assets).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sdpose_training.synthetic.presets import write_presets


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the poses of the node Pose Preset.")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the .npz file")
    write_presets(parser.parse_args().out)


if __name__ == "__main__":
    main()
