"""Model and layer classes as users write them, for the catalogue in `model_kinds`."""

import keras

registered = keras.saving.register_keras_serializable("kinds")


@registered
class Plain(keras.Model):
    """Layers as attributes, and a graph that only its code knows."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.first = keras.layers.Dense(16, activation="relu")
        self.norm = keras.layers.BatchNormalization()
        self.last = keras.layers.Dense(10)

    def call(self, x, training=None):
        return self.last(self.norm(self.first(x), training=training))


@registered
class CalledTwice(Plain):
    """Runs its first layer on what it returned, and has the layer under two names."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.again = self.first

    def call(self, x, training=None):
        return self.last(self.norm(self.again(self.first(x)), training=training))


@registered
class InCollections(keras.Model):
    """Keeps layers in lists, dicts and tuples within each other."""

    def __init__(self, width=16, **arguments):
        super().__init__(**arguments)
        self.width = width
        self.stack = [keras.layers.Dense(width) for _ in range(2)]
        self.heads = {
            "a": keras.layers.Dense(8),
            "b": [keras.layers.Dense(8), keras.layers.LayerNormalization()],
        }
        self.pair = (keras.layers.Dense(8), keras.layers.Dropout(0.1))

    def call(self, x):
        for layer in self.stack:
            x = layer(x)
        second = x
        for layer in self.heads["b"]:
            second = layer(second)
        return self.heads["a"](x) + second + self.pair[1](self.pair[0](x))

    def get_config(self):
        return {**super().get_config(), "width": self.width}


@registered
class OfDicts(keras.Model):
    """Takes a dict and returns one."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.left, self.right = keras.layers.Dense(8), keras.layers.Dense(8)

    def call(self, inputs):
        left, right = self.left(inputs["left"]), self.right(inputs["right"])
        return {"sum": left + right, "product": left * right}


@registered
class Around(keras.Model):
    """A subclassed model that holds other models, which its configuration has."""

    def __init__(self, inner=None, **arguments):
        super().__init__(**arguments)
        self.inner = Plain(name="inside") if inner is None else inner
        self.last = keras.layers.Dense(8)

    def call(self, x):
        return self.last(self.inner(x))

    def get_config(self):
        inner = keras.saving.serialize_keras_object(self.inner)
        return {**super().get_config(), "inner": inner}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        inner = keras.saving.deserialize_keras_object(config.pop("inner"))
        return cls(inner, **config)


@registered
class AroundGraph(keras.Model):
    """A subclassed model that makes a functional one in its `__init__`."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        inputs = keras.Input((12,))
        hidden = keras.layers.Dense(16, name="deep")(inputs)
        self.graph = keras.Model(inputs, keras.layers.Dense(12)(hidden) + inputs, name="graph")
        self.last = keras.layers.Dense(8)

    def call(self, x):
        return self.last(self.graph(x))


@registered
class OwnWeight(keras.Model):
    """Has weights of its own, made in `__init__` and in `build`, beside its layers."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.dense = keras.layers.Dense(10)
        self.scale = self.add_weight(shape=(10,), initializer="ones", name="scale")

    def build(self, input_shape):
        self.mixing = self.add_weight(shape=(input_shape[-1], 12), name="mixing")
        self.dense.build((None, 12))
        self.built = True

    def call(self, x):
        return self.dense(keras.ops.matmul(x, self.mixing)) * self.scale


@registered
class OwnTrainStep(Plain):
    """Trains in a way of its own: it halves the inputs first."""

    def train_step(self, *args):
        # TensorFlow and torch pass the data alone; JAX passes the state before it.
        *state, (x, y) = args
        return super().train_step(*state, (x * 0.5, y))


@registered
class MadeInBuild(keras.Model):
    """Makes its layers when it knows its input's shape."""

    def build(self, input_shape):
        self.first = keras.layers.Dense(2 * input_shape[-1], name="first")
        self.first.build(input_shape)
        self.last = keras.layers.Dense(4, name="last")
        self.last.build((None, 2 * input_shape[-1]))
        self.built = True

    def call(self, x):
        return self.last(self.first(x))


@registered
class Backbone(keras.Model):
    """A functional model that makes its graph in an `__init__` of its own, as KerasHub's do."""

    def __init__(self, width, vocabulary=20, **arguments):
        embedding = keras.layers.Embedding(vocabulary, width, name="embedding")
        attention = keras.layers.MultiHeadAttention(2, width // 2, name="attention")
        norm = keras.layers.LayerNormalization(name="norm")
        tokens = keras.Input((6,), dtype="int32", name="tokens")
        x = embedding(tokens)
        outputs = norm(x + attention(x, x))
        super().__init__({"tokens": tokens}, {"sequence": outputs}, **arguments)
        self.embedding = embedding
        self.layers_by_use = [attention, norm]
        self.width, self.vocabulary = width, vocabulary

    def get_config(self):
        return {
            "name": self.name,
            "trainable": self.trainable,
            "width": self.width,
            "vocabulary": self.vocabulary,
        }


@registered
class LayersFirst(keras.Model):
    """A functional model whose own `__init__` makes its layers before it calls them, last first."""

    def __init__(self, width, **arguments):
        self.last = keras.layers.Dense(width, name="last")
        self.first = keras.layers.Dense(width, name="first")
        x = keras.Input((12,), name="x")
        super().__init__(x, self.last(self.first(x)), **arguments)
        self.width = width

    def get_config(self):
        return {"name": self.name, "trainable": self.trainable, "width": self.width}


@registered
class FunctionalTrainStep(keras.Model):
    """A functional model with a train step of its own and no `__init__`."""

    def train_step(self, *args):
        *state, (x, y) = args
        return super().train_step(*state, (x * 0.5, y))


@registered
class SequentialSubclass(keras.Sequential):
    """A Sequential model that makes its layers in an `__init__` of its own."""

    def __init__(self, units=16, **arguments):
        layers = [keras.layers.Input((12,)), keras.layers.Dense(units), keras.layers.Dense(8)]
        super().__init__(layers, **arguments)
        self.units = units

    def get_config(self):
        return {"name": self.name, "units": self.units}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)


@registered
class Tied(keras.Model):
    """Reads the embedding's weights as an attribute, to use them for its output again."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.embedding = keras.layers.Embedding(20, 8)
        self.dense = keras.layers.Dense(8)

    def call(self, tokens):
        hidden = self.dense(self.embedding(tokens))
        return keras.ops.matmul(hidden, keras.ops.transpose(self.embedding.embeddings))


@registered
class Block(keras.layers.Layer):
    """A layer of layers, built by its first call."""

    def __init__(self, units, **arguments):
        super().__init__(**arguments)
        self.units = units
        self.wide = keras.layers.Dense(4 * units, activation="gelu")
        self.narrow = keras.layers.Dense(units)

    def call(self, x):
        return x + self.narrow(self.wide(x))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@registered
class LowRank(keras.layers.Layer):
    """A layer with weights of its own alone."""

    def __init__(self, units, rank=8, **arguments):
        super().__init__(**arguments)
        self.units, self.rank = units, rank

    def build(self, input_shape):
        self.down = self.add_weight(shape=(input_shape[-1], self.rank), name="down")
        self.up = self.add_weight(shape=(self.rank, self.units), name="up")

    def call(self, x):
        return x @ self.down @ self.up

    def get_config(self):
        return {**super().get_config(), "units": self.units, "rank": self.rank}
