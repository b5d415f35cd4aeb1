"""Run every table and figure of the paper that can run here, and show our figures beside the paper's on one page.

    python training/reproduce_paper.py --data.root DIR --checkpoint body --checkpoint wholebody --out reproduction
    python training/reproduce_paper.py --small --data.root DIR --out small

First prints what runs, what is missing and where to get it, and how long it takes (--plan: and ends). Then runs one
command after the other, and writes OUT/index.html after each. To resume, run the same command again: results with the
same settings are kept. --small needs nothing but two CPU cores; its figures are not to be compared.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from sdpose_core.cli.arguments import check_folder
from sdpose_core.dependencies import require
from sdpose_core.errors import InputError
from sdpose_core.resumable import take_lock
from sdpose_training.options import RESUMES, add_device, exit_status, start_log, whole_number
from sdpose_training.reproduction import report, small
from sdpose_training.reproduction.claims import Claim, choose, evaluations
from sdpose_training.reproduction.jobs import FAILED, MISSING, run_all
from sdpose_training.reproduction.setup import Loading, Setup, find_ablations, find_grounds, load_candidates

_FREE = ("base", "pictures", "driving", "generator", "controlnet", "motion")
"""Options whose values the parts of figures take."""

LOCK = ".reproduce_paper.lock"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 what can run is done, 1 something failed or nothing can run, 2 wrong usage, 130 interrupted."""
    args = build_parser().parse_args(argv)
    start_log()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C: the running command is ended
    try:
        return exit_status("reproduce_paper", lambda: reproduce(args), resumes=RESUMES)
    finally:
        signal.signal(signal.SIGTERM, before)


def reproduce(args: argparse.Namespace) -> int:
    """Plan, run, write the page; 1 if something failed. Raises `InputError` for what concerns everything."""
    for package in ("jinja2", "tabulate", "matplotlib", "faster_coco_eval"):
        require(package, "the reproduction of the paper")
    check_folder(args.out, "--out")
    claims = choose(args.tables, args.figures, args.more)
    setup = small_setup(args) if args.small else full_setup(args)
    jobs = report.jobs_of(claims, setup)
    outcomes = report.known_outcomes(jobs, setup)
    print(report.plan_text(claims, setup, outcomes), flush=True)
    if args.plan:
        return 0
    if all(outcome.state == MISSING for outcome in outcomes.values()) and len(outcomes) == len(jobs):
        raise InputError("nothing can run: see the table above for what is missing")
    return run(claims, setup, args.jobs or (2 if args.small else 1))


def run(claims: Sequence[Claim], setup: Setup, at_once: int) -> int:
    """Run what is not done, `at_once` commands at a time, and write the page after each."""
    jobs = report.jobs_of(claims, setup)
    outcomes = report.known_outcomes(jobs, setup)
    lock = take_lock(setup.out / LOCK)
    try:
        report.write(claims, setup, outcomes)
        for job, outcome in run_all(jobs, setup.out, at_once):
            outcomes[job.name] = outcome
            print(f"{job.name}: {outcome.state}{f': {outcome.problem}' if outcome.problem else ''}", flush=True)
            page = report.write(claims, setup, outcomes)
    finally:
        lock.release()
    print(page)
    return 1 if setup.absent or any(outcome.state == FAILED for outcome in outcomes.values()) else 0


def full_setup(args: argparse.Namespace) -> Setup:
    """Loads every estimator and reads all annotations, so that what is missing is known before the first hour."""
    loading = Loading(args.device, args.dtype, args.trust_file, args.download)
    candidates, absent = load_candidates(args.checkpoint, args.peer, loading)
    pairs = [(part.benchmark, part.keypoint_set) for part in evaluations()]
    return Setup(
        args.out, candidates, absent, find_grounds(args.root, pairs), loading.arguments(),
        find_ablations(args.ablation), args.root, _free(args),
    )  # fmt: skip


def small_setup(args: argparse.Namespace) -> Setup:
    """Stand-ins for the data, and tiny weights where no checkpoint was given."""
    loading = Loading(args.device, args.dtype, args.trust_file, args.download)
    given, absent = load_candidates(args.checkpoint, args.peer, loading)
    trained = frozenset(each.keypoint_set for each in given)
    prepared, own = small.prepare(args.root, args.out, trained)
    grounds = small.grounds(args.root, args.out, prepared)
    return Setup(
        args.out, (*given, *own), absent, grounds, loading.arguments(), find_ablations(args.ablation), args.root,
        {**small.pictures(args.root, args.out), **_free(args)}, True, prepared,
    )  # fmt: skip


def _free(args: argparse.Namespace) -> dict[str, Path]:
    """The inputs of figures that were given; `InputError` for one that is not there."""
    found = {name: value for name in _FREE if (value := getattr(args, name))}
    for name, path in found.items():
        if not path.exists() and name != "base":  # which may be the name of a download
            raise InputError(f"--{name} {path}: nothing is there")
    return found


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="reproduce_paper.py", description="Every table and figure of the paper on one page.", allow_abbrev=False
    )
    add = parser.add_argument_group("what is measured").add_argument
    add("--data.root", dest="root", type=Path, metavar="DIR", help="folder of the data, or its parent: see evaluate.py")
    add("--checkpoint", action="append", default=[], metavar="C", help="SDPose weights, body or whole body; repeatable")
    add("--peer", action="append", default=[], metavar="SPEC", help="as for evaluate.py; repeatable")
    add("--ablation", type=Path, action="append", default=[], metavar="DIR", help="finished folder of ablate.py, for "
        "table 2; repeatable")  # fmt: skip
    add("--base", type=Path, metavar="DIR", help="Stable Diffusion 2, for figure 6 (sdpose download sd2-base)")
    add("--pictures", type=Path, metavar="DIR", help="free pictures of people, for figures 1 and 7")
    add("--driving", type=Path, metavar="VIDEO", help="for figure 8")
    add("--generator", type=Path, metavar="DIR", help="Stable Diffusion for ControlNet, for figures 7 and 8")
    add("--controlnet", type=Path, metavar="DIR", help="an OpenPose ControlNet for it")
    add("--motion", type=Path, metavar="DIR", help="AnimateDiff's motion adapter for it, for figure 8")
    add = parser.add_argument_group("what to run").add_argument
    add("--tables", type=_numbers, metavar="N,N", help="only these tables (default: everything)")
    add("--figures", type=_numbers, metavar="N,N", help="only these figures (default: everything)")
    add("--more", type=_numbers, metavar="NAME,NAME", help="only these beyond the paper, such as corruption")
    add("--small", action="store_true", help="minutes on two cores, with stand-ins: not to be compared")
    add("--jobs", type=whole_number(1), metavar="N", help="commands at a time (default: 1; 2 with --small)")
    add("--plan", action="store_true", help="print what runs, what is missing and how long it takes, and end")
    group = parser.add_argument_group("how")
    add_device(group)
    add = group.add_argument
    add("--trust-file", action="store_true", help="allow a peer's file (TorchScript) to run its code")
    add("--download", action="store_true", help="allow the download of peers from the Hugging Face hub")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="page, results and logs")
    return parser


def _numbers(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


if __name__ == "__main__":
    sys.exit(main())
