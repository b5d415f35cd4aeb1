"""What the example graphs name that is not here: files to download, and the nodes of another pack."""

from __future__ import annotations

from typing import Any

HUB = "https://huggingface.co"
SDPOSE = "sdpose_wholebody_fp16.safetensors"
FILES = {
    "checkpoints": {
        SDPOSE: f"{HUB}/Comfy-Org/SDPose/resolve/main/checkpoints/{SDPOSE}",
        "v1-5-pruned-emaonly-fp16.safetensors": f"{HUB}/Comfy-Org/stable-diffusion-v1-5-archive/resolve/main/"
        "v1-5-pruned-emaonly-fp16.safetensors",
        "sd_xl_base_1.0.safetensors": f"{HUB}/stabilityai/stable-diffusion-xl-base-1.0/resolve/main/"
        "sd_xl_base_1.0.safetensors",
    },
    "controlnet": {
        "control_v11p_sd15_openpose_fp16.safetensors": f"{HUB}/comfyanonymous/ControlNet-v1-1_fp16_safetensors/resolve/"
        "main/control_v11p_sd15_openpose_fp16.safetensors",
        "controlnet-openpose-sdxl-1.0_xinsir.safetensors": f"{HUB}/xinsir/controlnet-openpose-sdxl-1.0/resolve/main/"
        "diffusion_pytorch_model.safetensors",
    },
    "diffusion_models": {
        "rt_detr_v4-x-hgnet_fp16.safetensors": f"{HUB}/Comfy-Org/SDPose/resolve/main/diffusion_models/"
        "rt_detr_v4-x-hgnet_fp16.safetensors",
        "wan2.2_animate_14B_bf16.safetensors": f"{HUB}/Comfy-Org/Wan_2.2_ComfyUI_Repackaged/resolve/main/split_files/"
        "diffusion_models/wan2.2_animate_14B_bf16.safetensors",
    },
    "text_encoders": {
        "umt5_xxl_fp8_e4m3fn_scaled.safetensors": f"{HUB}/Comfy-Org/Wan_2.1_ComfyUI_repackaged/resolve/main/"
        "split_files/text_encoders/umt5_xxl_fp8_e4m3fn_scaled.safetensors",
    },
    "vae": {
        "wan_2.1_vae.safetensors": f"{HUB}/Comfy-Org/Wan_2.1_ComfyUI_repackaged/resolve/main/split_files/vae/"
        "wan_2.1_vae.safetensors",
    },
    "clip_vision": {
        "clip_vision_h.safetensors": f"{HUB}/Comfy-Org/Wan_2.1_ComfyUI_repackaged/resolve/main/split_files/clip_vision/"
        "clip_vision_h.safetensors",
    },
}
"""Folder below models/, file, and where it is to be had; the page offers these downloads."""

PACK = "[AnimateAnyone]"
FOREIGN = {
    "Load Pose Guider": (
        {}, {"pose_guider_model_path": "./pretrained_weights/pose_guider.pth"}, ("pose_guider", "POSE_GUIDER")
    ),
    "Pose Guider Encode": ({"pose_guider": "POSE_GUIDER", "pose_images": "IMAGE"}, {}, ("pose_latent", "POSE_LATENT")),
    "Load UNet2D ConditionModel": (
        {}, {"pretrained_base_unet_folder_path": "./pretrained_weights/stable-diffusion-v1-5/unet/",
             "unet2d_model_path": "./pretrained_weights/reference_unet.pth"}, ("unet2d", "UNET2D")
    ),
    "Load UNet3D ConditionModel": (
        {}, {"pretrained_base_unet_folder_path": "./pretrained_weights/stable-diffusion-v1-5/unet/",
             "unet3d_model_path": "./pretrained_weights/denoising_unet.pth",
             "motion_module_path": "./pretrained_weights/motion_module.pth"}, ("unet3d", "UNET3D")
    ),
    "Animate Anyone Sampler": (
        {"reference_unet": "UNET2D", "denoising_unet": "UNET3D", "ref_image_latent": "LATENT",
         "clip_image_embeds": "CLIP_VISION_OUTPUT", "pose_latent": "POSE_LATENT"},
        {"seed": 7, "steps": 20, "cfg": 3.5, "delta": 1.0, "cfg_type": ["rcfg_self_negative"], "steps_rcfg": 3,
         "context_frames": 24, "context_stride": 1, "context_overlap": 4, "context_batch_size": 1,
         "interpolation_factor": 1, "sampler_scheduler_pairs": ["DDIM"], "beta_start": 0.00085, "beta_end": 0.012,
         "beta_schedule": ["linear"], "prediction_type": ["v_prediction"], "timestep_spacing": ["trailing"],
         "steps_offset": 1}, ("latent", "LATENT")
    ),
}  # fmt: skip
"""Nodes of ComfyUI-AnimateAnyone-Evolved, as its source declares them: sockets, widgets with values (menus as a list of
the choice), output."""

KINDS = {str: "STRING", int: "INT", float: "FLOAT"}


def foreign_schemas() -> dict[str, Any]:
    """These nodes in the form of /object_info."""
    schemas = {}
    for name, (sockets, widgets, (output, kind)) in FOREIGN.items():
        inputs: dict[str, Any] = {key: [socket, {}] for key, socket in sockets.items()}
        for key, value in widgets.items():
            inputs[key] = [value, {}] if isinstance(value, list) else [KINDS[type(value)], {"default": value}]
        if "seed" in inputs:
            inputs["seed"][1]["control_after_generate"] = True
        schemas[f"{PACK} {name}"] = {"input": {"required": inputs}, "output": [kind], "output_name": [output]}
    return schemas
