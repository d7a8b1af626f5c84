"""Several devices: each test in processes of its own, which have them from the start."""

import json
import os
import re
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import pytest
from support import run_python

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "distributed.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.S)
EXAMPLE = ROOT / "examples" / "distributed.py"
TENSORFLOW = {"KERAS_BACKEND": "tensorflow"}
TWO_DEVICES = {
    "KERAS_BACKEND": "jax",
    "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
}

COMMON = """
    import contextlib, hashlib, sys
    import keras
    import numpy as np
    import keras_deepcomp as kdc
    from keras_deepcomp.devices import to_numpy
    from keras_deepcomp.wrappers.substitution import find_wrappers

    def data(samples=64):
        rng = np.random.default_rng(0)
        x = rng.standard_normal((samples, 20), np.float32)
        return x, np.tanh(x[:, :10])

    def make():
        keras.utils.set_random_seed(0)
        layers = keras.layers
        return keras.Sequential(
            [layers.Input((20,)), layers.Dense(32, "relu", name="d0"), layers.Dense(10, name="d1")],
            name="net",
        )

    def compiled(model):
        model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse")
        return model

    def fit(model, callback, epochs, batch_size=16, take=slice(None)):
        x, y = data()
        model.fit(x[take], y[take], batch_size=batch_size, epochs=epochs, shuffle=False, verbose=0,
                  callbacks=[callback])

    SCHEDULE = kdc.schedules.Polynomial(0.8, begin=0, end=10, frequency=2)

    def pipeline(path, training, conversion, **arguments):
        # Prune, share, strip, save, load; what a person does in a scope is in `training`.
        with training():
            model = make()
        with conversion():
            pruned = kdc.prune_low_magnitude(model, SCHEDULE, scope="global")
        with training():
            fit(compiled(pruned), kdc.UpdatePruningStep(), 4, **arguments)
        masks = [w.mask("kernel") for w in find_wrappers(pruned)]
        with conversion():
            shared = kdc.cluster_weights(pruned, 6)
        with training():
            fit(compiled(shared), kdc.UpdateCentroids(reassign=True), 2, **arguments)
        with conversion():
            plain = kdc.strip(shared)
            kdc.save_model(shared, path)
        with training():
            again = kdc.load_model(path)
        values = [to_numpy(v) for v in plain.variables]
        for variable, value in zip(again.variables, values, strict=True):
            np.testing.assert_array_equal(to_numpy(variable), value)
        for value, mask in zip(values[::2], masks, strict=True):
            assert np.all(value[~mask] == 0) and np.unique(value).size <= 7
        assert 0.79 < 1 - sum(m.sum() for m in masks) / sum(m.size for m in masks) < 0.81
        return pruned, shared, plain, values, masks

    def digest(model):
        return hashlib.sha256(b"".join(to_numpy(v).tobytes() for v in model.variables)).hexdigest()
"""


def run(code, *arguments, **environment):
    """The last line that the code prints, after what is common to all."""
    program = textwrap.dedent(COMMON) + textwrap.dedent(code)
    return run_python(program, *arguments, **environment).splitlines()[-1]


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("localhost", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def run_in_two(code, *arguments, environments):
    """The same code in two processes that know of each other; the last line of each."""
    program = textwrap.dedent(COMMON) + textwrap.dedent(code)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(rank), *map(str, arguments)],
            env={**os.environ, **environment}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for rank, environment in enumerate(environments)
    ]  # fmt: skip
    printed = [process.communicate()[0] for process in processes]
    for process in processes:
        assert process.returncode == 0, "\n".join(printed)
    return [text.splitlines()[-1] for text in printed]


