"""Make the example graphs, their subgraphs, inputs and thumbnails.

`COMFYUI_PATH=/path/to/ComfyUI python docs/make_graphs.py` writes `workflows/`, `subgraphs/` and `tests/workflows_api/`.
The schemas of ComfyUI's own nodes are those of that ComfyUI; the thumbnails are what the graphs give there.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from graph_files import FILES, PACK, SDPOSE, foreign_schemas
from graph_layout import Graph, Node, Wire, write
from graph_pictures import make_inputs, shown, thumbnail

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

TRY_YOURS = (
    "**Load Example** loads a file that comes with this pack: for your own, put {} in its place. The built-in preview "
    "model runs at once, but it is not SDPose. For SDPose, choose its weights in **Load SDPose Model**; the first "
    "example graph downloads them."
)
YOUR_IMAGE = TRY_YOURS.format("**Load Image**")
YOUR_VIDEO = TRY_YOURS.format("**Load Video**")
YOUR_BOTH = TRY_YOURS.format("**Load Video** or **Load Image**")
UNMUTE = "Select the nodes of the lower group (hold Ctrl and drag around them) and press Ctrl+M"
GENERATE = "Muted: choose your own checkpoint and ControlNet, then Ctrl+M"
PROMPT = "portrait of an explorer in a jungle, natural light, detailed"
NEGATIVE = "blurry, deformed"


class Examples:
    """The graphs; each method adds the nodes of one to `self.graph` and returns its note."""

    def __init__(self, schemas: dict[str, Any]) -> None:
        self.schemas = schemas
        self.graph: Graph = Graph("", schemas, {})

    def start(self, name: str) -> Graph:
        offered = {
            name: [{"name": name, "url": url, "directory": folder}] for folder, files in FILES.items()
            for name, url in files.items()
        }  # fmt: skip
        offered["SDPoseAnnotatorLoadModel"] = offered[SDPOSE]
        self.graph = Graph(name, self.schemas | foreign_schemas(), offered)
        return self.graph

    def example(self, file: str, **settings: Any) -> Node:
        return self.graph.add("SDPoseAnnotatorExample", example=file, **settings)

    def model(self) -> Node:
        return self.graph.add("SDPoseAnnotatorLoadModel")

    def save(self, node: Node, output: str, name: str) -> Node:
        return self.graph.add("SaveImage", images=node[output], filename_prefix=f"SDPose/{name}")

    def save_video(self, images: Node, output: str, fps: Any, name: str) -> list[Node]:
        clip = self.graph.add("CreateVideo", images=images[output], fps=fps)
        return [clip, self.graph.add("SaveVideo", video=clip["VIDEO"], filename_prefix=f"SDPose/{name}")]

    # --- pictures

    def picture(self) -> str:
        add = self.graph.add
        source, model = self.example("astronaut.jpg"), self.model()
        pose = add("SDPoseAnnotator", image=source["image"], model=model["model"])
        self.graph.place(
            [source, model], [pose], [self.save(pose, "pose_map", "pose")], title="A picture to a pose map"
        )
        best = add("SDPoseAnnotatorLoadModel", model=SDPOSE)
        better = add("SDPoseAnnotator", image=source["image"], model=best["model"])
        saved = self.save(better, "pose_map", "sdpose")
        self.graph.place([best], [better], [saved], title="Muted: the same with SDPose (Ctrl+M)", muted=True)
        return f"""
## A picture to a pose map

**SDPose Annotator** finds the people and draws their poses. **Load Example** loads a file that comes with this pack:
for your own, put **Load Image** in its place.

