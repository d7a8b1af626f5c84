import keras
import pytest

from keras_deepcomp.naming import sublayers, variable_names


def names(layer):
    return list(variable_names(layer).values())


def test_names_follow_the_structure_not_the_paths():
    def model():
        recurrent = keras.layers.Bidirectional(keras.layers.GRU(2, name="gru"), name="both")
        dropout = keras.layers.Dropout(0.1, name="drop")
        return keras.Sequential([keras.layers.Input((3, 2)), recurrent, dropout])

    one, other = model(), model()
    assert names(one) == names(other) == names(keras.models.clone_model(one))
    assert names(one)[:2] == [
        "both/forward_gru/gru_cell/kernel",
        "both/forward_gru/gru_cell/recurrent_kernel",
    ]
    assert "drop/seed_generator_state" in names(one)
    assert len(names(one)) == len(one.variables)


def test_equal_places_get_numbers():
    class Same(keras.layers.Layer):
        def build(self, shape):
            for _ in range(3):
                self.add_weight(name="w", shape=(1,))

    layer = Same()
    layer.build((None, 1))
    assert names(layer) == ["w", "w_1", "w_2"]


def test_a_shared_layer_is_named_once():
    shared = keras.layers.Dense(3, name="shared")
    inputs = keras.Input((3,))
    model = keras.Model(inputs, shared(shared(inputs)))
    assert names(model) == ["shared/kernel", "shared/bias"]
    assert [layer.name for layer in sublayers(model)][1:] == ["shared"]


@pytest.mark.parametrize("heads", [1, 2])
def test_attention(heads):
    layer = keras.layers.MultiHeadAttention(heads, 4)
    layer.build((None, 3, 8), (None, 3, 8))
    assert "query/kernel" in names(layer) and "attention_output/bias" in names(layer)
