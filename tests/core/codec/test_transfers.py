"""What goes between memory and the device in a batch: counted on PyTorch's "meta" device, which needs no GPU.

Its tensors know shape, type and device but hold no values. Whatever would wait for a value on the device (`.item()`,
`nonzero`, an index by a mask, a copy to memory) fails with them; other operations between devices are counted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sdpose_core.bench.run import Settings
from sdpose_core.codec import device_crops, transfers
from sdpose_core.codec.crops import affine_crop
from sdpose_core.codec.device_crops import CropJob, DeviceCropper
from sdpose_core.codec.heatmaps import decode_dark_udp, decode_to_tensor, flip_back
from sdpose_core.estimation import croppers, sdpose
from sdpose_core.estimation.crop_jobs import PlannedCrop
from sdpose_core.estimation.sdpose import PoseEstimator
from sdpose_core.estimation.stage_times import StageTimes
from sdpose_core.model.folding import fold_constants
from sdpose_core.model.network import SDPose

DEVICE = torch.device("meta")
ONE_BATCH = slice(0, 4)


class Counting(TorchDispatchMode):
    """Lists operations whose tensors lie on more than one device."""

    def __init__(self) -> None:
        super().__init__()
        self.moves: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        flat = torch.utils._pytree.tree_leaves((args, kwargs, result))
        devices = {value.device.type for value in flat if isinstance(value, torch.Tensor) and value.dim()}
        if len(devices) > 1:
            self.moves.append(str(func))
        return result


class PretendedModel(torch.nn.Module):
    """Heatmaps of the right shape from pictures on the pretended device, flip test included."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.weight = torch.nn.Parameter(torch.ones(1), requires_grad=False)

    def heatmaps(self, images: torch.Tensor, flip_test: bool = False) -> torch.Tensor:
        both = torch.cat([images, images.flip(-1)]) if flip_test else images
        maps = torch.nn.functional.avg_pool2d(both, 4).mean(1, keepdim=True).repeat(1, self.config.num_keypoints, 1, 1)
        if not flip_test:
            return maps
        straight, mirrored = maps.chunk(2)
        return (straight + flip_back(mirrored, self.config.flip_indices)) * 0.5