The built-in preview model runs at once, but it is not SDPose. For SDPose: {UNMUTE[0].lower()}{UNMUTE[1:]}. ComfyUI
then offers to download the weights into `models/checkpoints`. Or get them with **Download SDPose Weights**."""

    def _controlnet(self, name: str, style: str, checkpoint: str, controlnet: str, side: int) -> None:
        add = self.graph.add
        source, model = self.example("astronaut.jpg"), self.model()
        pose = add("SDPoseAnnotator", image=source["image"], model=model["model"], style=style)
        self.graph.place(
            [source, model], [pose], [self.save(pose, "pose_map", f"{name}_pose")], title="A picture to a pose map"
        )
        loaded = add("CheckpointLoaderSimple", ckpt_name=checkpoint)
        control = add("ControlNetLoader", control_net_name=controlnet)
        latent = add("EmptyLatentImage", width=side, height=side)
        positive, negative = (add("CLIPTextEncode", text=text, clip=loaded["CLIP"]) for text in (PROMPT, NEGATIVE))
        applied = add(
            "ControlNetApplyAdvanced", positive=positive["CONDITIONING"], negative=negative["CONDITIONING"],
            control_net=control["CONTROL_NET"], image=pose["pose_map"], strength=0.9, end_percent=0.8,
        )  # fmt: skip
        sampled = add(
            "KSampler", model=loaded["MODEL"], positive=applied["positive"], negative=applied["negative"],
            latent_image=latent["LATENT"], seed=7, steps=24, cfg=6.5, sampler_name="dpmpp_2m", scheduler="karras",
        )  # fmt: skip
        decoded = add("VAEDecode", samples=sampled["LATENT"], vae=loaded["VAE"])
        self.graph.place(
            [loaded, control, latent], [positive, negative], [applied], [sampled],
            [decoded, self.save(decoded, "IMAGE", name)], title=GENERATE, muted=True,
        )  # fmt: skip

    def sd15(self) -> str:
        self._controlnet(
            "sd15",
            "controlnet",
            "v1-5-pruned-emaonly-fp16.safetensors",
            "control_v11p_sd15_openpose_fp16.safetensors",
            512,
        )
        return f"""
## A picture to ControlNet (SD 1.5)

The pose map is saved at once. To generate: choose your own SD 1.5 checkpoint and its OpenPose ControlNet in the
lower group. {UNMUTE}; for files that you do not have, ComfyUI offers the download. Give the
latent the proportions of the picture.

{YOUR_IMAGE}"""

    def sdxl(self) -> str:
        self._controlnet(
            "sdxl", "xinsir", "sd_xl_base_1.0.safetensors", "controlnet-openpose-sdxl-1.0_xinsir.safetensors", 1024
        )
        return f"""
## A picture to ControlNet (SDXL, xinsir)

xinsir's ControlNet was trained with thicker limbs on large pictures: the style `xinsir` draws them. To generate:
choose your own SDXL checkpoint and ControlNet in the lower group. {UNMUTE}. xinsir's file is
called `diffusion_pytorch_model.safetensors`: rename it.

{YOUR_IMAGE}"""

    def anime(self) -> str:
        add = self.graph.add
        source, model = self.example("character.jpg"), self.model()
        boxes = add("SDPoseAnnotatorDetect", image=source["image"], max_people=1)
        poses = add(
            "SDPoseAnnotatorEstimate", image=source["image"], model=model["model"], boxes=boxes["boxes"], threshold=0.2,
            if_nobody="full-image",
        )  # fmt: skip
        kept = add("SDPoseAnnotatorFilter", poses=poses["poses"], threshold=0.2)
        drawn = add("SDPoseAnnotatorDraw", poses=kept["poses"], threshold=0.2)
        over = add(
            "SDPoseAnnotatorDraw", title="Draw Poses: over the picture, to check", poses=kept["poses"], threshold=0.2,
            image=source["image"], background="picture",
        )  # fmt: skip
        saved = self.save(drawn, "pose_map", "anime")
        self.graph.place([source, model], [boxes, poses, kept], [drawn], [over], [saved])
        return f"""
## Anime and paintings

