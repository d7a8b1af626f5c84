import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support import run_python

from keras_deepcomp.centroids import INITIALIZATIONS, as_initialization, assign, kmeans

INITS = list(INITIALIZATIONS)
VALUES = hnp.arrays(
    np.float32, st.integers(1, 60), elements=st.floats(-100, 100, width=32, allow_subnormal=False)
)


def squared_error(values, centroids):
    values = np.asarray(values, np.float64)
    return float(((values - centroids[assign(values, centroids)]) ** 2).sum())


def least_error(values, count):
    """The exact optimum by dynamic programming over the sorted values."""
    values = np.sort(np.asarray(values, np.float64))
    n = values.size
    sums, squares = (np.concatenate([[0], np.cumsum(values**p)]) for p in (1, 2))

    def cost(i, j):
        return squares[j] - squares[i] - (sums[j] - sums[i]) ** 2 / (j - i)

    best = np.full((count + 1, n + 1), np.inf)
    best[0, 0] = 0
    for k in range(1, count + 1):
        for j in range(1, n + 1):
            best[k, j] = min(best[k - 1, i] + cost(i, j) for i in range(j))
    return best[1:, n].min()


@given(VALUES, st.integers(1, 20), st.sampled_from(INITS))
def test_a_fixed_point_of_lloyds_algorithm(values, count, init):
    centroids = kmeans(values, count, init)
    assert centroids.size == min(count, np.unique(values).size)
    assert (np.diff(centroids) > 0).all()
    groups = assign(values, centroids)
    for i, centroid in enumerate(centroids):
        members = values[groups == i].astype(np.float64)
        assert members.size
        assert centroid == pytest.approx(members.mean(), rel=1e-6, abs=1e-6)


@given(VALUES, st.integers(1, 8))
def test_assignment_is_to_the_nearest(values, count):
    centroids = kmeans(values, count)
    distances = np.abs(values.astype(np.float64)[:, None] - centroids)
    chosen = distances[np.arange(values.size), assign(values, centroids)]
    assert (chosen <= distances.min(axis=1) * (1 + 1e-9) + 1e-12).all()


@pytest.mark.parametrize("init", INITS)
def test_close_to_the_optimum(init):
    values = np.random.default_rng(0).standard_normal(300)
    values = values[np.abs(values) > 0.7]  # the gap that pruning leaves
    best = least_error(values, 8)
    worst = 3.0 if init == "random" else 1.5
    # Random starts find poorer optima, as the paper says.
    assert best * (1 - 1e-9) <= squared_error(values, kmeans(values, 8, init)) <= worst * best


def test_compander_is_closest_where_there_are_many_clusters():
    values = np.random.default_rng(4).laplace(size=20_000)
    errors = {init: squared_error(values, kmeans(values, 64, init)) for init in INITS}
    assert errors["compander"] == min(errors.values())


def test_linear_keeps_the_few_large_values():
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.standard_normal(5000) * 0.05, [1.0, -1.1]])
    linear, density = (kmeans(values, 8, init) for init in ("linear", "density"))
    assert np.abs(linear - 1.0).min() < 0.01 and np.abs(linear + 1.1).min() < 0.01
    assert np.abs(density - 1.0).min() > 0.3


def test_far_from_zero_no_digits_are_lost():
    values = np.random.default_rng(2).standard_normal(1000)
    near, far = kmeans(values, 6), kmeans(values + 1e6, 6)
    np.testing.assert_allclose(far - 1e6, near, atol=1e-6)


def test_deterministic_by_seed():
    values = np.random.default_rng(3).standard_normal(500)
    for init in INITS:
        assert np.array_equal(kmeans(values, 16, init, seed=5), kmeans(values, 16, init, seed=5))


@pytest.mark.parametrize(
    ("values", "arguments", "says"),
    [
        (
            [1.0],
            {"init": "zeros"},
            "expected one of 'linear', 'density', 'compander', 'random', 'kmeans",
        ),
        ([], {}, "empty"),
        ([1.0, np.nan], {}, "NaN"),
        ([1.0, np.inf], {}, "infinity"),
    ],
)
def test_bad_input(values, arguments, says):
    with pytest.raises(ValueError, match=says):
        kmeans(np.array(values), 2, **arguments)


def test_initializations_by_the_names_of_tfmot():
    code = """
        import tensorflow as tf
        tf.keras.version()
        import tensorflow_model_optimization as tfmot
        from keras_deepcomp.centroids import as_initialization
        from keras_deepcomp.wrappers.clustering import _as_aggregation
        kinds = tfmot.clustering.keras.CentroidInitialization
        print(*(as_initialization(kind) for kind in kinds))
        from tensorflow_model_optimization.python.core.clustering.keras import cluster_config
        print(*(_as_aggregation(kind) for kind in cluster_config.GradientAggregation))
    """
    lines = run_python(code).splitlines()
    assert lines[-2:] == ["linear random density kmeans++", "sum mean"]
    for name in ("LINEAR", "Kmeans_Plus_Plus", "DENSITY_BASED", "CentroidInitialization.RANDOM"):
        assert as_initialization(name) in ("linear", "kmeans++", "density", "random")
    for name in ("best", None, 3):
        with pytest.raises(ValueError, match="expected one of 'linear', 'density', 'compander'"):
            as_initialization(name)