MIRRORED = """
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    path = sys.argv[1] + "/m.kdc"
    *_, expected, expected_masks = pipeline(path, contextlib.nullcontext, contextlib.nullcontext)

    for conversion in (strategy.scope, contextlib.nullcontext):
        pruned, shared, plain, values, masks = pipeline(path, strategy.scope, conversion)
        for model in (pruned, shared, plain):
            assert model.distribute_strategy is strategy
            for variable in model.variables:
                both = strategy.experimental_local_results(variable.value)
                assert len(both) == 2
                np.testing.assert_array_equal(both[0].numpy(), both[1].numpy())
        for mask, other in zip(masks, expected_masks, strict=True):
            np.testing.assert_array_equal(mask, other)
        for value, other in zip(values, expected, strict=True):
            np.testing.assert_allclose(value, other, rtol=0, atol=1e-4)
        pruned.save(sys.argv[1] + "/m.keras")
        with strategy.scope():
            again = keras.models.load_model(sys.argv[1] + "/m.keras")
        assert digest(kdc.strip(again)) == digest(kdc.strip(pruned))

    # A model that was made outside is mirrored when it is converted inside.
    with strategy.scope():
        inside = compiled(kdc.prune_low_magnitude(make(), SCHEDULE))
    fit(inside, kdc.UpdatePruningStep(), 4)

    # What layers keep for themselves is as in a plain model: Keras gives each replica its own
    # batch statistics, and all else is the same on both.
    with strategy.scope():
        layers = keras.layers
        kept = keras.Sequential([layers.Input((20,)), layers.Dense(16), layers.BatchNormalization(),
                                 layers.Dropout(0.2), layers.Dense(10)])
        kept = compiled(kdc.prune_low_magnitude(kept, SCHEDULE))
    fit(kept, kdc.UpdatePruningStep(), 4)
    for variable in kept.variables:
        both = [part.numpy() for part in strategy.experimental_local_results(variable.value)]
        assert np.array_equal(both[0], both[-1]) == ("/moving_" not in variable.path), variable.path
    print("done")
"""


def test_mirrored_strategy_does_what_one_device_does(tmp_path):
    assert run(MIRRORED, tmp_path, **TENSORFLOW) == "done"


SEVERAL_WORKERS = """
    import tensorflow as tf
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        model = make()
    pruned = kdc.prune_low_magnitude(model, SCHEDULE)
    with strategy.scope():
        compiled(pruned)
    texts = []
    for refused in (lambda: fit(pruned, kdc.UpdatePruningStep(), 1),
                    kdc.UpdatePruningStep().on_train_begin,
                    lambda: kdc.cluster_weights(pruned, 4)):
        callback = getattr(refused, "__self__", None)
        if callback is not None:
            callback.set_model(pruned)
        try:
            refused()
        except RuntimeError as error:
            texts.append(str(error))
    fitting, callback, sharing = texts
    assert fitting == callback
    for text in texts:
        assert "is under a MultiWorkerMirroredStrategy over several workers, where" in text, text
        assert "JAX backend with keras.distribution.initialize()" in text, text
    assert "fit of Keras 3 does not run" in fitting and "issues/20585" in fitting
    assert "TensorFlow sends no uint8" in sharing

    # A loop of one's own runs.
    dataset = tf.data.Dataset.from_tensor_slices(data()).batch(16)
    for wrapper in find_wrappers(pruned):
        wrapper.driven = True
        values = wrapper.pruned_value("kernel")
        wrapper.set_mask("kernel", abs(values) > np.median(abs(values)), 0.1)
    before = digest(pruned)

    @tf.function
    def step(batch):
        def one(batch):
            x, y = batch
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((pruned(x, training=True) - y) ** 2) / 2
            variables = pruned.trainable_variables
            pruned.optimizer.apply(tape.gradient(loss, variables), variables)
        strategy.run(one, args=(batch,))

    with strategy.scope():
        pruned.optimizer.build(pruned.trainable_variables)
    for batch in strategy.experimental_distribute_dataset(dataset):
        step(batch)
    assert digest(pruned) != before
    assert (kdc.strip(pruned).get_weights()[0] == 0).mean() == 0.5
    print(digest(kdc.strip(pruned)))
"""


