"""Laws of attention linear in the sequence at their edges, between one another, and refused arguments."""

import math

import pytest

from torchstone.core.errors import InvariantError
from torchstone.laws.attention import features, linear, separable


def test_the_variances_are_related_as_they_say():
    """Hyperbolic is (1 - exp(-|z|²)) / 2 of positive; trigonometric is hyperbolic with the key's sign turned, relative to the kernel."""
    query, key = [0.3, -0.5, 0.2], [0.4, 0.1, -0.6]
    square = sum((a + b) ** 2 for a, b in zip(query, key, strict=True))
    kernel = features.exponential_kernel(query, key)
    positive, hyperbolic = features.positive_feature_variance(query, key, 7), features.hyperbolic_feature_variance(query, key, 7)
    assert hyperbolic == pytest.approx(positive * (1 - math.exp(-square)) / 2)
    turned = [-x for x in key]
    other = features.hyperbolic_feature_variance(query, turned, 7) / features.exponential_kernel(query, turned) ** 2
    assert features.trigonometric_feature_variance(query, key, 7) / kernel**2 == pytest.approx(other)
    assert features.orthogonal_feature_variance(query, key, 1) == pytest.approx(features.positive_feature_variance(query, key, 1))


def test_the_output_s_error_does_not_know_the_values_mean():
    query, keys, values = [0.5, 0.1], [[0.2, 0.3], [-0.4, 0.1], [0.0, 0.9]], [[1.0], [4.0], [-2.0]]
    moved = [[v[0] + 10] for v in values]
    assert features.feature_output_error(query, keys, moved, 8) == pytest.approx(features.feature_output_error(query, keys, values, 8))
    assert features.feature_output_error(query, keys, values, 16) == pytest.approx(features.feature_output_error(query, keys, values, 8) / 2)


def test_unit_variance_needs_more_features_than_there_is_memory():
    assert features.features_needed(math.expm1(16), 1.0) == 8886110
    assert features.features_needed(0.0, 0.1) == 1


def test_the_identity_is_within_reach_up_to_the_width():
    assert separable.identity_distance(5, 5) == separable.identity_distance(3, 8) == 0.0
    assert separable.separable_saving(32, 64) == 0.5
    assert separable.sharp_identity_distance(1, 0.0) == 0.0


def test_the_feature_map_of_one_direction_is_the_law_of_the_kernel_at_zero():
    assert features.random_features([0.0], [[5.0]]) == [1.0]
    assert features.random_features([0.0], [[5.0]], "hyperbolic") == pytest.approx([math.sqrt(1 / 2)] * 2)
    assert features.random_features([0.0], [[5.0]], "trigonometric") == [1.0, 0.0]


@pytest.mark.parametrize(("call", "said"), [
    (lambda: separable.separable_weights([[1.0]], [[1.0, 2.0]]), "queries and keys are rows of one width, one or more; widths [1, 2] came"),
    (lambda: separable.separable_row_sums(0), "sizes are 1 or more; {'queries': 0} came"),
    (lambda: separable.sharp_identity_distance(3, -1.0), "the sharpness is a scale times a square, zero or more; -1.0 came"),
    (lambda: linear.kernel_attention([[1.0]], [], []), "each key has a value, and there is one or more; 0 keys and 0 values came"),
    (lambda: linear.random_feature_flops(1, 1, 0, 1, 1), "sizes are 1 or more; {'features': 0} came"),
    (lambda: features.exponential_kernel([1.0], []), "query and key have one width, one or more; 1 and 0 came"),
    (lambda: features.random_features([1.0], [[1.0]], "cosine"), "kinds of features are positive, hyperbolic, trigonometric; 'cosine' came"),
    (lambda: features.positive_feature_variance([1.0], [1.0], 0), "numbers of features and directions are 1 or more; {'directions': 0} came"),
    (lambda: features.orthogonal_feature_variance([1.0], [1.0], 2), "no more than 1 directions of width 1 stand at right angles; 2 came"),
    (lambda: features.features_needed(1.0, 0.0), "a finite relative variance, zero or more, and an error above zero are needed; 1.0 and 0.0 came"),
    (lambda: features.feature_error_slope(4, 4), "a slope is between two numbers of features, the first smaller; 4 and 4 came"),
])
def test_what_does_not_fit_is_refused_with_its_value(call, said):
    with pytest.raises(InvariantError) as refused:
        call()
    assert str(refused.value) == said
