"""The layer `Scaled` of tests/tfmot_models.py, written for Keras 3."""

import keras


@keras.saving.register_keras_serializable("tests3")
class Scaled(keras.layers.Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")
        self.gain = self.add_weight(shape=(self.units,), initializer="ones", name="gain")

    def call(self, inputs):
        return keras.ops.matmul(inputs, self.kernel) * self.gain

    def get_config(self):
        return {**super().get_config(), "units": self.units}
