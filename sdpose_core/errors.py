"""Errors that a user can act on. Every message says what was found, what was expected and what to do.

The command line and the nodes show the message without a traceback. Any other exception is a bug and keeps it.
"""

from __future__ import annotations


def one_line(error: Exception) -> str:
    """The error's message as one line of at most 200 characters, or its class if it has none."""
    return " ".join(str(error).split())[:200] or type(error).__name__


class SDPoseError(Exception):
    """A mistake in the input, or something that is missing."""


class InputError(SDPoseError, ValueError):
    """A picture, box, keypoint array or setting that cannot be used."""


class CheckpointError(SDPoseError):
    """A weights file that is missing, damaged or of another kind."""


class MissingDependency(SDPoseError, ImportError):
    """An optional package is missing; the message names the extra to install."""


class DownloadError(SDPoseError):
    """A download was refused or failed, or its bytes do not match the hub's checksum."""
