import keras
import numpy as np
import pytest

from keras_deepcomp.compressing.data import Data

X, Y = np.arange(200, dtype=np.float32).reshape(100, 2), np.arange(100)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 7

    def __getitem__(self, place):
        return X[:8], Y[:8]


def test_arrays():
    data = Data(({"a": X, "b": [X, X]}, Y, Y), "train")
    assert (data.samples, data.batch_size, data.batches) == (100, 32, 4)
    assert data.arguments().keys() == {"x", "y", "sample_weight", "batch_size"}
    head = data.head(10)
    assert head["x"]["b"][1].shape == (10, 2) and head["y"].shape == (10,)
    assert Data((np.zeros((10_000, 1)), np.zeros(10_000)), "train").batch_size == 128
    assert Data((X, Y), "train", 64).batches == 2


def test_splitting():
    rest, part = Data((X, Y), "train", 16).split(0.25, seed=3)
    assert (rest.samples, part.samples) == (75, 25)
    y = np.concatenate([rest.arrays[1], part.arrays[1]])
    assert sorted(y) == list(range(100)) and np.all(part.arrays[0][:, 0] == 2 * part.arrays[1])
    with pytest.raises(TypeError, match="give validation="):
        Data(Batches(), "train").split(0.1, 0)


def test_data_sets():
    data = Data(Batches(), "train")
    assert data.batches == 7 and data.head(96)["steps"] == 3 and "7 batches" in data.fingerprint()


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.data")
def test_tf_data():
    import tensorflow as tf

    of_arrays = tf.data.Dataset.from_tensor_slices((X, Y)).batch(30)
    assert Data(of_arrays, "train").batches == 4
    assert Data(of_arrays.filter(lambda x, y: y[0] >= 0), "train").batches == 4
    with pytest.raises(ValueError, match="repeats for ever"):
        Data(of_arrays.repeat(), "train")


def test_what_is_refused():
    with pytest.raises(TypeError, match=r"many times.*got generator"):
        Data((batch for batch in [(X, Y)]), "train")
    with pytest.raises(TypeError, match="got float32"):
        Data(np.float32(3.0), "train")
    with pytest.raises(TypeError, match=r"\(x, y\) or .* got 1 parts"):
        Data((X,), "train")
    with pytest.raises(ValueError, match=r"same number of samples.*\[50, 100\]"):
        Data((X, Y[:50]), "train")
    with pytest.raises(ValueError, match="at least one"):
        Data((X[:0], Y[:0]), "train")


def test_fingerprints():
    base = Data((X, Y), "train").fingerprint()
    assert base == Data((X.copy(), Y.copy()), "train").fingerprint()
    for other in ((X + 1, Y), (X.astype(np.float64), Y), (X[:50], Y[:50])):
        assert Data(other, "train").fingerprint() != base
