"""Uploads the weights of a run to the Hugging Face hub, only if asked to.

The hub's client sends only what the repository lacks, so that a repeated upload continues an interrupted one.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sdpose_core.checkpoints.hub import fetch_errors
from sdpose_core.errors import InputError, SDPoseError, one_line
from sdpose_core.files import temporary_folder
from sdpose_core.network import endpoint, need_network, quiet_client
from sdpose_training.fit.folder import RunFolder
from sdpose_training.recipe.recipe import HubRecipe

log = logging.getLogger(__name__)

PAUSES = (5.0, 30.0, 120.0)
"""Seconds before each further attempt."""


class UploadError(SDPoseError):
    """The hub refused an upload, or could not be reached."""


class _Unreachable(UploadError):
    """The network or the hub failed; another attempt may succeed."""


def prepare(recipe: HubRecipe) -> None:
    """Make the repository, if it does not exist. Raises `UploadError`: no token, no right to write, an invalid name."""
    need_network(recipe.repo, "cannot be uploaded to", " or leave out hub.repo")
    with _hub_errors(recipe.repo):
        _api().create_repo(recipe.repo, private=recipe.private, exist_ok=True)


def upload(folder: RunFolder, recipe: HubRecipe, pauses: tuple[float, ...] = PAUSES) -> str:
    """Upload weights, adapters, model card and config.toml of a run; returns the address of the repository.

    Step weights that the run no longer has are removed from the newest version of the repository. Waits and tries
    again if the network fails. Raises `UploadError`.
    """
    with _snapshot(folder) as files:
        return _persistently(lambda: _send(files, recipe), recipe.repo, pauses)


def _send(files: Path, recipe: HubRecipe) -> str:
    with _hub_errors(recipe.repo):
        api = _api()
        api.create_repo(recipe.repo, private=recipe.private, exist_ok=True)
        api.upload_folder(
            repo_id=recipe.repo, folder_path=files, commit_message="Weights of a training run",
            delete_patterns=["step-*.safetensors", "adapters/step-*.safetensors"],
        )  # fmt: skip
        return f"{endpoint()}/{recipe.repo}"


def _persistently(attempt: Callable[[], str], repo: str, pauses: tuple[float, ...]) -> str:
    for pause in pauses:
        try:
            return attempt()
        except _Unreachable as error:
            log.warning("%s; next attempt in %.0f seconds", error, pause)
            time.sleep(pause)
    return attempt()


@contextmanager
def _snapshot(folder: RunFolder) -> Iterator[Path]:
    """A folder with what is uploaded, which stays while the run goes on. Raises `InputError` without weights."""
    weights, adapters = (sorted(each.glob("*.safetensors")) for each in (folder.weights, folder.adapters))
    if not weights:
        raise InputError(f"{folder.weights} has no weights yet: expected the folder of a run of train.py")
    with temporary_folder(folder.root / "upload") as files:
        for path in (*weights, folder.weights / "README.md", folder.root / "config.toml"):
            _link_or_copy(path, files / path.name)
        for path in adapters:
            target = files / "adapters" / path.name
            target.parent.mkdir(exist_ok=True)
            _link_or_copy(path, target)
        yield files


def _link_or_copy(path: Path, target: Path) -> None:
    """A file that is gone is left out: the run may remove old weights meanwhile."""
    try:
        os.link(path, target)
    except FileNotFoundError:
        log.info("not uploaded, as it is gone: %s", path)
    except OSError:  # the file system has no hard links
        shutil.copyfile(path, target)


class Uploads:
    """Uploads in the background during a run; those that come while one is under way are joined into one.

    A failed upload is logged and does not end the run.
    """

    def __init__(self, folder: RunFolder, recipe: HubRecipe) -> None:
        self._folder, self._recipe = folder, recipe
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Upload what the run has now, unless an upload is under way."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._upload, name="upload", daemon=True)
            self._thread.start()

    def finish(self) -> None:
        """Upload what the run has at its end, and wait for it."""
        if self._thread is not None:
            self._thread.join()
        self._upload()

    def _upload(self) -> None:
        try:
            log.info("weights are at %s", upload(self._folder, self._recipe))
        except SDPoseError as error:
            again = f"python training/push_to_hub.py {self._folder.root} --repo {self._recipe.repo}"
            log.warning("not uploaded: %s. Later: %s", error, again)


def _api() -> Any:
    from huggingface_hub import HfApi

    return HfApi(endpoint=endpoint(), library_name="sdpose-annotator")


@contextmanager
def _hub_errors(repo: str) -> Iterator[None]:
    """What the hub's client raises, as one line that says what to do."""
    from huggingface_hub import errors

    try:
        with quiet_client(offline=False):
            yield
    except SDPoseError:
        raise
    except errors.LocalTokenNotFoundError:
        raise UploadError(f"{repo}: no token of the hub on this machine: log in with 'hf auth login'") from None
    except errors.HFValidationError:
        raise InputError(f"hub.repo: expected a name such as user/my-pose, found {repo!r:.80}") from None
    except errors.HfHubHTTPError as error:
        raise _refused(repo, error) from None
    except fetch_errors() as error:
        raise _unreachable(repo, error) from None
    except RuntimeError as error:  # of a large file; the cause is the error of the network
        if not isinstance(error.__cause__, fetch_errors()):
            raise
        raise _unreachable(repo, error.__cause__) from None


def _unreachable(repo: str, error: Exception) -> _Unreachable:
    return _Unreachable(f"{repo}: the hub cannot be reached ({one_line(error)})")


def _refused(repo: str, error: Exception) -> UploadError:
    status = getattr(getattr(error, "response", None), "status_code", 0)
    if status == 401:
        return UploadError(f"{repo}: the hub knows no valid token of yours: log in with 'hf auth login'")
    if status in (403, 404):
        return UploadError(
            f"{repo}: your token may not write there: use a token with write access, or a repository of your own"
        )
    if status >= 500 or status == 429:
        return _Unreachable(f"{repo}: the hub is busy or broken (status {status})")
    return UploadError(f"{repo}: the hub refused the upload ({one_line(error)})")
