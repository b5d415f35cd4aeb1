"""The errors that a user can act on.

Every message says what was found, what was expected and what to do. The command line and the nodes show the message
alone, without a traceback; anything that is not an `SDPoseError` is a defect of ours and keeps its traceback.
"""

from __future__ import annotations


class SDPoseError(Exception):
    """A user's mistake or a missing part: the message is complete and needs no traceback."""


class InputError(SDPoseError, ValueError):
    """A picture, box, keypoint array or setting that cannot be used."""


class CheckpointError(SDPoseError):
    """A file of weights that is missing, damaged or of another kind."""


class MissingDependency(SDPoseError, ImportError):
    """An optional package is needed for what was asked; the message names the extra to install."""


class DownloadError(SDPoseError):
    """A download was refused, failed, or brought other bytes than the hub promised."""