Detectors are often unsure about drawn people: **Detect Persons** then lets their poses decide, and if it finds
nobody, `if_nobody` takes the whole picture. For somebody who is not found, lower `min_person_score`, get the art
detector with **Download SDPose Weights**, or give boxes or a mask through **Boxes From ...**. SDPose is made for
such pictures; the preview model is not.

{YOUR_IMAGE}"""

    def several_people(self) -> str:
        add = self.graph.add
        source, model = self.example("two_people.jpg"), self.model()
        boxes = add("SDPoseAnnotatorDetect", image=source["image"])
        poses = add("SDPoseAnnotatorEstimate", image=source["image"], model=model["model"], boxes=boxes["boxes"])
        drawn = add("SDPoseAnnotatorDraw", title="Draw Poses: everybody", poses=poses["poses"])
        sides = ["leftmost", "rightmost"]
        chosen = [add("SDPoseAnnotatorSelectPerson", poses=poses["poses"], by=side) for side in sides]
        each = [
            add("SDPoseAnnotatorDraw", title=f"Draw Poses: the {side} person", poses=one["poses"])
            for side, one in zip(sides, chosen, strict=True)
        ]
        saved = self.save(drawn, "pose_map", "everybody")
        kept = [self.save(one, "pose_map", side) for side, one in zip(sides, each, strict=True)]
        self.graph.place([source, model], [boxes, poses, *chosen], [drawn], each[:1], each[1:], [saved, *kept])
        return f"""
## Several people

Everybody goes through the model in shared batches. **Select Person** keeps one of them, by place, size, score or
ID: one pose map for each person, to prompt them separately.

{YOUR_IMAGE}"""

    def edit(self) -> str:
        add = self.graph.add
        source, model = self.example("astronaut.jpg"), self.model()
        pose = add("SDPoseAnnotator", image=source["image"], model=model["model"])
        saved = add(
            "SDPoseAnnotatorSave", poses=pose["poses"], filename_prefix="poses/astronaut",
            format="OpenPose JSON, one file",
        )  # fmt: skip
        self.graph.place([source, model], [pose], [saved], title="First run: save")
        loaded = add(
            "SDPoseAnnotatorLoad", title="Load Poses: the edited file", file="poses/astronaut_00001_.json [output]"
        )
        drawn = add(
            "SDPoseAnnotatorDraw",
            title="Draw Poses: at the size you set",
            poses=loaded["poses"],
            width=768,
            height=1024,
        )
        again = self.save(drawn, "pose_map", "edited")
        self.graph.place([loaded], [drawn], [again], title="Muted until there is a file: reload (Ctrl+M)", muted=True)
        return f"""
## Save, edit, reload

**Save Poses** writes OpenPose JSON into `output/poses`. Run the graph once and press R. Edit the file in any
OpenPose editor. {UNMUTE} and run again: **Load Poses** reads the file, and it is drawn at
the size you set. Files in the `input` folder are listed too.

{YOUR_IMAGE}"""

    def with_core(self) -> str:
        add = self.graph.add
        source, model = self.example("two_people.jpg"), self.model()
        pose = add("SDPoseAnnotator", image=source["image"], model=model["model"])
        drawn = add("SDPoseDrawKeypoints", title="ComfyUI draws our poses", keypoints=pose["POSE_KEYPOINT"])
        saved = self.save(drawn, "IMAGE", "drawn_by_comfyui")
        self.graph.place([source, model], [pose], [drawn], [saved], title="Our poses in ComfyUI's nodes")
        loaded = add("CheckpointLoaderSimple", ckpt_name=SDPOSE)
        unet = add("UNETLoader", unet_name="rt_detr_v4-x-hgnet_fp16.safetensors")
        boxes = add("RTDETR_detect", model=unet["MODEL"], image=source["image"], class_name="person", max_detections=20)
        native = add(
            "SDPoseKeypointExtractor", model=loaded["MODEL"], vae=loaded["VAE"], image=source["image"],
            bboxes=boxes["bboxes"],
        )  # fmt: skip
        theirs = add(
            "SDPoseAnnotatorDraw", title="Draw Poses: hands swapped back", poses=native["keypoints"], swap_hands=True
        )
        best = add("SDPoseAnnotatorLoadModel", model=SDPOSE)
        ours = add("SDPoseAnnotatorEstimate", image=source["image"], model=best["model"], boxes=boxes["bboxes"])
        our_map = add("SDPoseAnnotatorDraw", title="Draw Poses: estimated here", poses=ours["poses"])
        maps = [self.save(theirs, "pose_map", "native"), self.save(our_map, "pose_map", "ours")]
        self.graph.place(
            [loaded, unet, best], [boxes, native, ours], [theirs], [our_map], maps,
            title="Muted: ComfyUI's detector and estimator, ours beside them (Ctrl+M)", muted=True,
        )  # fmt: skip
        return f"""