@pytest.fixture
def config() -> Any:
    from sdpose_core.model.config import SDPoseConfig

    return SDPoseConfig(input_size=(192, 256), heatmap_sigma=2.0)


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Counts what goes through `transfers`, which holds no page-locked memory here."""
    counts = {"up": 0, "down": 0}

    def upload(array: np.ndarray, device: torch.device) -> torch.Tensor:
        counts["up"] += 1
        kind = getattr(torch, str(array.dtype))
        return torch.empty(array.shape, dtype=kind, device=device)

    class Download:
        def __init__(self, tensor: torch.Tensor) -> None:
            counts["down"] += 1
            self.shape = tuple(tensor.shape)

    for module in (device_crops, croppers, sdpose):
        monkeypatch.setattr(module, "upload", upload)
    monkeypatch.setattr(sdpose, "Download", Download)
    return counts


def tiny_sdpose(device: torch.device) -> SDPose:
    with device:
        model = SDPose(Settings(model="body", tiny=True).config, with_rgb_branch=False)
        return fold_constants(model.eval().requires_grad_(False))


@pytest.mark.parametrize("flip_test", [False, True])
@pytest.mark.parametrize("pictures", [1, 4])
@pytest.mark.parametrize("real", [False, True], ids=["a stand-in", "SDPose"])
def test_a_batch_is_one_upload_per_picture_one_table_and_one_download(
    config: Any, moved: dict[str, int], pictures: int, flip_test: bool, real: bool
) -> None:
    model = tiny_sdpose(DEVICE) if real else PretendedModel(config).to(DEVICE)
    subject = PoseEstimator(model, batch_size=4, flip_test=flip_test, crops_on_device=True)
    with Counting() as counting:
        images = [np.zeros((90, 120 + i, 3), np.uint8) for i in range(pictures)]
        jobs = [PlannedCrop(i % pictures, i, np.array([10, 10, 60, 80, 1.0]), None) for i in range(4)]
        jobs.sort(key=lambda job: job.image)
        crops, points = subject.start(subject.cropper(images, jobs), ONE_BATCH)
    assert moved == {"up": pictures + 1, "down": 1}
    assert points.shape == (4, 17, 3)
    assert len(crops) == 4
    assert counting.moves == []


def test_the_pretended_device_notices_what_waits() -> None:
    """The test of the test: what the batch must not do is seen."""
    values, index = torch.ones(5, device=DEVICE), torch.tensor([0, 3])
    with Counting() as counting:
        values[index]  # the index goes to the device
        torch.ones(3).to(DEVICE)
    assert len(counting.moves) == 2
    for waits in (lambda: values.cpu(), lambda: values.sum().item(), lambda: values[values > 0]):
        with pytest.raises((RuntimeError, NotImplementedError)):
            waits()


def test_decoding_without_looking_at_numbers_gives_the_same_points() -> None:
    generator = np.random.default_rng(0)
    y, x = np.mgrid[0:64, 0:48]
    peaks = [(1, 10.2, 20.4), (0.02, 0, 63), (0.002, 47, 5.5), (60, 30.7, 30), (0.5, 20, 0)]
    maps = np.stack([h * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 8) for h, cx, cy in peaks])
    maps = np.concatenate([maps - 0.001, maps, generator.normal(0, 1, (2, 64, 48)), np.zeros((1, 64, 48))])
    tensor = torch.from_numpy(maps[None].astype(np.float32))
    points, scores = decode_dark_udp(tensor, (192, 256))
    found = decode_to_tensor(tensor, (192, 256), waits=False).numpy()
    np.testing.assert_array_equal(found[..., :2], points)
    np.testing.assert_array_equal(found[..., 2], scores)


def test_what_is_downloaded_is_what_was_there() -> None:
    values = torch.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(transfers.Download(values).array(), values.numpy())
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)[:, ::-1]
    np.testing.assert_array_equal(transfers.upload(array, torch.device("cpu")).numpy(), array)


class PretendedEvent:
    """A CUDA event of a device that is done with what it was given when `clock` has passed."""

    clock = 0

    def __init__(self, enable_timing: bool = False) -> None:
        self.at: int | None = None

    def record(self, _stream: Any) -> None:
        PretendedEvent.clock += 1
        self.at = PretendedEvent.clock + 2  # the device is two events behind

    def query(self) -> bool:
        return self.at is not None and self.at <= PretendedEvent.clock

    def synchronize(self) -> None:
        PretendedEvent.clock = max(PretendedEvent.clock, self.at or 0)

    def elapsed_time(self, other: PretendedEvent) -> float:
        assert other.query(), "read before the device was there"
        return 1000.0 * ((other.at or 0) - (self.at or 0))


def test_times_of_a_device_are_added_up_as_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clip of any length holds a few events, and nothing is waited for before the end."""
    monkeypatch.setattr(torch.cuda, "Event", PretendedEvent)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _device: None)
    times = StageTimes()
    times.begin()
    for _ in range(100):
        with times.busy_on("model", torch.device("cuda")):
            pass
    assert len(times._spans) <= 2
    assert times.shares()[0].seconds == 100


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("real", [False, True], ids=["a stand-in", "SDPose"])
def test_nothing_of_a_batch_waits_on_cuda(config: Any, real: bool) -> None:
    model = tiny_sdpose(torch.device("cuda")) if real else PretendedModel(config).to("cuda")
    subject = PoseEstimator(model, batch_size=4, flip_test=True)
    picture = np.random.default_rng(0).integers(0, 256, (300, 200, 3), dtype=np.uint8)
    jobs = [PlannedCrop(0, i, np.array([10.0 * i, 10, 60 + 10 * i, 280, 1]), None) for i in range(4)]
    subject.start(subject.cropper([picture], jobs), ONE_BATCH)  # first use of a kernel may wait
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        _, points = subject.start(subject.cropper([picture], jobs), ONE_BATCH)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    on_cpu = DeviceCropper(
        [CropJob(picture, affine_crop(job.box[:4], (192, 256))) for job in jobs], torch.device("cpu")
    )
    expected, _ = decode_dark_udp(
        PoseEstimator(model.cpu(), flip_test=True)._heatmaps(on_cpu.cut(0, 4).round_()), (192, 256)
    )
    if not real:  # of random weights the maps are flat, and their maxima anywhere
        np.testing.assert_allclose(points.array()[..., :2], expected, atol=1e-2)
