"""Routing and computation of the mixture of experts."""

import pytest
import torch

from moirai.layers.feed_forward import NUM_EXPERTS, MixtureOfExperts

DIM = 12


def mixture(**settings):
    """A layer and centroids for it."""
    layer = MixtureOfExperts(DIM, 8, **({"num_experts": 6} | settings))
    return layer, torch.randn(len(layer.experts), DIM, dtype=torch.float64)


def token_by_token(layer, tokens, centroid):
    """The definition, one token and one expert after the other (specification, section 7)."""
    results = []
    for token in tokens:
        distance = (token - centroid.float()).square().sum(-1).sqrt()
        farthest, chosen = distance.sort(descending=True)
        share = farthest[: layer.top_k].softmax(0)
        results.append(sum(share[i] * layer.experts[int(chosen[i])](token) for i in range(layer.top_k)))
    return torch.stack(results)


@pytest.mark.parametrize(
    "settings", [{}, {"top_k": 1}, {"top_k": 6}, {"num_experts": NUM_EXPERTS, "top_k": 3}], ids=str
)
@pytest.mark.parametrize("tokens", [1, 40])
def test_equals_token_by_token(settings, tokens):
    """Sorting tokens by expert changes nothing, also where most experts see no token."""
    layer, centroid = mixture(**settings)
    x = torch.randn(tokens, DIM)
    expected = token_by_token(layer, x, centroid)
    torch.testing.assert_close(layer(x, centroid), expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(layer(x.view(1, tokens, DIM), centroid)[0], expected, rtol=1e-4, atol=1e-6)


def test_farthest_by_hand():
    """A token goes to the centroids that are farthest from it, the farthest with the larger share."""
    layer, _ = mixture(num_experts=3)
    centroid = torch.zeros(3, DIM)
    centroid[:, 0] = torch.tensor([0.0, 3.0, -5.0])
    token = torch.zeros(1, DIM)
    token[0, 0] = 1.0  # distances 1, 2, 6
    selected, gates = layer.route(token, centroid)
    assert selected.tolist() == [[2, 1]]
    torch.testing.assert_close(gates, torch.tensor([[6.0, 2.0]]).softmax(-1))


def test_order_of_tokens():
    """Each token is treated by itself: their order does not matter."""
    layer, centroid = mixture()
    x, order = torch.randn(30, DIM), torch.randperm(30)
    torch.testing.assert_close(layer(x[order], centroid), layer(x, centroid)[order])


def test_order_of_experts():
    """Experts and centroids that change places together give the same."""
    layer, centroid = mixture()
    x, order = torch.randn(30, DIM), torch.randperm(6)
    expected = layer(x, centroid)
    layer.experts = torch.nn.ModuleList(layer.experts[int(i)] for i in order)
    torch.testing.assert_close(layer(x, centroid[order]), expected)


def test_gradients():
    """Gradients reach the token, also through its shares, and the experts that were visited, and no other."""
    layer, centroid = mixture()
    x = torch.randn(1, DIM, requires_grad=True)
    selected, gates = layer.route(x, centroid)
    (through_gates,) = torch.autograd.grad(gates[0, 0], x)
    assert through_gates.abs().sum() > 0
    layer(x, centroid).sum().backward()
    assert x.grad.abs().sum() > 0
    visited = {i for i, expert in enumerate(layer.experts) if expert.fc1.weight.grad is not None}
    assert visited == set(selected[0].tolist())


def test_half_precision():
    """In bfloat16 the output is bfloat16 and the shares are float32."""
    layer, centroid = mixture()
    x = torch.randn(5, DIM)
    low = layer.bfloat16()(x.bfloat16(), centroid)
    assert low.dtype == torch.bfloat16
    assert layer.route(x.bfloat16(), centroid)[1].dtype == torch.float32
