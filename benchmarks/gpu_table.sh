#!/usr/bin/env bash
# Speed and memory of SDPose on a graphics card, as tables of docs/benchmark.md; resumes where it was stopped:
#     benchmarks/gpu_table.sh --out DIR [--device cuda:0] [--weights FILE --picture FILE] [--data.root people]
# All options: --help. PYTHON names another Python than the first on the path.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
export PYTHONPATH="$root:$root/training${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python}" "$root/benchmarks/gpu_table.py" "$@"