## With ComfyUI's own pose nodes

POSE_KEYPOINT goes both ways. Top: our poses, drawn by ComfyUI. Bottom: ComfyUI's RT-DETR finds the people,
ComfyUI's and our node estimate them with the same weights, and this pack draws both. ComfyUI's node swaps left and
right hands; `swap_hands` swaps them back.

{UNMUTE}: ComfyUI then offers to download the weights. {YOUR_IMAGE}"""

    # --- videos

    def animate_anyone(self) -> str:
        source, model = self.example("dancer.mp4"), self.model()
        maps = self.graph.add("SDPoseAnnotatorAnimateAnyone", video=source["video"], model=model["model"])
        saved = self.graph.add("SaveVideo", video=maps["video"], filename_prefix="SDPose/driving")
        self.graph.place([source, model], [maps], [saved])
        return f"""
## A driving video for AnimateAnyone

**AnimateAnyone Pose Sequence** makes one pose map per frame, of one person, in AnimateAnyone's size and style.
Connect `pose_map` to the nodes of your AnimateAnyone pack, or use the saved pose video outside ComfyUI. The next
graph shows one of these packs.

{YOUR_VIDEO}"""

    def animate_anyone_evolved(self) -> str:
        add = self.graph.add
        source, model = self.example("dancer.mp4"), self.model()
        maps = add("SDPoseAnnotatorAnimateAnyone", video=source["video"], model=model["model"])
        reference = self.example("character.jpg", title="The character")
        saved = add("SaveVideo", video=maps["video"], filename_prefix="SDPose/evolved_driving")
        self.graph.place([source, model], [reference], [maps], [saved], title="Pose maps")
        guider = add(f"{PACK} Load Pose Guider")
        poses = add(f"{PACK} Pose Guider Encode", pose_guider=guider["pose_guider"], pose_images=maps["pose_map"])
        unet2d, unet3d = add(f"{PACK} Load UNet2D ConditionModel"), add(f"{PACK} Load UNet3D ConditionModel")
        vae = add("VAELoader", vae_name="sd-vae-ft-mse.safetensors")
        latent = add("VAEEncode", pixels=reference["image"], vae=vae["VAE"])
        vision = add("CLIPVisionLoader", clip_name="sd-image-variations_image_encoder.safetensors")
        seen = add("CLIPVisionEncode", clip_vision=vision["CLIP_VISION"], image=reference["image"])
        sampled = add(
            f"{PACK} Animate Anyone Sampler", reference_unet=unet2d["unet2d"], denoising_unet=unet3d["unet3d"],
            ref_image_latent=latent["LATENT"], clip_image_embeds=seen["CLIP_VISION_OUTPUT"],
            pose_latent=poses["pose_latent"],
        )  # fmt: skip
        decoded = add("VAEDecode", samples=sampled["latent"], vae=vae["VAE"])
        clip = self.save_video(decoded, "IMAGE", maps["frame_rate"], "animated")
        self.graph.place(
            [guider, unet2d, unet3d, vae, vision], [poses, latent, seen], [sampled], [decoded, *clip],
            title="Muted: needs ComfyUI-AnimateAnyone-Evolved and its weights", muted=True,
        )  # fmt: skip
        return f"""
