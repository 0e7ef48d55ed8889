"""Errors that a user can cause. Each message is one line: what is wrong, where, what to do. Exit code 2."""

from __future__ import annotations


class UserError(ValueError):
    """Something that the user gave cannot be used; `str(error)` is always a single line."""

    def __init__(self, message: object) -> None:
        super().__init__(" ".join(str(message).split()))


class ModelError(UserError):
    """A model (checkpoint, weights, configuration file, tokenizer) that is damaged, incomplete or not supported."""


class CalibrationError(UserError):
    """A calibration or evaluation text that cannot be used, or a model that does not fit the fixed-point formats."""


class CapacityError(UserError):
    """A model that exceeds a limit of the machine: names the limit, the excess and the parameter to raise."""


class ImageError(UserError):
    """A compiled image that is damaged, or made for another configuration or program version."""


class ToolError(UserError):
    """A tool or a place on this computer that is missing or cannot be used (compiler, output folder)."""


class PromptError(UserError):
    """A prompt or a token count that the model cannot take."""
