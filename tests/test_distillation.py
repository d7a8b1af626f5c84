import keras
import numpy as np
import pytest
from support import compiled, dense_model, regression_data

from keras_deepcomp import distillation

LOGITS = np.random.default_rng(0).normal(scale=4, size=(6, 5)).astype("float32")
LABELS = LOGITS.argmax(-1)


def test_targets_are_probabilities_between_teacher_and_labels():
    soft = distillation.soft_targets(LOGITS, LABELS, temperature=2.0, teacher_share=0.75)
    teacher = np.exp(LOGITS / 2) / np.exp(LOGITS / 2).sum(-1, keepdims=True)
    np.testing.assert_allclose(soft, 0.75 * teacher + 0.25 * np.eye(5)[LABELS], rtol=1e-5)
    np.testing.assert_array_equal(
        soft, distillation.soft_targets(LOGITS, np.eye(5)[LABELS], 2.0, 0.75)
    )
    np.testing.assert_allclose(
        distillation.soft_targets(LOGITS, temperature=2.0), teacher, rtol=1e-5
    )


def test_large_logits_do_not_overflow():
    assert np.isfinite(distillation.soft_targets([[1e4, -1e4]], temperature=1.0)).all()


def test_the_gradient_at_high_temperature_is_that_of_a_distance_between_logits():
    # Hinton et al., equation 4: with logits of mean zero, (z - v) / classes for each.
    other = np.random.default_rng(1).normal(size=LOGITS.shape).astype("float32")
    teacher, student = (x - x.mean(-1, keepdims=True) for x in (LOGITS, other))

    def loss(z, temperature=200.0):
        targets = distillation.soft_targets(teacher, temperature=temperature)
        value = distillation.SoftCrossentropy(temperature, reduction="none", dtype="float64")(
            targets.astype("float64"), z
        )
        return keras.ops.convert_to_numpy(value)

    moved = student.astype("float64")
    moved[:, 0] += 1e-1
    slope = (loss(moved) - loss(2 * student.astype("float64") - moved)) / 2e-1
    np.testing.assert_allclose(slope, (student - teacher)[:, 0] / 5, atol=0.05)


def test_a_student_learns_the_teachers_answers():
    x, _ = regression_data(200)
    teacher = dense_model(seed=1, activation="tanh")
    soft = distillation.soft_targets(teacher.predict(x, verbose=0) * 5)
    student = dense_model(seed=2, activation="linear")
    student.compile(
        keras.optimizers.Adam(0.01), distillation.SoftCrossentropy(), metrics=["accuracy"]
    )
    student.fit(x, soft, epochs=20, verbose=0)
    assert student.evaluate(x, soft, verbose=0)[1] > 0.6


def test_the_loss_is_saved_with_a_model(tmp_path):
    student = compiled(dense_model())
    student.compile("sgd", distillation.SoftCrossentropy(4.0))
    student.save(tmp_path / "m.keras")
    assert keras.models.load_model(tmp_path / "m.keras").loss.temperature == 4.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": 0.0}, "above 0"),
        ({"teacher_share": 1.5}, "in \\[0, 1\\]"),
        ({"labels": np.zeros((6, 4))}, "do not fit"),
        ({"labels": LABELS.astype("float32")}, "do not fit"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        distillation.soft_targets(LOGITS, **arguments)
