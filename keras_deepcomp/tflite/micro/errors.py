"""What can go wrong on the way to TensorFlow Lite Micro."""

from __future__ import annotations


class MicroError(ValueError):
    """A model cannot be compressed for TensorFlow Lite Micro."""


class UnsupportedModelError(MicroError):
    """TensorFlow Lite Micro cannot run the model, compressed or not.

    Attributes:
        operator: The operator that it does not take, in the words of the schema (`CONV_3D`), or a
            custom operator's own name; None where it does not say.
    """

    def __init__(self, message: str, operator: str | None = None) -> None:
        super().__init__(message)
        self.operator = operator


class OutputsDifferError(MicroError):
    """The compressed model does not compute what the model does, bit for bit; it was not kept."""
