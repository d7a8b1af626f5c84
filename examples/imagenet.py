"""Deep Compression of AlexNet or VGG-16 on ImageNet: from a folder of pictures to a `.kdc` file.

    python examples/imagenet.py --data imagenet --network vgg16 --weights imagenet --out vgg16

`--data` has `train/` and `validation/`, each either with a folder for each class or with TFRecords
(`train-00000-of-01024` and so on, of `image/encoded` and `image/class/label` from 1 on). One
picture in fifty of `train/` is kept apart and watched during training; `validation/` is read once,
at the end.

Each stage leaves a file in `--out`: `trained.keras`, `pruned.keras`, `shared.keras`, `model.kdc`,
`model.html` and `result.json`. Started again, the script goes on after the last one, and within a
stage after the last epoch. The backend is Keras': `KERAS_BACKEND=jax` for several machines, each of
which runs this with `--address`, `--processes` and `--process`.

See docs/imagenet.md.
"""

import argparse
import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from imagenet_pictures import Pictures

import keras_deepcomp as kdc


@dataclass(frozen=True)
class Network:
    """A network and the paper's settings for it.

    Attributes:
        make: Builds it for a number of classes; its outputs are logits.
        size: Height and width of its pictures.
        kept: Layer name -> the share of weights that the paper keeps (tables 4 and 5).
        dense: The layers that get 32 shared values; the others get 256.
    """

    make: Callable[[int], keras.Model]
    size: int
    kept: dict[str, float]
    dense: tuple[str, ...]

    def schedules(self) -> dict[str, kdc.schedules.Schedule]:
        """Each layer's sparsity rises to the paper's over the first 70 % of the training."""
        return {name: kdc.schedules.Polynomial(1.0 - kept) for name, kept in self.kept.items()}

    def clusters(self) -> dict[str, int]:
        """8 bits for convolutions, 5 for dense layers."""
        return {name: 32 if name in self.dense else 256 for name in self.kept}


def vgg16(classes: int) -> keras.Model:
    """Keras' own, with logits: the loss is then computed in float32 under mixed precision."""
    return keras.applications.VGG16(weights=None, classes=classes, classifier_activation=None)


def tiny(classes: int) -> keras.Model:
    """To try the script with."""
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((32, 32, 3)),
            layers.Conv2D(8, 3, strides=2, activation="relu", name="conv1"),
            layers.Conv2D(16, 3, strides=2, activation="relu", name="conv2"),
            layers.Flatten(),
            layers.Dense(32, activation="relu", name="fc1"),
            layers.Dense(classes, name="fc2"),
        ],
        name="tiny",
    )


NETWORKS = {
    "alexnet": Network(
        kdc.models.alexnet,
        227,
        {
            "conv1": 0.84, "conv2": 0.38, "conv3": 0.35, "conv4": 0.37, "conv5": 0.37,
            "fc6": 0.09, "fc7": 0.09, "fc8": 0.25,
        },
        ("fc6", "fc7", "fc8"),
    ),
    "vgg16": Network(
        vgg16,
        224,
        {
            "block1_conv1": 0.58, "block1_conv2": 0.22, "block2_conv1": 0.34, "block2_conv2": 0.36,
            "block3_conv1": 0.53, "block3_conv2": 0.24, "block3_conv3": 0.42, "block4_conv1": 0.32,
            "block4_conv2": 0.27, "block4_conv3": 0.34, "block5_conv1": 0.35, "block5_conv2": 0.29,
            "block5_conv3": 0.36, "fc1": 0.04, "fc2": 0.04, "predictions": 0.23,
        },
        ("fc1", "fc2", "predictions"),
    ),
    "tiny": Network(
        tiny, 32, {"conv1": 0.6, "conv2": 0.4, "fc1": 0.1, "fc2": 0.3}, ("fc1", "fc2")
    ),
}  # fmt: skip


