"""Models whose variables lie on several devices, or in several processes.

TensorFlow mirrors the variables that are made inside a strategy's scope, and its training takes no
others. JAX gives each variable a layout over a mesh of devices, and a computation takes variables
of one mesh only. So what we make beside a model's own variables (copies, masks, codebooks) has to
lie where those lie: `devices_of` and `laid_out_as` see to it. What is decided about weights, as
masks are, is decided in numpy: `to_numpy` brings the same values to each process.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import keras
import numpy as np
from keras.src.distribution.distribution_lib import Distribution

_ALIGNMENT = 64
_SMALL = 1 << 20
"""Up to so many bytes are copied as they come; more are handed over, and not to be written to."""


def to_numpy(value: Any, copy: bool = True) -> np.ndarray:
    """The whole value of a variable or tensor, also where no process has all of it.

    Where the parts are in several processes (`keras.distribution.ModelParallel` over machines) they
    are gathered, so that all processes have to call this alike.

    Args:
        value: A Keras variable or a tensor.
        copy: Whether the array must be a copy. Without, it may share the memory of the value, and
            change with it; and it may be read-only.

    Returns:
        An array, of the type that the variable was declared with: torch holds uint16 and uint32 in
        wider ones.
    """
    array = _as_it_is(value)
    if array is None:
        array = keras.ops.convert_to_numpy(_gathered(value))
    array = _aligned(array, fresh=True) if copy else np.asarray(array)
    if isinstance(value, keras.Variable) and keras.backend.is_int_dtype(value.dtype):
        return array.astype(value.dtype, copy=False)
    return array


def sync(model: keras.Model) -> None:
    """Brings the variables up to date under JAX, whose trainer keeps its own copy during `fit`.

    It also tells the trainer to read them again before the next batch.
    """
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()


def _as_it_is(value: Any) -> np.ndarray | None:
    """The memory of a TensorFlow or JAX value as an array; None where it cannot be had.

    TensorFlow copies a value on its way to numpy, and JAX copies it twice and keeps one of them,
    unless it goes by DLPack, which does not know all types and devices.
    """
    backend = keras.backend.backend()
    if backend not in ("tensorflow", "jax"):
        return None
    with suppress(AttributeError, BufferError, RuntimeError, TypeError, ValueError):
        if isinstance(value, keras.Variable):
            value = value.value.read_value() if backend == "tensorflow" else value.value
        return np.from_dlpack(value)
    return None


def give(variable: keras.Variable, value: np.ndarray) -> None:
    """Assigns an array that the caller gives away, without a copy where the backend allows it.

    Args:
        variable: A variable of the array's shape and type.
        value: An array that nobody writes to any more.
    """
    variable.assign(as_tensor(value))


def as_tensor(value: np.ndarray) -> Any:
    """A tensor with the memory of an array that the caller gives away, or with a copy."""
    # TensorFlow copies a numpy array twice on its way into a variable, unless it comes by DLPack,
    # and crashes on one that is not aligned.
    if keras.backend.backend() == "tensorflow" and value.nbytes > _SMALL:
        import tensorflow as tf

        with suppress(BufferError, TypeError, RuntimeError):
            return tf.experimental.dlpack.from_dlpack(_aligned(value).__dlpack__())
    # JAX makes two copies of a numpy array that it converts, and on a CPU none of one that it puts
    # where it is already. What is computed in place of it later goes to new memory.
    if keras.backend.backend() == "jax" and value.nbytes > _SMALL:
        import jax

        return jax.device_put(_aligned(value))
    return keras.ops.convert_to_tensor(value)


def _aligned(value: np.ndarray, fresh: bool = False) -> np.ndarray:
    """An array whose memory a backend takes over, the given one unless a fresh one is wanted."""
    is_so = value.ctypes.data % _ALIGNMENT == 0
    if not fresh and is_so and value.flags.c_contiguous and value.flags.writeable:
        return value
    if value.nbytes <= _SMALL:
        return np.array(value)
    copy = empty(value.shape, value.dtype)
    copy[...] = value
    return copy


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """As `numpy.empty`, for an array that is to be given to a variable: see `give`."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


def _gathered(value: Any) -> Any:
    if keras.backend.backend() != "jax":
        return value
    tensor = keras.ops.convert_to_tensor(value)
    if tensor.is_fully_addressable or tensor.is_fully_replicated:
        return tensor
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(tensor, tiled=True)


