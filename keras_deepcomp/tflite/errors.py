"""What goes wrong between a Keras model and a TensorFlow Lite file."""


class ConversionError(ValueError):
    """A model that TensorFlow Lite cannot be given as asked; the message says what to do."""
