"""Kill commands at any moment (SIGKILL), run them again, and compare with undisturbed runs.

    python benchmarks/kill_and_resume.py                              # all commands, 100 kills
    python benchmarks/kill_and_resume.py --kills 20 --commands video,draw
    python benchmarks/kill_and_resume.py --commands clip --video clip.mp4

Half of the moments are random, half lie before a rename, removal or new file (`killing/starter.py`). Every third round
kills the second run too; every fourth one then changes the settings or the source. Counted per command:

lost: what was there before, or is finished, is missing, or is neither completely old nor completely new.
litter: the second run leaves files that an undisturbed one does not.
different: another result, or another exit code than 0.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from killing.commands import COMMANDS
from killing.engine import Job, Killer, Starter, Tally
from killing.training import OTHERS, Clip

JOBS: tuple[type[Job], ...] = COMMANDS + OTHERS


def main() -> int:
    """Exit code 1 if anything was lost, left or different."""
    args = build_parser().parse_args()
    chosen = [job for job in JOBS if not args.commands or any(job.name.startswith(name) for name in args.commands)]
    if not chosen:
        raise SystemExit(f"no such command; there are: {', '.join(job.name for job in JOBS)}")
    Clip.video = args.video
    jobs = [job() for job in chosen]
    for job in jobs:
        if job.why_not:
            print(f"{job.name}: left out: {job.why_not}", flush=True)
    jobs = [job for job in jobs if not job.why_not]
    print(f"{'command':28} {'kills':>6} {'lost':>6} {'litter':>6} {'different':>9} {'seconds':>8}")
    starters: dict[Sequence[str], Starter] = {}
    tallies = []
    with tempfile.TemporaryDirectory() as folder:
        for job, kills in zip(jobs, shares(jobs, args.kills), strict=True):
            if kills:
                if job.modules not in starters:
                    starters[job.modules] = Starter(job.modules, Path(folder))
                tallies.append(kill(job, kills, args.seed, starters[job.modules]))
        for starter in starters.values():
            starter.close()
    total = Tally("all")
    for tally in tallies:
        for name in ("kills", "lost", "litter", "different", "seconds"):
            setattr(total, name, getattr(total, name) + getattr(tally, name))
    print(line(total))
    stories = [story for tally in tallies for story in tally.stories]
    print("\n".join(stories))
    return int(bool(stories))


def kill(job: Job, kills: int, seed: int, starter: Starter) -> Tally:
    """Kill a job so many times; prints its line of the table."""
    with tempfile.TemporaryDirectory() as folder:
        killer = Killer(job, Path(folder).resolve(), seed, starter)
        tally = killer.rounds(kills)
    print(line(tally), flush=True)
    return tally


def shares(jobs: list[Job], kills: int) -> list[int]:
    """The kills of each job by its weight; together `kills`."""
    bounds, total = [0], sum(job.weight for job in jobs)
    for job in jobs:
        bounds.append(bounds[-1] + job.weight)
    ends = [round(kills * bound / total) for bound in bounds]
    return [end - start for start, end in zip(ends, ends[1:], strict=False)]


def line(tally: Tally) -> str:
    return f"{tally.name:28} {tally.kills:6} {tally.lost:6} {tally.litter:6} {tally.different:9} {tally.seconds:8.1f}"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100, help="of all commands together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", type=lambda text: text.split(","), help="only these: the beginnings of names")
    parser.add_argument("--video", type=Path, help="a video for the command clip, instead of a computed one")
    return parser


if __name__ == "__main__":
    sys.exit(main())