## AnimateAnyone-Evolved (needs that pack)

The nodes of the lower group belong to **ComfyUI-AnimateAnyone-Evolved** (MrForExample, commit fa383bd; checked
against its source code, not run): they are red until you install that pack. The upper group runs without it. With
the pack and its weights: choose your own files in the lower group. {UNMUTE}.

{YOUR_BOTH}"""

    def one_of_several(self) -> str:
        add = self.graph.add
        source, model = self.example("two_dancers.mp4"), self.model()
        everybody = add(
            "SDPoseAnnotatorVideo", title="Annotate Video: everybody", video=source["video"], model=model["model"]
        )
        one = add("SDPoseAnnotatorSelectPerson", title="Select Person: ID 0", poses=everybody["sequence"], by="id")
        drawn = add("SDPoseAnnotatorDraw", poses=one["poses"])
        parts = add("GetVideoComponents", video=source["video"])
        clip = self.save_video(drawn, "pose_map", parts["fps"], "one_person")
        self.graph.place([source, model], [everybody], [one, parts], [drawn], clip)
        return f"""
## One of several people in a video

**Annotate Video** gives everybody a stable ID and says in how many frames each person is. **Select Person** keeps
one of them: change *number*. The pose video of everybody is in `output/poses`.

{YOUR_VIDEO}"""

    def _fitted(self, model: Node, video: dict[str, Any], image: dict[str, Any]) -> list[Node]:
        """Nodes that fit the motion of a video to a character: of the video, of the character, both together."""
        add = self.graph.add
        dance = add("SDPoseAnnotatorVideo", **video, model=model["model"], person="best score")
        character = add(
            "SDPoseAnnotator", title="The character's pose", **image, model=model["model"], threshold=0.2,
            max_people=1, if_nobody="full-image",
        )  # fmt: skip
        fitted = add("SDPoseAnnotatorRetarget", sequence=dance["sequence"], reference=character["poses"])
        return [dance, character, fitted]

    def _fitted_examples(self) -> list[Node]:
        """Video, model and picture of a character; and what `_fitted` adds to them."""
        source, model = self.example("dancer.mp4"), self.model()
        reference = self.example("character.jpg", title="The character")
        made = self._fitted(model, {"video": source["video"]}, {"image": reference["image"]})
        return [source, model, reference, *made]

    def fit(self) -> str:
        add = self.graph.add
        source, model, reference, dance, character, fitted = self._fitted_examples()
        drawn = add("SDPoseAnnotatorDraw", poses=fitted["sequence"], style="animate_anyone")
        parts = add("GetVideoComponents", video=source["video"])
        clip = self.save_video(drawn, "pose_map", parts["fps"], "fitted")
        files = add("SDPoseAnnotatorExport", sequence=fitted["sequence"], filename_prefix="poses/fitted")
        self.graph.place([source, model, parts], [reference], [dance], [character], [fitted, files], [drawn], clip)
        return f"""
## Fit a motion to a character

The pose in the character's picture is the reference. **Retarget Poses** fits the dancer's motion to its place, size
and limb lengths; the result has the size of the picture. **Export Pose Sequence** writes it for a tool outside
ComfyUI.

{YOUR_BOTH}"""

    def wan(self) -> str:
        add = self.graph.add
        source, model, reference, dance, character, fitted = self._fitted_examples()
        drawn = add("SDPoseAnnotatorDraw", poses=fitted["sequence"], style="wan_animate", width=448, height=704)
        parts = add("GetVideoComponents", video=source["video"])
        faces = add("SDPoseAnnotatorFaceCrops", image=parts["images"], sequence=dance["sequence"])
        clip = self.save_video(drawn, "pose_map", parts["fps"], "wan_pose")
        face_clip = self.save_video(faces, "faces", parts["fps"], "wan_face")
        self.graph.place(
            [source, model, parts], [reference, fitted], [dance], [character], [drawn], [faces], [*clip, *face_clip],
            title="Pose video and face video",
        )  # fmt: skip
        self._wan_animate(reference, drawn, faces, parts)
        return f"""
