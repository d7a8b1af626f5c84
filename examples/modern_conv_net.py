"""A convolutional network of today's kind through `kdc.compress`, with its trade-off curve.

Depthwise-separable convolutions, residual connections and batch normalization, on MNIST. Writes the
best file, all that was measured as JSON, and the curve as SVG and PNG.

    python examples/modern_conv_net.py --data data/mnist.npz --out modern

Needs matplotlib (`pip install keras_deepcomp[plot]`) for the curve.
"""

import argparse
import json
import shutil
from pathlib import Path

import keras
import numpy as np

import keras_deepcomp as kdc

VALIDATION = 10_000


def load(path, training):
    """Pictures as float32 of shape (28, 28, 1): training, validation and test."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file}
    x = {part: arrays[f"x_{part}"][..., np.newaxis] / np.float32(255) for part in ("train", "test")}
    y = {part: arrays[f"y_{part}"].astype("int32") for part in ("train", "test")}
    held = slice(len(x["train"]) - VALIDATION, None)
    used = slice(0, min(training, held.start))
    return (
        (x["train"][used], y["train"][used]),
        (x["train"][held], y["train"][held]),
        (x["test"], y["test"]),
    )


def network():
    """Depthwise-separable residual blocks, as in Xception and MobileNet, for 28 x 28 pictures."""
    layers = keras.layers

    def normalized(x):
        return layers.Activation("relu")(layers.BatchNormalization()(x))

    inputs = keras.Input((28, 28, 1))
    x = normalized(layers.Conv2D(24, 3, 2, "same", use_bias=False)(inputs))
    for width, stride in ((24, 1), (48, 2), (48, 1), (96, 2), (96, 1)):
        shortcut = x
        if stride > 1:
            shortcut = layers.Conv2D(width, 1, stride, use_bias=False)(x)
            shortcut = layers.BatchNormalization()(shortcut)
        x = normalized(layers.DepthwiseConv2D(3, stride, "same", use_bias=False)(x))
        x = layers.BatchNormalization()(layers.Conv2D(width, 1, use_bias=False)(x))
        x = layers.Activation("relu")(layers.Add()([x, shortcut]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x), name="modern_conv_net")


def error_percent(model, data):
    """Share of wrong answers, in percent."""
    return round(100 * (1 - model.evaluate(*data, verbose=0, return_dict=True)["accuracy"]), 2)


def draw(result, folder):
    """The files that were measured, and the line of those that no other one beats."""
    import matplotlib.pyplot as plt

    plt.rcParams["svg.hashsalt"] = "keras_deepcomp"
    figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")

    def errors(points):
        return [100 * (1 - point.metrics["accuracy"]) for point in points]

    compressed = result.points[1:]
    axes.scatter(
        [p.bytes for p in compressed], errors(compressed), s=14, color="0.6", label="measured"
    )
    line = [point for point in result.frontier() if point.clusters]
    axes.plot([p.bytes for p in line], errors(line), marker="o", ms=4, label="not beaten")
    axes.axhline(100 * (1 - result.metric_before), ls=":", color="k", label="before compression")
    axes.scatter([result.bytes], [100 * (1 - result.metric_after)], s=90, facecolors="none",
                 edgecolors="C3", label=f"chosen: {result.ratio:.1f}x")  # fmt: skip
    axes.set(xscale="log", xlabel="bytes of the whole file", ylabel="validation error in %")
    axes.set_title(f"A separable residual network, {4 * count(result):,} bytes as float32")
    axes.margins(0.1)
    axes.legend(loc="upper center")
    for kind in ("svg", "png"):
        metadata = {"Date": None} if kind == "svg" else {}
        figure.savefig(folder / f"modern-conv-net.{kind}", dpi=120, metadata=metadata)


def count(result):
    """All numbers in the model."""
    return sum(int(np.prod(variable.shape)) for variable in result.model.variables)


def main():
    """Trains, compresses, evaluates on the test pictures once, and writes all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="data/mnist.npz", help="MNIST as .npz")
    parser.add_argument("--out", type=Path, default=Path("modern"), help="folder for the results")
    parser.add_argument("--drop", type=float, default=0.002, help="accuracy that may be lost")
    parser.add_argument("--training", type=int, default=50_000, help="pictures to train on")
    parser.add_argument("--epochs", type=int, default=12, help="of the first training")
    parser.add_argument("--minutes", type=float, help="end the search after so many minutes")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    train, validation, test = load(arguments.data, arguments.training)
    kept = arguments.out / "trained.keras"
    if kept.exists():
        model = keras.models.load_model(kept)
    else:
        keras.utils.set_random_seed(0)
        model = network()
        steps = arguments.epochs * -(-len(train[0]) // 128)
        rate = keras.optimizers.schedules.CosineDecay(2e-3, steps, alpha=0.02)
        optimizer = keras.optimizers.Adam(rate)
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(*train, batch_size=128, epochs=arguments.epochs, verbose=2)
        model.save(kept)
    result = kdc.compress(model, train, validation, max_metric_drop=arguments.drop,
                          budget_minutes=arguments.minutes,
                          directory=arguments.out / "search")  # fmt: skip
    shutil.copyfile(result.path, arguments.out / "modern-conv-net.kdc")
    draw(result, arguments.out)
    report = {
        **result.as_dict(),
        "file": "modern-conv-net.kdc",
        "training_pictures": len(train[0]),
        "test_error_percent": {
            "before": error_percent(model, test),
            "after": error_percent(result.model, test),
        },
    }
    text = json.dumps(report, indent=1) + "\n"
    (arguments.out / "modern-conv-net.json").write_text(text)
    print("test error in %:", report["test_error_percent"])


if __name__ == "__main__":
    main()
