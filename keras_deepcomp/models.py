"""The paper's networks, in its own layer sizes. VGG-16 is `keras.applications.VGG16`."""

from typing import Any

import keras


def lenet_300_100(name: str = "lenet_300_100") -> keras.Sequential:
    """LeNet-300-100 (LeCun et al. 1998; paper section 5.1): 784-300-100-10, 266,610 parameters.

    Args:
        name: The model's name.

    Returns:
        A built model from float32 vectors of shape (784,) to 10 logits.
    """
    return keras.Sequential(
        [
            keras.layers.Input((784,)),
            keras.layers.Dense(300, activation="relu", name="ip1"),
            keras.layers.Dense(100, activation="relu", name="ip2"),
            keras.layers.Dense(10, name="ip3"),
        ],
        name=name,
    )


def lenet_5(name: str = "lenet_5") -> keras.Sequential:
    """LeNet-5 as in Caffe's examples, which the paper compresses (section 5.1): 431,080 parameters.

    Args:
        name: The model's name.

    Returns:
        A built model from float32 images of shape (28, 28, 1) to 10 logits.
    """
    return keras.Sequential(
        [
            keras.layers.Input((28, 28, 1)),
            keras.layers.Conv2D(20, 5, name="conv1"),
            keras.layers.MaxPooling2D(name="pool1"),
            keras.layers.Conv2D(50, 5, name="conv2"),
            keras.layers.MaxPooling2D(name="pool2"),
            keras.layers.Flatten(name="flatten"),
            keras.layers.Dense(500, activation="relu", name="ip1"),
            keras.layers.Dense(10, name="ip2"),
        ],
        name=name,
    )


@keras.saving.register_keras_serializable("keras_deepcomp")
class LocalResponseNormalization(keras.layers.Layer):
    """AlexNet's normalization over neighbouring channels (Krizhevsky et al. 2012, section 3.3).

    Each element of (..., channels) is divided by `(1 + alpha / size * sum) ** beta`, where the sum
    is of the squares in the `size` channels around it, as in Caffe. It has no weights.

    Args:
        size: How many channels, an odd number.
        alpha: The weight of their mean square.
        beta: The exponent.
        **kwargs: For `keras.layers.Layer`.

    Raises:
        ValueError: An even size, or one below 1.
    """

    def __init__(
        self, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if size < 1 or size % 2 == 0:
            raise ValueError(f"size is an odd number of channels around each; got {size!r}.")
        self.size = size
        self.alpha = alpha
        self.beta = beta

    def call(self, inputs: Any) -> Any:
        """Normalizes."""
        ops, channels, around = keras.ops, inputs.shape[-1], self.size // 2
        borders = [(0, 0)] * (len(inputs.shape) - 1) + [(around, around)]
        squares = ops.pad(ops.square(inputs), borders)
        sums = sum(squares[..., first : first + channels] for first in range(self.size))
        return inputs * ops.power(1.0 + self.alpha / self.size * sums, -self.beta)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments, as plain data."""
        return {
            **super().get_config(),
            "size": self.size,
            "alpha": self.alpha,
            "beta": self.beta,
        }


def alexnet(classes: int = 1000, name: str = "alexnet") -> keras.Sequential:
    """AlexNet as in Caffe's model zoo, which the paper compresses (section 5.2).

    It has 60,965,224 parameters. The kernels of conv2, conv4 and conv5 are in two
    groups (Krizhevsky et al. 2012).

    Args:
        classes: How many classes there are; the parameters above are those of ImageNet's 1000.
        name: The model's name.

    Returns:
        A built model from float32 images of shape (227, 227, 3), with the mean taken off, to
        `classes` logits.
    """
    layers = keras.layers

    def conv(number: int, filters: int, size: int, groups: int = 1, **arguments: Any) -> Any:
        arguments = {"padding": "same", **arguments}
        return layers.Conv2D(
            filters, size, groups=groups, activation="relu", name=f"conv{number}", **arguments
        )

    def pool(number: int) -> Any:
        return layers.MaxPooling2D(3, strides=2, name=f"pool{number}")

    return keras.Sequential(
        [
            layers.Input((227, 227, 3)),
            conv(1, 96, 11, strides=4, padding="valid"),
            LocalResponseNormalization(name="norm1"),
            pool(1),
            conv(2, 256, 5, groups=2),
            LocalResponseNormalization(name="norm2"),
            pool(2),
            conv(3, 384, 3),
            conv(4, 384, 3, groups=2),
            conv(5, 256, 3, groups=2),
            pool(5),
            layers.Flatten(name="flatten"),
            layers.Dense(4096, activation="relu", name="fc6"),
            layers.Dropout(0.5, name="drop6"),
            layers.Dense(4096, activation="relu", name="fc7"),
            layers.Dropout(0.5, name="drop7"),
            layers.Dense(classes, name="fc8"),
        ],
        name=name,
    )