## A video to Wan Animate

Wan Animate takes a picture of the character, a pose video and a face video. Here the motion is fitted to the
character, and both videos are saved at once. To generate: choose your own Wan 2.2 Animate model and its parts in
the lower group. {UNMUTE}; for files that you do not have, ComfyUI offers the download. Its settings
come from Wan's own inference code; that part has not been run.

{YOUR_BOTH}"""

    def _wan_animate(self, reference: Node, drawn: Node, faces: Node, parts: Node) -> None:
        add = self.graph.add
        unet = add("UNETLoader", unet_name="wan2.2_animate_14B_bf16.safetensors")
        clip = add("CLIPLoader", clip_name="umt5_xxl_fp8_e4m3fn_scaled.safetensors", type="wan")
        vae = add("VAELoader", vae_name="wan_2.1_vae.safetensors")
        vision = add("CLIPVisionLoader", clip_name="clip_vision_h.safetensors")
        texts = [add("CLIPTextEncode", text=text, clip=clip["CLIP"]) for text in ("a girl dances", NEGATIVE)]
        seen = add("CLIPVisionEncode", clip_vision=vision["CLIP_VISION"], image=reference["image"])
        wan = add(
            "WanAnimateToVideo", positive=texts[0]["CONDITIONING"], negative=texts[1]["CONDITIONING"], vae=vae["VAE"],
            clip_vision_output=seen["CLIP_VISION_OUTPUT"], reference_image=reference["image"],
            face_video=faces["faces"], pose_video=drawn["pose_map"], width=448, height=704, length=45,
        )  # fmt: skip
        shifted = add("ModelSamplingSD3", model=unet["MODEL"], shift=5.0)
        sampled = add(
            "KSampler", model=shifted["MODEL"], positive=wan["positive"], negative=wan["negative"],
            latent_image=wan["latent"], seed=7, steps=20, cfg=1.0, sampler_name="uni_pc", scheduler="simple",
        )  # fmt: skip
        trimmed = add("TrimVideoLatent", samples=sampled["LATENT"], trim_amount=wan["trim_latent"])
        decoded = add("VAEDecode", samples=trimmed["LATENT"], vae=vae["VAE"])
        made = self.save_video(decoded, "IMAGE", parts["fps"], "wan_animate")
        self.graph.place(
            [unet, clip, vae, vision], [*texts, seen], [wan], [shifted, sampled], [trimmed, decoded, *made],
            title="Muted: choose your own Wan 2.2 Animate model, then Ctrl+M", muted=True,
        )  # fmt: skip

    def review(self) -> str:
        add = self.graph.add
        source, model = self.example("dancer.mp4"), self.model()
        dance = add("SDPoseAnnotatorVideo", video=source["video"], model=model["model"], person="best score")
        reviewed = add("SDPoseAnnotatorReview", sequence=dance["sequence"], video=source["video"], model=model["model"])
        drawn = add("SDPoseAnnotatorDraw", poses=reviewed["sequence"])
        parts = add("GetVideoComponents", video=source["video"])
        clip = self.save_video(drawn, "pose_map", parts["fps"], "reviewed")
        self.graph.place([source, model], [dance], [reviewed, parts], [drawn], clip)
        return f"""
## Correct poses by hand

Run the graph, then press *Review poses* on **Review Poses**: the most doubtful frames come first. Move, delete and
swap points, close the editor, and run again. Corrections are kept, and applied in every run.