class Recipe:
    """The three stages, each of which goes on where it was interrupted.

    Args:
        arguments: The command line.
        callbacks: More of Keras' callbacks, for each training.
    """

    def __init__(
        self, arguments: argparse.Namespace, callbacks: Sequence[keras.callbacks.Callback] = ()
    ) -> None:
        self.settings, self.callbacks = arguments, list(callbacks)
        self.network = NETWORKS[arguments.network]
        self.scope = devices(arguments)
        # Each process has the same model, and its own files.
        own = f"process-{arguments.process}" if arguments.process else "."
        self.out: Path = arguments.out / own
        self.pictures = Pictures(
            arguments.data, self.network.size, arguments.batch, arguments.processes,
            arguments.process,
        )  # fmt: skip
        self.steps = arguments.steps or self.pictures.steps()

    def run(self) -> dict[str, Any]:
        """Does what is still to be done; returns the result, which is also in `result.json`."""
        self.out.mkdir(parents=True, exist_ok=True)
        path, epochs, rate = self.out / "model.kdc", self.settings.epochs, self.settings.rate
        with self.scope():
            self.stage("trained", self.start, epochs[0], self.sgd(rate, epochs[0]))
            # The paper retrains at a tenth to a hundredth of the original learning rate.
            self.stage("pruned", self.prune, epochs[1], self.sgd(rate / 10, epochs[1]),
                       [kdc.UpdatePruningStep()])  # fmt: skip
            # A centroid's gradient is the sum of those of all its weights: Adam does not mind.
            self.stage("shared", self.share, epochs[2], keras.optimizers.Adam(rate / 1000),
                       [kdc.UpdateCentroids()])  # fmt: skip
            kdc.save_model(self.load("shared"), path, verbose=True)
            errors = {"trained": self.error(self.load("trained")),
                      "decoded": self.error(kdc.load_model(path))}  # fmt: skip
        summary = kdc.summary(path)
        result = {"test_error_percent": errors, "bytes": summary.file_bytes, "ratio": summary.ratio}
        (self.out / "result.json").write_text(json.dumps(result, indent=1) + "\n")
        summary.print()
        print(json.dumps(result))
        with contextlib.suppress(ImportError):  # its pictures are made by matplotlib
            kdc.report(path, metric=("top-1 error, %", *errors.values()))
        return result

    def stage(
        self,
        name: str,
        make: Callable[[], keras.Model],
        epochs: int,
        optimizer: keras.optimizers.Optimizer,
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ) -> None:
        """Trains a model and saves it, unless that was done before."""
        path = self.out / f"{name}.keras"
        if path.exists():
            return
        model = make()
        self.compile(model, optimizer)
        backup = keras.callbacks.BackupAndRestore(
            self.out / f"{name}-backup",
            save_freq=self.settings.backup_steps or "epoch",
            double_checkpoint=True,
        )
        log = keras.callbacks.CSVLogger(self.out / f"{name}.csv", append=True)
        model.fit(
            self.pictures.training(),
            epochs=epochs,
            steps_per_epoch=self.steps,
            validation_data=self.pictures.held_out(),
            callbacks=[backup, *callbacks, keras.callbacks.TerminateOnNaN(), log, *self.callbacks],
        )
        if model.stop_training:
            raise SystemExit(f"The loss of '{name}' became NaN: start again with a lower --rate.")
        # Only a whole file has the name that says that the stage is done.
        unfinished = path.with_name(f"{name}-unfinished.keras")
        model.save(unfinished)
        unfinished.rename(path)

    def start(self) -> keras.Model:
        """The network with the weights to start from, or with random ones."""
        weights = self.settings.weights
        if weights == "imagenet":
            return keras.applications.VGG16(classifier_activation=None)
        model = self.network.make(self.settings.classes or len(self.pictures.classes) or 1000)
        if weights:
            model.load_weights(weights)
        return model

    def prune(self) -> keras.Model:
        """Stage 1, on the trained network."""
        return kdc.prune_low_magnitude(self.load("trained"), self.network.schedules())

    def share(self) -> keras.Model:
        """Stage 2, on the pruned one."""
        return kdc.cluster_weights(self.load("pruned"), self.network.clusters())

    def load(self, name: str) -> keras.Model:
        """What a stage has saved."""
        return keras.models.load_model(self.out / f"{name}.keras")

    def sgd(self, rate: float, epochs: int) -> keras.optimizers.Optimizer:
        """The optimizer of the networks' own papers, with a rate that falls along a cosine."""
        falling = keras.optimizers.schedules.CosineDecay(rate, max(1, self.steps * epochs))
        return keras.optimizers.SGD(falling, momentum=0.9, weight_decay=5e-4)

    def compile(self, model: keras.Model, optimizer: Any = None) -> None:
        """With the loss and metric of all stages; what fills up a batch has no weight in them."""
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer or "sgd", loss, weighted_metrics=["accuracy"])

    def error(self, model: keras.Model) -> float:
        """Top-1 error in percent on `validation/`."""
        self.compile(model)
        accuracy = model.evaluate(self.pictures.test(), return_dict=True)["accuracy"]
        return 100.0 * (1.0 - float(accuracy))


