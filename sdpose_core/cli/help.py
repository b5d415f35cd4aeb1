"""The pages of help: examples first, then the main options (`--help`), or all of them (`--help-all`).

Which options are the main ones, and the examples, are listed here. A command that is not listed shows all its options.
"""

from __future__ import annotations

import argparse
import shutil
import textwrap
from collections.abc import Mapping, Sequence

GROUPS = {
    "estimate poses": ("image", "video", "batch"),
    "use poses": ("review", "draw", "export", "import", "retarget", "info"),
    "weights and this machine": ("download", "doctor", "convert", "bench"),
}
"""The commands, the most used ones first. One that is missing here comes last."""

START = (
    ("sdpose image photo.jpg", "pose map and keypoints of a picture"),
    ("sdpose image photos/ --overlay", "of a folder, and the poses drawn on the pictures"),
    ("sdpose video dancer.mp4", "of a video; after a stop, the same command resumes"),
    ("sdpose export sdpose_out/dancer.pose.npz --to animate_anyone", "the files that another tool reads"),
)
"""What a newcomer types first, and what it gives."""

MAIN_OPTIONS = {
    "image": ("--out", "--overlay", "--overwrite", "--model", "--device", "--max-people", "--style", "--threshold"),
    "video": (
        "--out", "--overlay", "--check", "--overwrite", "--model", "--device", "--person", "--max-people", "--every",
        "--style", "--threshold", "--codec",
    ),
    "batch": (
        "--out", "--list", "--recursive", "--shard", "--overlay", "--check", "--overwrite", "--model", "--device",
        "--every", "--style", "--threshold", "--codec",
    ),
    "draw": ("--out", "--overwrite", "--background", "--canvas", "--frame-rate", "--style", "--threshold", "--size"),
    "export": (
        "--to", "--out", "--overwrite", "--video", "--pictures", "--reference", "--canvas", "--person", "--name",
        "--size", "--frames", "--frame-rate",
    ),
    "retarget": ("--to", "--out", "--overwrite", "--canvas", "--method", "--person", "--match", "--size"),
    "convert": ("--layout", "--dtype", "--vae", "--overwrite"),
    "bench": ("--model", "--device", "--dtype", "--people", "--json"),
}  # fmt: skip
"""The options of `--help`, by their long names."""

ALWAYS = ("--help", "--help-all")

EXAMPLES = {
    "image": ("sdpose image photo.jpg", 'sdpose image photos/ "scans/*.png" --overlay -o poses'),
    "video": ("sdpose video dancer.mp4", "sdpose video dancer.mp4 --person largest --overlay -o largest"),
    "batch": ("sdpose batch videos/ --recursive", "sdpose batch --list videos.txt --shard 1/4 -o shared"),
    "review": ("sdpose review sdpose_out/dancer.pose.npz --video dancer.mp4", "sdpose review sdpose_out"),
    "draw": (
        "sdpose draw sdpose_out/dancer.pose.npz --style xinsir",
        "sdpose draw photo_keypoints.json -o photo_map.png",
    ),
    "export": (
        "sdpose export sdpose_out/dancer.pose.npz --to animate_anyone",
        "sdpose export photo_keypoints.json --to coco -o annotations",
    ),
    "import": (
        "sdpose import task.zip --video dancer.mp4",
        "sdpose import annotations/photo_annotations.json -o corrected.pose.npz",
    ),
    "retarget": (
        "sdpose retarget sdpose_out/dancer.pose.npz --to character.png",
        "sdpose retarget sdpose_out/dancer.pose.npz --to character.png --method affine -o fitted.pose.npz",
    ),
    "info": ("sdpose info sdpose_out/dancer.pose.npz --check", "sdpose info dancer.mp4 --json"),
    "download": ("sdpose download wholebody", "sdpose download body --to weights"),
    "doctor": ("sdpose doctor", "sdpose doctor --verbose"),
    "convert": (
        "sdpose convert wholebody.safetensors wholebody.onnx",
        "sdpose convert SDPose-Wholebody wholebody.safetensors --dtype fp16",
    ),
    "bench": ("sdpose bench --model body", "sdpose bench --tiny --people 1,2 --json speed.json"),
}