{YOUR_VIDEO}"""

    def long_video(self) -> str:
        add = self.graph.add
        source, model = self.example("dancer.mp4"), self.model()
        dance = add(
            "SDPoseAnnotatorVideo", title="Annotate Video: from file to file", video=source["video"],
            model=model["model"], folder="poses",
        )  # fmt: skip
        smooth = add("SDPoseAnnotatorSmooth", title="Smooth Poses: a little more", sequence=dance["sequence"])
        files = add(
            "SDPoseAnnotatorExport", sequence=smooth["sequence"], target="controlnet", filename_prefix="poses/long"
        )
        self.graph.place([source, model], [dance], [smooth], [files])
        return """
## A long video

**Annotate Video** streams: a video is never loaded as a whole. For your own file, remove **Load Example** and enter
the name of a file in ComfyUI's input folder in *path*. After a cancel or a crash, queue the graph again: it goes on
after the last finished part. The results are in `output/poses`.

The built-in preview model runs at once; it is not SDPose. For SDPose, choose its weights in **Load SDPose Model**
(the first example graph gets them)."""


EXAMPLES = {
    "01 Picture to pose map": Examples.picture,
    "02 Picture to ControlNet, SD 1.5": Examples.sd15,
    "03 Picture to ControlNet, SDXL": Examples.sdxl,
    "04 Anime and paintings": Examples.anime,
    "05 Several people": Examples.several_people,
    "06 Save, edit, reload": Examples.edit,
    "07 With the pose nodes of ComfyUI": Examples.with_core,
    "08 Video to AnimateAnyone": Examples.animate_anyone,
    "09 AnimateAnyone-Evolved (needs that pack)": Examples.animate_anyone_evolved,
    "10 One of several people in a video": Examples.one_of_several,
    "11 Fit a motion to a character": Examples.fit,
    "12 Video to Wan Animate": Examples.wan,
    "13 Correct poses by hand": Examples.review,
    "14 Long video": Examples.long_video,
}


Ends = tuple[dict[str, list[tuple[Node, str]]], dict[str, Wire]]


class Subgraphs(Examples):
    """The subgraphs; each method adds the nodes of one and says which inputs and outputs it has."""

    def controlnet(self) -> Ends:
        """A picture's pose map, applied to your prompts through your ControlNet."""
        add = self.graph.add
        model = self.model()
        pose = add("SDPoseAnnotator", model=model["model"])
        applied = add("ControlNetApplyAdvanced", image=pose["pose_map"])
        self.graph.place([model], [pose], [applied])
        return (
            {
                "image": [(pose, "image")], "positive": [(applied, "positive")], "negative": [(applied, "negative")],
                "control_net": [(applied, "control_net")], "vae": [(applied, "vae")], "model": [(model, "model")],
                "style": [(pose, "style")], "strength": [(applied, "strength")],
                "end_percent": [(applied, "end_percent")],
            },
            {
                "positive": applied["positive"], "negative": applied["negative"], "pose_map": pose["pose_map"],
                "keypoints": pose["POSE_KEYPOINT"],
            },
        )  # fmt: skip

    def animate_anyone_subgraph(self) -> Ends:
        """One pose map per frame of a video, fitted to your character, in AnimateAnyone's size and style."""
        add = self.graph.add
        model = self.model()
        dance, character, fitted = self._fitted(model, {}, {})
        drawn = add("SDPoseAnnotatorDraw", poses=fitted["sequence"], style="animate_anyone")
        parts = add("GetVideoComponents")
        self.graph.place([model, parts], [dance], [character], [fitted], [drawn])
        return (
            {
                "video": [(dance, "video"), (parts, "video")], "character": [(character, "image")],
                "model": [(model, "model")], "method": [(fitted, "method")],
            },
            {
                "pose_map": drawn["pose_map"], "character_pose": character["pose_map"], "fps": parts["fps"],
                "sequence": fitted["sequence"],
            },
        )  # fmt: skip

    def wan_subgraph(self) -> Ends:
        """The pose video, fitted to your character, and the face video that WanAnimateToVideo takes."""
        add = self.graph.add
        model = self.model()
        dance, character, fitted = self._fitted(model, {}, {})
        drawn = add("SDPoseAnnotatorDraw", poses=fitted["sequence"], style="wan_animate", width=448, height=704)
        parts = add("GetVideoComponents")
        faces = add("SDPoseAnnotatorFaceCrops", image=parts["images"], sequence=dance["sequence"])
        self.graph.place([model, parts], [dance], [character], [fitted], [drawn], [faces])
        return (
            {
                "video": [(dance, "video"), (parts, "video")], "character": [(character, "image")],
                "model": [(model, "model")], "width": [(drawn, "width")], "height": [(drawn, "height")],
            },
            {
                "pose_video": drawn["pose_map"], "face_video": faces["faces"], "fps": parts["fps"],
                "sequence": fitted["sequence"],
            },
        )  # fmt: skip

    def two_people(self) -> Ends:
        """The pose maps of two people: of both, of the left one and of the right one."""
        add = self.graph.add
        model = self.model()
        boxes = add("SDPoseAnnotatorDetect", max_people=2)
        poses = add("SDPoseAnnotatorEstimate", model=model["model"], boxes=boxes["boxes"])
        both = add("SDPoseAnnotatorDraw", title="Draw Poses: both", poses=poses["poses"])
        sides = {"left": "leftmost", "right": "rightmost"}
        chosen = {side: add("SDPoseAnnotatorSelectPerson", poses=poses["poses"], by=by) for side, by in sides.items()}
        drawn = {
            side: add("SDPoseAnnotatorDraw", title=f"Draw Poses: {side}", poses=one["poses"])
            for side, one in chosen.items()
        }
        self.graph.place([model], [boxes, poses], [*chosen.values()], [both], *([each] for each in drawn.values()))
        return (
            {
                "image": [(boxes, "image"), (poses, "image")], "model": [(model, "model")],
                "style": [(each, "style") for each in (both, *drawn.values())],
            },
            {
                "both": both["pose_map"], "left": drawn["left"]["pose_map"], "right": drawn["right"]["pose_map"],
                "poses": poses["poses"],
            },
        )  # fmt: skip


