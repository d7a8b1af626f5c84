import keras
import numpy as np
import pytest

from keras_deepcomp.compressing.teaching import Teacher, answers_of
from keras_deepcomp.distillation import TEACHER_SHARE, SoftCrossentropy, soft_targets

X = np.random.default_rng(0).standard_normal((32, 6)).astype("float32")
Y = np.arange(32) % 3


def classifier(activation=None, seed=0):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, activation)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=activation is None)
    model.compile(keras.optimizers.SGD(0.0), loss, run_eagerly=True)
    return model


def logits(model):
    return X @ np.array(model.weights[0].value) + np.array(model.weights[1].value)


@pytest.mark.parametrize("student_ends", [None, "softmax"])
@pytest.mark.parametrize("teacher_ends", [None, "softmax"])
def test_the_loss_is_that_of_distillation(student_ends, teacher_ends):
    teacher, student = classifier(teacher_ends, 1), classifier(student_ends, 2)
    hard = student.evaluate(X, Y, verbose=0)
    Teacher(student, teacher).teach(student)
    found = student.fit(X, Y, batch_size=32, verbose=0).history["loss"][0]
    targets = soft_targets(logits(teacher), None)
    soft = float(keras.ops.mean(SoftCrossentropy()(targets, logits(student))))
    assert found == pytest.approx(TEACHER_SHARE * soft + (1 - TEACHER_SHARE) * hard, rel=1e-4)
    # What is measured is the user's own loss.
    assert student.evaluate(X, Y, verbose=0) == pytest.approx(hard)


def test_a_student_comes_closer_to_its_teacher():
    teacher, student = classifier(None, 1), classifier(None, 2)
    student.optimizer.learning_rate = 0.5
    Teacher(student, teacher).teach(student)

    def difference():
        # A softmax does not see what is added to all logits.
        ours, theirs = (logits(model) for model in (student, teacher))
        ours, theirs = (each - each.mean(axis=1, keepdims=True) for each in (ours, theirs))
        return np.abs(ours - theirs).mean()

    before = difference()
    student.fit(X, Y, epochs=20, verbose=0)
    assert difference() < 0.5 * before
    assert len(student.trainable_variables) == 2  # the teacher's are not among them


def test_outputs_that_tell_no_classes_apart_are_left_to_their_loss():
    inputs = keras.Input((6,))
    outputs = {name: keras.layers.Dense(3, name=name)(inputs) for name in ("kind", "size")}
    model = keras.Model(inputs, outputs)
    kind = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile("sgd", {"kind": kind, "size": "mse"}, run_eagerly=True)
    assert answers_of(model) == ["logits", None]
    targets = {"kind": np.eye(3)[Y], "size": X[:, :3]}
    Teacher(model, model).teach(model)
    weights = {"kind": np.ones(32), "size": np.ones(32)}
    assert np.isfinite(model.fit(X, targets, sample_weight=weights, verbose=0).history["loss"][0])


def test_answers():
    def of(loss):
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
        model.compile("sgd", loss)
        return answers_of(model)[0]

    losses = keras.losses
    assert of("sparse_categorical_crossentropy") == "probabilities"
    assert of(losses.categorical_crossentropy) == "probabilities"
    assert of(losses.SparseCategoricalCrossentropy(from_logits=True)) == "logits"
    assert of("mse") is None and of("binary_crossentropy") is None
    assert of(losses.SparseCategoricalCrossentropy(ignore_class=0)) is None
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"Leave teacher= out"):
        Teacher(model, model)
