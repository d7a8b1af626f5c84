"""Looking up shared weights in their codebook, with a gradient that costs little.

The derivative of `take(codebook, assignments)` is the sum of the gradients of each entry's members
(Deep Compression, equation 3), and every backend finds it by itself. TensorFlow, where it does not
compile with XLA, does so by an operation made for long rows, which takes ten milliseconds for the
400,000 single numbers of LeNet-5's largest layer on a CPU: a weighted histogram of them is the same
sum in two.

The histogram is one of rows, whose results are added: over a single row TensorFlow's threads would
share the work in another way each time, and so round in another way. On a GPU the histogram is not
so careful; TensorFlow's own derivative is taken there.
"""

from __future__ import annotations

from typing import Any

import keras

_MOST_ROWS = 32


def look_up(codebook: Any, assignments: Any) -> Any:
    """`take(codebook, assignments)`: its gradient sums over the members of each entry.

    Args:
        codebook: A float tensor, 1-D.
        assignments: An integer tensor of any shape that is known.

    Returns:
        A tensor of the codebook's type and the assignments' shape.
    """
    assignments = keras.ops.cast(assignments, "int32")
    if keras.backend.backend() == "tensorflow" and _on_cpu_only():
        return _look_up_with_histogram(codebook, assignments)
    return keras.ops.take(codebook, assignments)


def _on_cpu_only() -> bool:
    import tensorflow as tf

    return not tf.config.list_physical_devices("GPU")


def _look_up_with_histogram(codebook: Any, assignments: Any) -> Any:
    import tensorflow as tf

    @tf.custom_gradient
    def taken(entries: Any) -> tuple[Any, Any]:
        size = int(entries.shape[0])

        def gradient(up: Any) -> Any:
            # Of an embedding's table it comes as the rows that were looked up.
            return _sum_members(tf.convert_to_tensor(up), assignments, size)

        return tf.gather(entries, assignments), gradient

    return taken(codebook)


def _sum_members(values: Any, assignments: Any, size: int) -> Any:
    """The sum of the values assigned to each entry; has a gradient itself, for second ones."""
    import tensorflow as tf

    # The histogram knows only these two types; a sum of 16-bit numbers is better off in float32.
    wide = tf.float64 if values.dtype == tf.float64 else tf.float32
    count = int(assignments.shape.num_elements())
    rows = next(rows for rows in range(_MOST_ROWS, 0, -1) if count % rows == 0)

    @tf.custom_gradient
    def summed(values: Any) -> tuple[Any, Any]:
        histogram = tf.raw_ops.DenseBincount(
            input=tf.reshape(assignments, (rows, -1)),
            size=size,
            weights=tf.reshape(tf.cast(values, wide), (rows, -1)),
            binary_output=False,
        )
        sums = tf.cast(tf.reduce_sum(histogram, axis=0), values.dtype)
        return sums, lambda up: _look_up_with_histogram(up, assignments)

    return summed(values)