SUBGRAPHS = {
    "Picture to ControlNet (SDPose Annotator)": Subgraphs.controlnet,
    "Video to AnimateAnyone (SDPose Annotator)": Subgraphs.animate_anyone_subgraph,
    "Video to Wan Animate (SDPose Annotator)": Subgraphs.wan_subgraph,
    "Two people (SDPose Annotator)": Subgraphs.two_people,
}


def main() -> None:
    from comfy_host import make_base, running

    make_inputs()
    for old in [*(ROOT / "workflows").glob("*.*"), *(ROOT / "tests" / "workflows_api").glob("*.json")]:
        old.unlink()
    (ROOT / "subgraphs").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, running(make_base(Path(folder) / "comfy")) as server:
        schemas = server.call("/object_info")
        for name, describe in SUBGRAPHS.items():
            made = Subgraphs(schemas)
            graph = made.start(name)
            inputs, outputs = describe(made)
            write(ROOT / "subgraphs" / f"{name}.json", graph.subgraph(describe.__doc__ or "", inputs, outputs))
        for name, describe in EXAMPLES.items():
            example = Examples(schemas)
            graph = example.start(name)
            note = describe(example)
            write(ROOT / "workflows" / f"{name}.json", graph.ui(note))
            write(ROOT / "tests" / "workflows_api" / f"{name}.json", graph.api())
            card = thumbnail(shown(server.base, server.run(graph.api()), graph.api()))
            card.save(ROOT / "workflows" / f"{name}.jpg", quality=85)
            print(name)


if __name__ == "__main__":
    main()
