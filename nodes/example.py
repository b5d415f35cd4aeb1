"""Load Example: what the example graphs run on, so that they run on a fresh install."""

from __future__ import annotations

from pathlib import Path

from comfy_api.latest import io

from ..sdpose_core.poses import USUAL_RATE
from . import widgets
from .host.info import clip_preview, preview
from .sockets.images import tensor_from_images
from .sockets.video import video_of_file, video_of_images

FOLDER = Path(__file__).resolve().parents[1] / "workflows" / "inputs"
EXAMPLES = ("astronaut.jpg", "character.jpg", "two_people.jpg", "dancer.mp4", "two_dancers.mp4")


class LoadExample(io.ComfyNode):
    """Load Example."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SDPoseAnnotatorExample",
            display_name="Load Example",
            category=widgets.FILES_CATEGORY,
            description="A picture or a short video that comes with this pack, to try its nodes. Put Load Image or "
            "Load Video in its place for your own files.",
            search_aliases=[*widgets.ALIASES, "sample picture", "sample video", "test image"],
            inputs=[
                io.Combo.Input(
                    "example", options=list(EXAMPLES), default=EXAMPLES[0], tooltip="The picture or video to load."
                )
            ],
            outputs=[
                io.Image.Output("image", tooltip="The picture, or all frames of the video."),
                io.Video.Output("video", tooltip="The video. A picture is a video of one frame."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, example: str) -> io.NodeOutput:
        from ..sdpose_core.images import read_image
        from ..sdpose_core.video.opening import open_video

        path = FOLDER / example
        if path.suffix == ".jpg":
            images = tensor_from_images([read_image(path)])
            return io.NodeOutput(images, video_of_images(images, USUAL_RATE), ui=preview(cls, images))
        with open_video(path) as video:
            frames = [frame.image for frame in video.frames()]
            shown = clip_preview(cls, frames, video.info.frame_rate)
        return io.NodeOutput(tensor_from_images(frames), video_of_file(path), ui=shown)