def test_several_tensorflow_workers_are_refused_at_once():
    workers = [f"localhost:{port}" for port in free_ports(2)]
    environments = [
        {
            **TENSORFLOW,
            "TF_CONFIG": json.dumps(
                {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
            ),
        }
        for index in range(2)
    ]
    first, second = run_in_two(SEVERAL_WORKERS, environments=environments)
    assert first == second


def test_a_single_tensorflow_worker_trains(tmp_path):
    cluster = {"cluster": {"worker": ["localhost:1"]}, "task": {"type": "worker", "index": 0}}
    code = """
        import tensorflow as tf
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        pipeline(sys.argv[1] + "/m.kdc", strategy.scope, strategy.scope)
        print("done")
    """
    assert run(code, tmp_path, TF_CONFIG=json.dumps(cluster), **TENSORFLOW) == "done"


PARALLEL = """
    import jax
    d = keras.distribution
    rank, kind, folder, address = int(sys.argv[1]), *sys.argv[2:5]
    if address != "none":
        d.initialize(address, 2, rank)
    several = jax.process_count() == 2
    assert len(d.list_devices()) == 2
    arguments = {}
    if kind == "data":
        distribution = d.DataParallel(auto_shard_dataset=False)
        if several:  # half of each batch
            take = (np.arange(64) // 8) % 2 == rank
            arguments = {"batch_size": 8, "take": take}
    else:
        mesh = d.DeviceMesh((1, 2), ("batch", "model"), d.list_devices())
        layouts = d.LayoutMap(mesh)
        # What we add to a weight has its name in it, and this layout does not fit all of it.
        layouts[".*/kernel.*"] = (None, "model")
        distribution = d.ModelParallel(layout_map=layouts, auto_shard_dataset=False)
    path = f"{folder}/{rank}.kdc"
    conversions = [distribution.scope] if several else [distribution.scope, contextlib.nullcontext]
    for conversion in conversions:
        pruned, shared, plain, values, masks = pipeline(
            path, distribution.scope, conversion, **arguments
        )
        spread = (None, "model") if kind == "model" else (None, None)
        for model in (pruned, shared, plain):
            for variable in model.variables:
                whole = variable.path.endswith(("kernel", "mask", "assignments"))
                expected = spread if whole else (None,) * len(variable.shape)
                assert tuple(variable.value.sharding.spec) == expected, variable.path
    if several and kind == "data" and rank == 0:  # alone
        kdc.save_model(shared, folder + "/alone.kdc")
    np.savez(f"{folder}/{rank}.npz", *values, *masks)
    print(digest(plain), digest(pruned), hashlib.sha256(open(path, "rb").read()).hexdigest())
"""


@pytest.mark.parametrize("kind", ["data", "model"])
def test_keras_distribution_on_jax(tmp_path, kind):
    """One process with two devices, two processes, and one device: the same model."""
    folders = {name: tmp_path / name for name in ("one", "two")}
    for folder in folders.values():
        folder.mkdir()
    run(PARALLEL, 0, kind, folders["one"], "none", **TWO_DEVICES)
    address = f"localhost:{free_ports(1)[0]}"
    first, second = run_in_two(
        PARALLEL, kind, folders["two"], address, environments=[{"KERAS_BACKEND": "jax"}] * 2
    )
    assert first == second
    if kind == "data":
        saved = [(folders["two"] / name).read_bytes() for name in ("0.kdc", "alone.kdc")]
        assert saved[0] == saved[1]
    alone = """
        *_, values, masks = pipeline(sys.argv[1] + "/m.kdc", contextlib.nullcontext,
                                     contextlib.nullcontext)
        for folder in sys.argv[2:]:
            others = list(np.load(folder + "/0.npz").values())
            for one, other in zip([*values, *masks], others, strict=True):
                if one.dtype == bool:
                    np.testing.assert_array_equal(one, other)
                else:
                    np.testing.assert_allclose(one, other, rtol=0, atol=1e-4)
        print("done")
    """
    assert run(alone, tmp_path, *folders.values(), KERAS_BACKEND="jax") == "done"


def test_the_example_and_the_page_are_one():
    assert EXAMPLE.read_text() in BLOCKS


def test_the_example_runs():
    done = subprocess.run([sys.executable, EXAMPLE], capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stdout.endswith("The same model in all processes.\n")


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_the_blocks_of_the_page_run(backend, tmp_path, monkeypatch):
    (block,) = [
        block for block in BLOCKS
        if "subprocess" not in block and ("tensorflow" in block) == (backend == "tensorflow")
    ]  # fmt: skip
    monkeypatch.chdir(tmp_path)
    run_python(block, KERAS_BACKEND=backend)
    assert (tmp_path / "model.kdc").stat().st_size > 0


def test_values_do_not_change_with_the_variable():
    from keras_deepcomp.devices import to_numpy

    variable = keras.Variable([1.0, 2.0])
    before = to_numpy(variable)
    variable.assign([3.0, 4.0])
    assert before.tolist() == [1.0, 2.0]
