"""Gradients past a quantizer: straight through and rotated."""

import pytest
import torch

from speechbrain_acom.quantizers.gradients import rotation, straight_through


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def _jacobian(values, quantized):
    return torch.autograd.functional.jacobian(
        lambda leaf: rotation(leaf, quantized), values
    )


@pytest.mark.parametrize("estimator", [straight_through, rotation])
def test_the_quantized_values_come_out_bit_for_bit(estimator):
    values, quantized = torch.randn(9, 4), torch.randn(9, 4)
    assert torch.equal(estimator(values, quantized), quantized)


@pytest.mark.parametrize("estimator", [straight_through, rotation])
def test_the_quantized_values_get_no_gradient(estimator):
    values = torch.randn(9, 4, requires_grad=True)
    quantized = torch.randn(9, 4, requires_grad=True)
    estimator(values, quantized).sum().backward()
    assert quantized.grad is None


def test_rotation_and_scale_turn_the_value_into_the_quantized_one():
    values, quantized = torch.randn(5).double(), torch.randn(5).double()
    jacobian = _jacobian(values, quantized)
    scale = quantized.norm() / values.norm()
    assert torch.allclose(jacobian @ values, quantized)
    # A rotation: its transpose is its inverse, and it mirrors nothing.
    turn = jacobian / scale
    assert torch.allclose(turn @ turn.T, torch.eye(5).double())
    assert torch.linalg.det(turn) == pytest.approx(1.0)


def test_what_stands_across_the_plane_of_both_is_only_scaled():
    values = torch.tensor([2.0, 0.0, 0.0])
    quantized = torch.tensor([0.0, 1.0, 0.0])
    jacobian = _jacobian(values, quantized)
    expected = [[0.0, -0.5, 0.0], [0.5, 0.0, 0.0], [0.0, 0.0, 0.5]]
    assert torch.allclose(jacobian, torch.tensor(expected), atol=1e-6)


def test_the_gradient_keeps_its_angle():
    values = torch.randn(20, 6, requires_grad=True)
    quantized, gradient = torch.randn(20, 6), torch.randn(20, 6)
    rotation(values, quantized).backward(gradient)
    cosine = torch.nn.functional.cosine_similarity
    before = cosine(gradient, quantized)
    after = cosine(values.grad, values.detach())
    assert torch.allclose(before, after, atol=1e-5)


def test_zero_is_passed_straight_through():
    values = torch.zeros(3, 4, requires_grad=True)
    gradient = torch.randn(3, 4)
    rotation(values, torch.randn(3, 4)).backward(gradient)
    assert torch.equal(values.grad, gradient)


def test_opposite_and_equal_vectors_have_finite_gradients():
    values = torch.randn(3, 4)
    for quantized in (-values, values, 0 * values):
        leaf = values.clone().requires_grad_()
        rotation(leaf, quantized).backward(torch.ones(3, 4))
        assert leaf.grad.isfinite().all()
    leaf = values.clone().requires_grad_()
    rotation(leaf, values).backward(torch.ones(3, 4))
    assert torch.allclose(leaf.grad, torch.ones(3, 4), atol=1e-5)
