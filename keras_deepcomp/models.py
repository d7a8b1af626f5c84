"""The paper's networks, in its own layer sizes."""

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