@contextmanager
def devices_of(model: keras.Model) -> Iterator[None]:
    """Puts what is built inside on the devices of a model.

    A strategy's scope or a distribution that is active already is the user's choice and stays.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if not tf.distribute.has_strategy():
            with model.distribute_strategy.scope():
                yield
            return
    mesh = next(filter(None, map(_mesh_of, model.variables)), None)
    if mesh is None or keras.distribution.distribution() is not None:
        yield
        return
    with _Beside(None, mesh).scope():
        yield


@contextmanager
def on_this_process() -> Iterator[None]:
    """Keeps what is built inside to this process, so that no other one has to take part.

    It is built in the memory of the host, where that is to be had: it may be too large for one
    accelerator.
    """
    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    if jax.process_count() == 1:
        yield
        return
    here = jax.local_devices()[0]
    with suppress(RuntimeError):  # JAX may have been told to leave the host's processor alone
        here = jax.local_devices(backend="cpu")[0]
    mesh = keras.distribution.DeviceMesh((1,), ("here",), [f"{here.platform}:{here.id}"])
    with _Beside(None, mesh).scope():
        yield


@contextmanager
def laid_out_as(weight: keras.Variable) -> Iterator[None]:
    """Lays variables that are made inside over the devices as a weight is.

    One of the weight's shape, such as a mask, has its layout; others are on all devices. They are
    not asked of the user's `LayoutMap`: a pattern such as ".*kernel.*" is about kernels, and does
    not fit the number that belongs to one.
    """
    active = keras.distribution.distribution()
    mesh = _mesh_of(weight) or (active and active.device_mesh)
    if mesh is None:
        yield
        return
    with _Beside(weight, mesh).scope():
        yield


def lay_out_as(variable: keras.Variable, weight: keras.Variable) -> None:
    """Gives a variable the layout of another from its next `assign` on.

    A copy of a layer has another path, so the user's `LayoutMap` may not know it.
    """
    mesh, active = _mesh_of(weight), keras.distribution.distribution()
    if mesh is not None and (active is None or active.device_mesh is mesh):
        variable._layout = weight._layout


def _mesh_of(variable: keras.Variable) -> Any:
    return getattr(getattr(variable, "_layout", None), "device_mesh", None)


def is_laid_out(layer: keras.Layer) -> bool:
    """Whether a distribution over a mesh of devices is active, or a layer's variables have one."""
    active = keras.distribution.distribution() is not None
    return active or any(_mesh_of(variable) is not None for variable in layer.variables)


class _Beside(Distribution):
    """Lays variables out as a weight that has their shape, or on all devices."""

    def __init__(self, weight: Any, mesh: Any) -> None:
        super().__init__(mesh, mesh.axis_names[0])
        self._weight = weight

    def get_variable_layout(self, variable: keras.Variable) -> Any:
        layout = getattr(self._weight, "_layout", None)
        if layout is not None and tuple(variable.shape) == tuple(self._weight.shape):
            return layout
        return keras.distribution.TensorLayout([None] * len(variable.shape), self.device_mesh)

    def get_tensor_layout(self, path: str) -> None:
        return None


NO_FIT = (
    "the fit of Keras 3 does not run, with pruning or without "
    "(https://github.com/keras-team/keras/issues/20585)"
)
NO_SHARING = (
    "TensorFlow sends no uint8 and uint16 variables from one worker to the others, which the "
    "assignments of shared weights are"
)


def check_strategy(model: keras.Model, reason: str = NO_FIT) -> None:
    """Refuses what does not run on several machines with TensorFlow.

    Args:
        model: The model that is to be trained or converted.
        reason: What does not run there.

    Raises:
        RuntimeError: The model is under a strategy over several workers; says what to do.
    """
    if strategy := _several_workers(model):
        raise RuntimeError(
            f"'{model.name}' is under a {strategy} over several workers, where {reason}. On "
            "several machines, use the JAX backend with keras.distribution.initialize() and "
            "keras.distribution.DataParallel(); on one, tf.distribute.MirroredStrategy. See "
            "docs/distributed.md."
        )


def guard_fit(model: keras.Model) -> None:
    """Makes `fit` of a model say at once that it does not run.

    Keras fails before it calls any callback, deep inside TensorFlow. Training loops of the user's
    own do run there, so that making the model is not refused.
    """
    if _several_workers(model):
        # It cannot run there, so nothing is lost with the method that this hides.
        model.fit = lambda *args, **kwargs: check_strategy(model)


def _several_workers(model: keras.Model) -> str | None:
    """The name of the model's strategy if it is one over several workers."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    strategy = model.distribute_strategy
    resolver = getattr(strategy, "cluster_resolver", None)
    if resolver is None:
        return None
    cluster = resolver.cluster_spec()
    workers = sum(cluster.num_tasks(job) for job in cluster.jobs if job in ("chief", "worker"))
    if workers < 2:
        return None
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return "MultiWorkerMirroredStrategy"  # its class has another name inside TensorFlow
    return type(strategy).__name__
