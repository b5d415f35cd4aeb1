"""The pictures behind the poses under review, as JPEG: made when they are asked for, the last ones kept."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..dependencies import opencv
from ..errors import InputError
from ..images import read_image
from ..inputs import pictures_in
from ..poses import PoseSequence
from ..stated import mapping_in
from ..video.opening import open_video
from ..video.pictures import PictureFolder
from ..video.seeking import FrameSeeker

QUALITY = 90
MAX_BYTES = 64 << 20
"""Of the JPEGs that are kept."""
MAX_SIDE = 65_500
"""Pixels of a JPEG's width or height."""
BACKWARD = 12
"""Frames that are made together when a clip is stepped through backward."""


class Pictures:
    """The pictures of the frames of a sequence.

    Args:
        read: (position of a frame) -> RGB uint8 (H, W, 3); may raise `InputError`. Called by one thread at a time.
        count: number of frames.
        slow_backward: whether going back is slow, so that frames before are made along the way.
        stop: makes `read`, which may take long, give up soon.
        close: frees what `read` uses.
    """

    def __init__(
        self,
        read: Callable[[int], np.ndarray],
        count: int,
        *,
        slow_backward: bool = False,
        stop: Callable[[], None] = lambda: None,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._read_frame, self._count, self._slow_backward = read, count, slow_backward
        self._stop_reading, self._close, self._stopped = stop, close, False
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._bytes, self._last = 0, -1

    def _read(self, t: int) -> np.ndarray:
        if self._stopped:
            raise InputError("the review ends")
        return self._read_frame(t)

    def picture(self, t: int) -> np.ndarray:
        """RGB uint8 (H, W, 3) of frame `t`. Raises `InputError`."""
        with self._lock:
            return self._read(t)

    def jpeg(self, t: int, width: int = 0) -> bytes:
        """Frame `t` as a JPEG of at most `width` pixels (0: as it is)."""
        if not 0 <= t < self._count:
            raise InputError(f"frame {t}: the clip has frames 0 to {self._count - 1}")
        with self._lock:
            if (t, width) not in self._kept:
                going_back = self._slow_backward and 0 < self._last - t <= BACKWARD
                for number in range(max(t - BACKWARD + 1, 0) if going_back else t, t + 1):
                    if (number, width) not in self._kept:
                        self._keep((number, width), _encoded(self._read(number), width))
            self._last = t
            self._kept.move_to_end((t, width))
            return self._kept[t, width]

    def _keep(self, key: tuple[int, int], content: bytes) -> None:
        self._kept[key] = content
        self._bytes += len(content)
        while self._bytes > MAX_BYTES and len(self._kept) > BACKWARD:
            self._bytes -= len(self._kept.popitem(last=False)[1])

    def stop(self) -> None:
        """Refuse all further pictures, also those that are being read, so that nobody waits for them."""
        self._stopped = True
        self._stop_reading()

    def close(self) -> None:
        """Free what is open."""
        self.stop()
        with self._lock:
            self._close()


def _encoded(rgb: np.ndarray, width: int) -> bytes:
    cv2 = opencv()

    h, w = rgb.shape[:2]
    if max(h, w) > MAX_SIDE:
        width = min(width or w, max(w * MAX_SIDE // max(h, w), 1))
    if 0 < width < w:
        rgb = cv2.resize(rgb, (width, max(round(h * width / w), 1)), interpolation=cv2.INTER_AREA)
    done, content = cv2.imencode(".jpg", np.ascontiguousarray(rgb[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise InputError(f"a picture of {w} x {h} pixels cannot be encoded as JPEG: it is too large for the page")
    return content.tobytes()


def pictures_of_video(sequence: PoseSequence, path: Path) -> Pictures:
    """The frames of a video or a folder of pictures. Raises `InputError` if its size is not that of the poses."""
    source = open_video(path, frame_rate=None)
    if source.info.size != sequence.size:
        (w, h), (found_w, found_h) = sequence.size, source.info.size
        raise InputError(
            f"{path} has {found_w} x {found_h} pixels, the poses were estimated in {w} x {h}: name the video that they "
            "were estimated from"
        )
    numbers = sequence.frame_index.tolist()
    seeker = FrameSeeker(source, list(zip(numbers, sequence.pts.tolist(), strict=True)))
    if isinstance(source, PictureFolder):
        numbers = _places_by_name(sequence, source) or numbers

    def read(t: int) -> np.ndarray:
        if numbers[t] is None:
            raise InputError(f"{path} has no {sequence.meta['frame_names'][t]}, of which this frame's poses are")
        return seeker.frame(numbers[t])

    slow = not isinstance(source, PictureFolder)
    return Pictures(read, len(sequence), slow_backward=slow, stop=seeker.stop, close=seeker.close)


def _places_by_name(sequence: PoseSequence, folder: PictureFolder) -> list[int | None]:
    """The place in a folder of the picture of each frame, by its name; empty if the names are not known.

    Raises `InputError` if none of them is there.
    """
    names = sequence.meta.get("frame_names", ())
    if len(names) != len(sequence):
        return []
    places = {file.name: place for place, file in enumerate(folder.files)}
    found = [places.get(name) for name in names]
    if not any(place is not None for place in found):
        raise InputError(f"{folder.info.path} has no {names[0]} and none of the others that the poses are of")
    return found


def pictures_of_files(files: Sequence[Path | None], sizes: Sequence[tuple[int, int]] | None = None) -> Pictures:
    """One picture file for each frame, None where it is not there; `sizes` (w, h): those that they should have."""

    def read(t: int) -> np.ndarray:
        if (file := files[t]) is None:
            raise InputError(f"the picture of frame {t} is not there")
        picture = read_image(file)
        h, w = picture.shape[:2]
        if sizes is not None and (w, h) != tuple(sizes[t]):
            expected = "{} x {}".format(*sizes[t])
            raise InputError(f"{file} has {w} x {h} pixels, its poses were estimated in {expected}: find that one")
        return picture

    return Pictures(read, len(files))


def other_source(sequence: PoseSequence, path: Path) -> list[str]:
    """A note if a video, picture or folder is, by its size on the disk, not what the poses say they were made from."""
    stated = mapping_in(mapping_in(sequence.meta, "origin"), "source")
    files = pictures_in(path) if os.path.isdir(path) else [path]
    size = sum(os.path.getsize(file) for file in files)
    if stated.get("bytes") in (None, size):
        return []
    return [f"{path.name} is not the file that the poses were made from, or was changed since: see whether they fit"]


def find_video(sequence: PoseSequence, path: Path) -> Path | None:
    """The video, picture or folder that the poses of the file `path` state as their source, if it lies beside the file,
    in the folder above or in the current one."""
    name = str(sequence.meta.get("source") or "")
    if name in ("", "..") or Path(name).name != name:
        return None
    places = [folder / name for folder in (path.absolute().parent, path.absolute().parent.parent, Path.cwd())]
    return next((place for place in places if os.path.exists(place)), None)  # the name may be any text
