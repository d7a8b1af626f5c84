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