class ShowHelp(argparse.Action):
    """Prints a page of help and ends the command."""

    def __init__(self, option_strings: Sequence[str], dest: str, everything: bool = False, help: str = "") -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, help=help)
        self.everything = everything

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print the page of `parser`."""
        print(command_page(parser, everything=True) if self.everything else parser.format_help(), end="")
        parser.exit()


def add_help(parser: argparse.ArgumentParser) -> None:
    """Add `-h`, `--help` and `--help-all`."""
    parser.add_argument("-h", "--help", action=ShowHelp, help="show the main options")
    parser.add_argument("--help-all", action=ShowHelp, everything=True, help="show all options")


def usage(parser: argparse.ArgumentParser) -> str:
    """How the command is called, without naming each option."""
    formatter = parser._get_formatter()
    named = [action for action in parser._actions if action.required or not action.option_strings]
    formatter.add_usage(parser.usage, named, [])
    options = " [options]" if any(action.option_strings and not action.required for action in parser._actions) else ""
    return formatter.format_help().rstrip("\n").replace(parser.prog, parser.prog + options, 1) + "\n"


def command_page(parser: argparse.ArgumentParser, *, everything: bool = False) -> str:
    """The help of a command: what it does, its main options or all of them, and two examples."""
    name = parser.prog.split()[-1]
    main = None if everything else MAIN_OPTIONS.get(name)
    formatter = parser._get_formatter()
    formatter.add_text(parser.description)
    hidden = 0
    for group in parser._action_groups:
        shown = [action for action in group._group_actions if _is_shown(action, main)]
        hidden += len(group._group_actions) - len(shown)
        if shown:
            formatter.start_section(group.title)
            formatter.add_text(group.description)
            formatter.add_arguments(shown)
            formatter.end_section()
    formatter.add_text(parser.epilog)
    parts = [usage(parser), formatter.format_help(), _examples(name)]
    if hidden:
        parts.append(f"{parser.prog} --help-all shows {hidden} more options.\n")
    return "\n".join(part for part in parts if part)


def _is_shown(action: argparse.Action, main: Sequence[str] | None) -> bool:
    if action.help == argparse.SUPPRESS:
        return False
    return main is None or not action.option_strings or not {*main, *ALWAYS}.isdisjoint(action.option_strings)


def _examples(name: str) -> str:
    lines = [f"  {example}\n" for example in EXAMPLES.get(name, ())]
    return "examples:\n" + "".join(lines) if lines else ""


def front_page(helps: Mapping[str, str]) -> str:
    """What `sdpose` alone shows: examples, and the commands in groups. `helps`: what each command does."""
    width, columns = max(len(example) for example, _ in START) + 2, shutil.get_terminal_size().columns
    what = "Human poses from pictures and videos, as OpenPose-compatible maps and keypoints."
    lines = [textwrap.fill(what, columns), "", "examples:"]
    for example, gives in START:
        line = f"  {example:{width}}{gives}"
        lines += [line] if len(line) <= columns else [f"  {example}", f"      {gives}"]
    named = [name for names in GROUPS.values() for name in names]
    groups = {**GROUPS, "more": tuple(name for name in helps if name not in named)}
    for title, names in groups.items():
        if known := [name for name in names if name in helps]:
            lines += ["", f"{title}:", *(f"  {name:10}{helps[name]}" for name in known)]
    end = "Results go to the folder sdpose_out, or to the one named with -o. 'sdpose COMMAND --help' shows the main "
    end += "options of a command, '--help-all' all of them, 'sdpose --version' the version."
    return "\n".join([*lines, "", textwrap.fill(end, min(columns, 100))]) + "\n"
