"""Annotating one clip: frames in, pose sequence and pose video out. Can be stopped and resumed at any moment.

`OUT/.NAME.sdpose/` holds the finished chunks of an unfinished clip (see `work_folder.py`) and is removed at the end.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..drawing.sequence import Progress, draw_sequence
from ..drawing.styles import check_style_of
from ..errors import InputError, counted
from ..estimation.crop_jobs import Estimator, OnBatch
from ..estimation.stage_times import StageTimes
from ..images import WHITE
from ..names import output_name
from ..origins import Origin, is_drawn, kept_poses, mark_of, mark_text, refuse_orphans, remove_stale
from ..poses import PoseSequence, count_people
from ..sequences.cleaning import clean, drawing_threshold
from ..sequences.distrust import with_distrust
from ..sequences.doubts import figures
from ..sequences.people import select_people
from ..sequences.short_tracks import LEFT_OUT, drop_short_tracks
from ..version import __version__
from ..video.opening import open_video
from ..video.pictures import PictureFolder
from ..video.writer import CODECS
from .chunks import ChunkResult, Given, join_chunks
from .clip_options import ClipOptions, Selection
from .images import FramePeople
from .outputs import OVERLAY, PLAYABLE_COPY, POSE_VIDEO, Output, clip_outputs, look
from .requests import before_cleaning, clip_origin
from .stream import estimate_frames
from .work_folder import WorkFolder, is_unfinished

if TYPE_CHECKING:
    from ..detection.box_files import BoxFile
    from ..detection.people import PersonDetector
    from ..video.frames import Frame, VideoSource

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClipFiles:
    """The files that `annotate_clip` writes for the clip `name` into the folder `out`."""

    out: Path
    name: str
    codec: str = "lossless"

    @property
    def sequence(self) -> Path:
        """The poses."""
        return self.out / f"{self.name}.pose.npz"

    @property
    def pose_video(self) -> Path:
        """The poses on black."""
        return self._file(POSE_VIDEO)

    @property
    def playable(self) -> Path:
        """A pose video that plays everywhere: the pose video itself, or its copy."""
        return self._file(POSE_VIDEO if CODECS[self.codec].plays else PLAYABLE_COPY)

    @property
    def overlay(self) -> Path:
        """The poses on the video."""
        return self._file(OVERLAY)

    def _file(self, output: Output) -> Path:
        return self.out / f"{self.name}_{output.what}{output.suffix(self.codec)}"

    @property
    def partial(self) -> Path:
        """The poses so far of a run that was stopped."""
        return self.out / f"{self.name}.partial.pose.npz"

    @property
    def work(self) -> Path:
        """The work folder of an unfinished run."""
        return self.out / f".{self.name}.sdpose"

    def drawings(self, options: ClipOptions) -> dict[Path, Output]:
        """The videos to draw with these options."""
        return {self._file(output): output for output in clip_outputs(options, self.codec).values()}

    def mark(self, output: Output, sequence: PoseSequence, options: ClipOptions) -> dict[str, Any]:
        """The mark of a video drawn from `sequence`, as it was saved, with these options."""
        drawing = output.asked(options, drawing_threshold(sequence.meta, options.threshold))
        return mark_of(self.sequence, {**drawing, "codec": output.codec(self.codec)})


@dataclass(frozen=True)
class ClipOutcome:
    """The result of annotating a clip.

    Attributes:
        name: NAME of its files.
        status: "done", or "kept" if all its files were already there.
        message: a phrase about it.
        frames: of the sequence.
        people: number of distinct ids.
        batch_size: crops per pass at the end; None if the estimator has none.
        files: the files written, or kept.
        notes: unusual events.
        distrust: with `ClipOptions.check` the `doubts.figures` of the poses, else empty.
    """

    source: Path
    name: str
    status: str
    message: str
    frames: int = 0
    people: int = 0
    batch_size: int | None = None
    files: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    distrust: Mapping[str, Any] = field(default_factory=dict)


def annotate_clip(
    source: str | Path | VideoSource,
    out: str | Path,
    *,
    estimator: Callable[[], Estimator],
    detector: Callable[[], PersonDetector],
    options: ClipOptions,
    asked: Mapping[str, Any],
    boxes: BoxFile | None = None,
    name: str | Callable[[Origin], str] | None = None,
    on_progress: Progress | None = None,
    on_crops: OnBatch | None = None,
    on_chunk: Callable[[ChunkResult], None] | None = None,
    on_draw: Progress | None = None,
    overlap: bool = True,
    times: StageTimes | None = None,
) -> ClipOutcome:
    """Write NAME.pose.npz, NAME_kps.mp4 and what else the options ask for (see `outputs.py`) into the folder `out`.

    After a kill, the same call resumes after the last finished chunk, with the batch size of the first run, and gives
    the same keypoints. Poses of the same source and settings are kept, and drawn again where a video is missing or the
    drawing differs. Files of another source or with other settings are refused, unless `options.overwrite` is set.

    Args:
        source: a path for `open_video`, or an open `VideoSource`.
        estimator, detector: called when the first frame needs them. Their errors are raised.
        asked: what they make, see `models_asked`.
        boxes: people by frame number, instead of a detector.
        name: NAME, or a function that chooses it for the origin; None: see `clip_name`.
        on_progress: called with (frames estimated, total or None if unknown); may raise to stop.
        on_crops: called with (crops done, total crops) of the frames that share batches; may raise to stop.
        on_chunk: called with each chunk after it is finished and saved.
        on_draw: called with (frames drawn, total), for each video; may raise to stop.
        overlap: decode, detect, estimate and save at the same time, see `estimate_frames`; the results are the same.
        times: records the time of each stage, from the first frame to the finished poses.

    If it is stopped (Ctrl-C, an error), the finished chunks are kept, and written to NAME.partial.pose.npz.

    Raises:
        OtherOrigin: existing files are of another source, or were made with other settings.
        InputError: a source that cannot be read, files that cannot be written, a damaged `.pose.npz`, or a clip that
            another process is annotating.
    """
    with _opened(source, options) as video:
        path, origin, out = Path(video.info.path), clip_origin(video, options, asked), Path(out)
        chosen = (name(origin) if callable(name) else name) or clip_name(path)
        files = ClipFiles(out, output_name(chosen, out), options.codec)
        kept = None if options.overwrite else _checked(_kept_poses(files, origin, options), files, options)
        todo = list(files.drawings(options)) if kept is None else _to_draw(files, kept, options)
        if kept is not None and not todo:
            return _kept(path, files, kept, options)
        with WorkFolder(files.work) as work:
            run = _Run(video, files, options, origin, boxes, work, on_progress, on_crops, on_chunk, overlap, times)
            run.notes += video.info.notes
            sequence = run.estimated(estimator, detector) if kept is None else kept
            run.draw(todo, sequence, on_draw)
            run.tidy()
    if kept is None:
        return _done(path, files.name, sequence, [files.sequence, *todo], run.notes, options)
    again = f"drawn again from the keypoints: {', '.join(file.name for file in todo)}"
    return _done(path, files.name, sequence, todo, [again, *run.notes], options)


def clip_name(path: Path) -> str:
    """NAME of a source: the stem of a file, the name of a folder. `output_name` makes it short enough for a folder."""
    path = path.absolute()
    return path.name if os.path.isdir(path) else path.stem


def _opened(source: str | Path | VideoSource, options: ClipOptions) -> VideoSource:
    if not isinstance(source, (str, Path)):
        return source
    return open_video(source, frame_rate=options.frame_rate, background=options.background or WHITE)


def _kept_poses(files: ClipFiles, origin: Origin, options: ClipOptions) -> PoseSequence | None:
    """The finished poses of this origin; None if there are none, and nothing of another source is in the way."""
    sequence = kept_poses(files.sequence)
    if sequence is not None:
        origin.refuse_other(sequence.meta, files.sequence)
        return sequence
    refuse_orphans(files.sequence, list(files.drawings(options)))
    if (partial := kept_poses(files.partial)) is not None:
        origin.refuse_other_source(partial.meta, files.partial)
    return None


def _checked(kept: PoseSequence | None, files: ClipFiles, options: ClipOptions) -> PoseSequence | None:
    """The kept poses with distrust, if it is asked for; their file gets it too.

    The poses before cleaning are gone: distrust is computed without them.
    """
    if kept is None or not options.check or kept.distrust is not None:
        return kept
    checked = with_distrust(kept)
    checked.save(files.sequence)
    return checked


def _to_draw(files: ClipFiles, sequence: PoseSequence, options: ClipOptions) -> list[Path]:
    """The videos that are missing, damaged or drawn otherwise."""
    marks = {file: files.mark(output, sequence, options) for file, output in files.drawings(options).items()}
    return [file for file, mark in marks.items() if not is_drawn(file, mark)]


def _kept(source: Path, files: ClipFiles, sequence: PoseSequence, options: ClipOptions) -> ClipOutcome:
    message = "its files already exist"
    if is_unfinished(files.work, files.sequence):
        message += f"; there is also an unfinished run ({files.work}), which --overwrite resumes"
    elif os.path.exists(files.work):  # a run that was killed while it was removing the folder
        with WorkFolder(files.work) as work:
            work.remove()
    people, found = _people(sequence), [files.sequence, *files.drawings(options)]
    return ClipOutcome(
        source, files.name, "kept", message, len(sequence), people, _batch_size(sequence), found,
        distrust=_figures(sequence, options),
    )  # fmt: skip


def _figures(sequence: PoseSequence, options: ClipOptions) -> dict[str, Any]:
    return figures(sequence) if options.check else {}


def _done(
    source: Path, name: str, sequence: PoseSequence, written: list[Path], notes: list[str], options: ClipOptions
) -> ClipOutcome:
    people, frames = _people(sequence), len(sequence)
    size = f"{counted(frames, 'frame')}, {count_people(people)}"
    if short := sequence.meta.get("clip", {}).get("counts", {}).get(LEFT_OUT):
        size += f" ({counted(short, 'short track')} left out)"
    message = "; ".join([size, str(sequence.meta.get("model", "unknown model")), *notes])
    batch_size, distrust = _batch_size(sequence), _figures(sequence, options)
    return ClipOutcome(source, name, "done", message, frames, people, batch_size, written, notes, distrust)


def _people(sequence: PoseSequence) -> int:
    return len(np.unique(sequence.track_ids[sequence.track_ids >= 0]))


def _batch_size(sequence: PoseSequence) -> int | None:
    return sequence.meta.get("settings", {}).get("batch_size")


@dataclass
class _Run:
    """One call of `annotate_clip`."""

    video: VideoSource
    files: ClipFiles
    options: ClipOptions
    origin: Origin
    boxes: BoxFile | None
    work: WorkFolder
    on_progress: Progress | None
    on_crops: OnBatch | None
    on_chunk: Callable[[ChunkResult], None] | None
    overlap: bool
    times: StageTimes | None
    notes: list[str] = field(default_factory=list)

    def estimated(
        self, make_estimator: Callable[[], Estimator], make_detector: Callable[[], PersonDetector]
    ) -> PoseSequence:
        """The finished sequence, saved; missing chunks are estimated. Raises `InputError` if the source changed."""
        meanwhile = None if self.options.overwrite else _kept_poses(self.files, self.origin, self.options)
        if meanwhile is not None:  # another process finished it before this one had the lock
            return meanwhile
        estimator = make_estimator()
        check_style_of(self.options.style, estimator.keypoint_set)
        detector = make_detector() if self.boxes is None else None
        self.notes += self.work.begin(self._settings(estimator, detector), self.options.overwrite)
        try:
            with _batch_size_of(estimator, self.work.last) as note:
                self.notes += note
                self._estimate(estimator, detector)
        except BaseException:
            self._save_partial()
            raise
        if not self.origin.is_of_source(self.video.identity()):
            self.work.clear()
            raise InputError(f"{self.video.info.path} was replaced while it was annotated: annotate it again")
        sequence = self._finished({})
        self.save(sequence, self.files.sequence)
        return sequence

    def _settings(self, estimator: Estimator, detector: PersonDetector | None) -> dict[str, Any]:
        """Everything on which the chunks depend, except the batch size, which is in their states."""
        apart = ("batch_size", "dtype_reason")
        meta = estimator.meta()
        settings = {key: value for key, value in meta.get("settings", {}).items() if key not in apart}
        return {
            "source": self.origin.source,
            "asked": before_cleaning(self.origin),
            "model": {key: meta.get(key) for key in ("model", "weights")},
            "model settings": settings,
            "detector": None if detector is None else detector.meta(),
            "library version": __version__,
        }

    def _estimate(self, estimator: Estimator, detector: PersonDetector | None) -> None:
        if self.work.complete:
            return
        state = None if self.work.last is None else self.work.last.state
        self._progress(0 if state is None else state["frames_done"], None)
        frames = self.video.frames(0 if state is None else state["next_frame"])
        chunks = estimate_frames(
            frames, estimator, detector, self.options, frame_rate=self.video.info.frame_rate, given=self._given(),
            state=state, on_progress=self._progress, on_crops=self.on_crops, overlap=self.overlap, times=self.times,
        )  # fmt: skip
        with contextlib.closing(chunks), self.times.measuring() if self.times else contextlib.nullcontext():
            for chunk in chunks:
                self.work.add(chunk)
                if self.on_chunk:
                    self.on_chunk(chunk)
        if not self.work.complete:
            raise InputError(f"{self.video.info.path} has no frames: expected at least one")

    def _given(self) -> Given | None:
        boxes = self.boxes
        if boxes is None:
            return None
        size = self.video.info.size
        if isinstance(self.video, PictureFolder):
            boxes.expect_frames(self.video.files)
        return lambda frame: FramePeople(*boxes.people_of_frame(frame.index, frame.name, size))

    def _progress(self, done: int, total: int | None) -> None:
        if self.on_progress:
            stated = self.video.info.frames
            self.on_progress(done, None if stated is None else max(stated, done))

    def _finished(self, meta: dict[str, Any]) -> PoseSequence:
        """All chunks so far, joined and finished, with entries added to their meta."""
        raw = join_chunks(self.work.chunks())
        self.notes += (damage := _damage(self.video))
        settings = {
            **self.options.estimation(),
            "min_track": self.options.min_track,
            "person": asdict(self.options.person),
        }
        own = {"source": Path(self.video.info.path).name, "clip_settings": settings, "origin": self.origin.as_meta()}
        meta = {**raw.meta, **own, **meta}
        raw = replace(raw, meta={**meta, **({"damage": damage} if damage else {})})
        finished = finish_sequence(raw, self.options)
        return with_distrust(finished, raw) if self.options.check else finished

    def _save_partial(self) -> None:
        if not len(self.work):
            return
        try:
            part = replace(self.origin, settings={**self.origin.settings, "partial": True})
            self.save(self._finished({"partial": True, "origin": part.as_meta()}), self.files.partial)
        except InputError as error:  # such as a full disk; the error that stopped the run is the one to raise
            log.warning("no partial result: %s", error)
        else:
            log.info("the finished part is in %s; run the same command again to resume", self.files.partial)

    def save(self, sequence: PoseSequence, file: Path) -> None:
        """Write a sequence, first into the work folder, so that a killed run leaves nothing outside it."""
        temporary = self.work.path / file.name
        sequence.save(temporary)
        if file == self.files.sequence:
            self.work.note_saved(temporary)
        temporary.replace(file)

    def draw(self, files: list[Path], sequence: PoseSequence, on_draw: Progress | None) -> None:
        """Write some of the videos."""
        options, drawings = self.options, self.files.drawings(self.options)
        for file in files:
            output, temporary = drawings[file], self.work.path / file.name
            notes = draw_sequence(
                sequence, temporary, view=output.view, codec=output.codec(self.files.codec),
                background=None if output.view == "map" else self.video.frames(0), on_progress=on_draw,
                mark=mark_text(self.files.mark(output, sequence, options)), **look(options, options.threshold),
                **output.canvas(options),
            )  # fmt: skip
            self.notes += [f"{output.what}: {note}" for note in notes]
            temporary.replace(file)

    def tidy(self) -> None:
        """Remove what is no longer needed. An unfinished run that is to overwrite the finished files stays."""
        if self.options.overwrite:
            remove_stale(self.files.sequence, self.files.name)
        if self.work.is_saved(self.files.sequence):
            self.files.partial.unlink(missing_ok=True)
        if not is_unfinished(self.work.path, self.files.sequence):
            self.work.remove()


def annotate_frames(
    frames: Iterable[Frame],
    *,
    estimator: Estimator,
    detector: PersonDetector | None,
    options: ClipOptions,
    frame_rate: Fraction | None = None,
    given: Given | None = None,
    on_progress: Progress | None = None,
) -> PoseSequence:
    """The finished sequence of frames in memory: estimated, tracked, cleaned, people selected. Writes no files.

    Arguments as for `estimate_frames`; the `options` for files and drawing are ignored.
    """
    chunks = estimate_frames(
        frames, estimator, detector, options, frame_rate=frame_rate, given=given, on_progress=on_progress
    )
    return finish_sequence(join_chunks(chunks), options)


def finish_sequence(sequence: PoseSequence, options: ClipOptions) -> PoseSequence:
    """The sequence without short tracks of detected people, cleaned, with the people that the options select."""
    if sequence.meta.get("boxes_from") != "given":
        sequence = drop_short_tracks(sequence, options.min_track)
    if options.clean is not None:
        sequence = clean(sequence, options.clean)
    return choose_people(sequence, options.person) if options.person else sequence


def choose_people(sequence: PoseSequence, person: Selection) -> PoseSequence:
    """Only the selected people. Raises `InputError` for an id that the clip does not have."""
    ids = np.unique(sequence.track_ids[sequence.track_ids >= 0]).tolist()
    if person.by == "id" and ids and person.number not in ids:
        raise InputError(f"person {person.number} is not in the clip: it has {', '.join(map(str, ids))}")
    settings = asdict(person)
    return select_people(sequence, settings.pop("by") or "largest", **settings)


def _damage(video: VideoSource) -> list[str]:
    if not video.damaged:
        return []
    places = ", ".join(map(str, video.damaged[:10])) + (", ..." if len(video.damaged) > 10 else "")
    return [f"the video is damaged, at or before frames {places}"]


@contextlib.contextmanager
def _batch_size_of(estimator: Estimator, chunk: ChunkResult | None) -> Iterator[list[str]]:
    """Give the estimator the batch size of the run being resumed; restore it afterwards, unless memory ran out."""
    recorded = None if chunk is None else chunk.state.get("batch_size")
    before = estimator.batch_size
    if recorded is None or recorded == before:
        yield []
        return
    estimator.batch_size = recorded
    try:
        yield [f"resumed with a batch size of {recorded}, as in the first run"]
    finally:
        if estimator.batch_size == recorded:
            estimator.batch_size = before