def devices(arguments: argparse.Namespace) -> Callable[[], Any]:
    """Sets up all devices of this machine, or of several; returns what models are made in."""
    if keras.backend.backend() == "jax":
        tf.config.set_visible_devices([], "GPU")  # TensorFlow only reads the pictures
        if arguments.processes > 1:
            keras.distribution.initialize(arguments.address, arguments.processes, arguments.process)
        if len(keras.distribution.list_devices()) > 1:
            parallel = keras.distribution.DataParallel(auto_shard_dataset=False)
            keras.distribution.set_distribution(parallel)
        return contextlib.nullcontext
    if arguments.processes > 1:
        raise SystemExit("Several machines need KERAS_BACKEND=jax: see docs/distributed.md.")
    if arguments.logical_devices > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        parts = [tf.config.LogicalDeviceConfiguration()] * arguments.logical_devices
        tf.config.set_logical_device_configuration(cpu, parts)
        names = [f"CPU:{number}" for number in range(arguments.logical_devices)]
        return tf.distribute.MirroredStrategy(names).scope
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy().scope
    return contextlib.nullcontext


def main(
    arguments: Sequence[str] | None = None, callbacks: Sequence[keras.callbacks.Callback] = ()
) -> dict[str, Any]:
    """Reads the command line and does the rest."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--network", choices=list(NETWORKS), default="vgg16")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--classes", type=int, help="as many as folders, or 1000 of records")
    parser.add_argument("--weights", help="a .weights.h5 file, or 'imagenet' for Keras' VGG-16")
    parser.add_argument("--epochs", type=int, nargs=3, default=(90, 20, 5),
                        help="of training, pruning and sharing")  # fmt: skip
    parser.add_argument("--batch", type=int, default=128, help="pictures, of this process")
    parser.add_argument("--rate", type=float, default=0.01, help="the first learning rate")
    parser.add_argument("--steps", type=int, help="batches in an epoch, if not all of them")
    parser.add_argument("--backup-steps", type=int, help="batches between two backups")
    parser.add_argument("--precision", default="float32",
                        choices=("float32", "mixed_float16", "mixed_bfloat16"))  # fmt: skip
    parser.add_argument("--logical-devices", type=int, default=1,
                        help="divides the CPU, to try several devices on TensorFlow")  # fmt: skip
    parser.add_argument("--address", help="host:port of process 0")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--process", type=int, default=0)
    settings = parser.parse_args(arguments)
    if settings.weights == "imagenet" and settings.network != "vgg16":
        parser.error("--weights imagenet are those of vgg16")
    keras.utils.set_random_seed(0)  # all processes draw the same first weights
    keras.config.set_dtype_policy(settings.precision)
    return Recipe(settings, callbacks).run()


if __name__ == "__main__":
    main()
