import numpy as np
import pytest
from test_shrinking import MODELS, dense, said, sparse

import keras_deepcomp as kdc


def size(model, path):
    return kdc.save_model(model, path)


@pytest.mark.parametrize("kind", MODELS)
def test_an_ordered_model_says_the_same(kind, tmp_path):
    model = sparse(MODELS[kind]())
    ordered = kdc.order_units(model, effort=1)
    for one, other in zip(said(model), said(ordered), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-4)
    assert [v.shape for v in ordered.variables] == [v.shape for v in model.variables]


def test_units_that_are_alike_come_together_and_the_file_gets_smaller(tmp_path):
    # Every other unit has many weights, and the others few.
    model = sparse(dense(), share=0.5)
    for layer in (model.layers[0], model.layers[2]):
        kernel = np.sign(layer.kernel)
        kernel[:, ::2] *= np.random.default_rng(0).random(kernel[:, ::2].shape) > 0.9
        layer.kernel.assign(kernel)
    ordered = kdc.order_units(model)
    assert size(ordered, tmp_path / "a.kdc") < size(model, tmp_path / "b.kdc")
    np.testing.assert_allclose(said(ordered)[0], said(model)[0], rtol=1e-4, atol=1e-5)


def test_the_given_model_is_not_changed(tmp_path):
    model = sparse(dense())
    before = [np.array(v) for v in model.variables]
    kdc.order_units(model, effort=1)
    for variable, values in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(np.array(variable), values)
