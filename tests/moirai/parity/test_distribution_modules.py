"""Moirai 1.x and Moirai-MoE on packed rows against the reference."""

import itertools
from dataclasses import fields
from typing import Any, NamedTuple

import pytest
import torch

from moirai.config import HEAD_DIM
from moirai.hub import load_module, resolve
from moirai.layers.attention import AttentionPattern
from moirai.losses import packed_mean
from moirai.models.distribution_module import DistributionModule
from moirai.tokens import PackedTokens
from moirai.training.batch import TrainingBatch
from moirai.training.objectives import likelihood_objective, training_loss

FOLDERS = ("moirai", "moirai_2h", "moirai_moe")
FIELDS = ("target", "observed_mask", "sample_id", "time_id", "variate_id", "prediction_mask")


class Case(NamedTuple):
    """A module, its stored inputs and outputs, and what it made of them."""

    module: DistributionModule
    expected: dict[str, torch.Tensor]
    tokens: PackedTokens
    patch_size: torch.Tensor
    seen: dict[str, torch.Tensor]


@pytest.fixture(scope="module", params=FOLDERS)
def case(request, parity, stored):
    """One forward: what enters the encoder, every layer, the encoder's output, raw parameters."""
    module = load_module(resolve(parity / request.param / "checkpoint"))
    expected = stored(f"{request.param}/module_packed").tensors
    tokens = PackedTokens(**{name: expected[f"in.{name}"] for name in FIELDS})
    patch_size, seen = expected["in.patch_size"], {}
    handles = [module.encoder.register_forward_pre_hook(lambda _, given: seen.update(encoder_in=given[0]))]
    handles += [
        layer.register_forward_hook(lambda *call, index=index: seen.update({f"layer{index}": call[-1]}))
        for index, layer in enumerate(module.encoder.layers)
    ]
    with torch.no_grad():
        seen["encoder_out"] = module.encode(tokens, patch_size, module.scaling(tokens))
        seen |= {f"raw.{name}": raw for name, raw in leaves(module.head(seen["encoder_out"], patch_size))}
    for handle in handles:
        handle.remove()
    return Case(module, expected, tokens, patch_size, seen)


def leaves(nested: Any, prefix: str = ""):
    """Tensors of a nested mapping with their dotted names."""
    if isinstance(nested, torch.Tensor):
        yield prefix, nested
        return
    for name, value in nested.items() if isinstance(nested, dict) else enumerate(nested):
        yield from leaves(value, f"{prefix}.{name}" if prefix else str(name))


def output(case):
    """The distribution of every position, in data units."""
    with torch.no_grad():
        return case.module(case.tokens, case.patch_size)


def test_module_statistics(case, assert_close):
    """Location and scale agree."""
    scaling = case.module.scaling(case.tokens)
    assert_close(scaling.loc, case.expected["out.loc"], "statistics")
    assert_close(scaling.scale, case.expected["out.scale"], "statistics")


def test_module_mask(case):
    """The attention mask is equal to the reference's."""
    config, ids = case.module.config, (case.tokens.sample_id, case.tokens.time_id, case.tokens.variate_id)
    make = AttentionPattern.causal if config.FAMILY == "Moirai-MoE" else AttentionPattern.same_sample
    assert torch.equal(make(*ids, head_dim=HEAD_DIM).mask[:, 0], case.expected["out.attn_mask"])


@pytest.mark.parametrize(("name", "kind"), [("encoder_in", "component"), ("encoder_out", "encoder")])
def test_module_outputs(case, assert_close, name, kind):
    """Embeddings and encoder output agree."""
    assert_close(case.seen[name], case.expected[f"out.{name}"], kind)


def test_module_layers(case, assert_close):
    """The residual stream agrees after every layer."""
    for index in range(case.module.config.num_layers):
        expected = case.expected[f"out.layer{index}"]
        largest = expected.abs().amax(-1, keepdim=True).clamp(min=1e-6)
        assert_close(case.seen[f"layer{index}"], expected, "layer", magnitude=largest)


def test_module_raw_parameters(case, assert_close):
    """Every raw parameter agrees at every position, those beyond the patch and of padding included."""
    ours = {name: raw for name, raw in case.seen.items() if name.startswith("raw.")}
    assert set(ours) == {name.removeprefix("out.") for name in case.expected if name.startswith("out.raw.")}
    for name, raw in ours.items():
        assert_close(raw, case.expected[f"out.{name}"], "encoder")


def test_module_one_patch_size(case, assert_close):
    """Rows of one sample each, with one patch size, agree with the same tokens in the packed rows."""
    ids, checked = case.tokens.sample_id, 0  # tokens
    for row, sample in itertools.product(range(len(ids)), range(1, int(ids.max()) + 1)):
        chosen = (ids[row] == sample).nonzero()[:, 0]
        if not len(chosen):
            continue
        size = int(case.patch_size[row, chosen[0]])
        row_of = {name: getattr(case.tokens, name)[row : row + 1, chosen] for name in FIELDS}
        alone = PackedTokens(**row_of | {name: row_of[name][..., :size] for name in ("target", "observed_mask")})
        with torch.no_grad():
            encoded = case.module.encode(alone, size, case.module.scaling(alone))
            for name, raw in leaves(case.module.head(encoded, size)):
                expected = case.expected[f"out.raw.{name}"][row : row + 1, chosen, :size]
                assert_close(raw, expected, "encoder")
        checked += len(chosen)
    assert checked == (ids > 0).sum()


def test_module_parameters(case, assert_close):
    """Every parameter of the scaled distribution agrees, and so do the weights of a mixture."""
    law, t = output(case).base, case.expected
    ours = {field.name: getattr(law, field.name) for field in fields(law)}
    if "components" in ours:
        assert_close(law.weights, t["out.weights"], "component")
        ours["components"] = [{f.name: getattr(one, f.name) for f in fields(one)} for one in law.components]
    ours = dict(leaves(ours))
    theirs = {name.removeprefix("out.param."): x for name, x in t.items() if name.startswith("out.param.")}
    assert set(theirs) <= set(ours)  # ours has the constants as well
    for name, parameter in theirs.items():
        assert_close(ours[name], parameter, "encoder")


def test_module_distribution(case, assert_close):
    """Log density, mean and variance in data units agree."""
    t, law = case.expected, output(case)
    level = (t["out.loc"].abs() + t["out.scale"]).clamp(min=1)
    assert_close(law.log_prob(t["in.target"]), t["out.log_prob"], "log density")
    assert_close(law.mean, t["out.mean"], "data units", magnitude=level)
    assert_close(law.variance, t["out.variance"], "variance")


def test_module_loss(case, assert_close):
    """The negative log-likelihood and its gradients agree for every parameter."""
    module, tokens = case.module, case.tokens
    density = module(tokens, case.patch_size).log_prob(tokens.target)
    counted = tokens.observed_mask & tokens.prediction_mask[..., None]
    loss = packed_mean(-density, counted, tokens.prediction_mask, tokens.sample_id, tokens.variate_id)
    check_loss(case, loss, assert_close)


def test_module_training_loss(case, assert_close):
    """The objective that looks at predicted tokens only has the same value and the same gradients.

    In the stored loss of Moirai-MoE a token describes itself.
    """
    batch = TrainingBatch(tokens=case.tokens, patch_size=case.patch_size)
    check_loss(case, likelihood_objective(case.module, batch, ahead=0), assert_close)
    if case.module.config.FAMILY == "Moirai 1.x":
        assert_close(training_loss(case.module, batch).detach(), case.expected["out.loss"], "component")


def check_loss(case, loss, assert_close):
    """A loss and its gradients are the stored ones."""
    module, t = case.module, case.expected
    assert_close(loss.detach(), t["out.loss"], "component")
    parameters = dict(module.named_parameters())
    found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    gradients = {
        name: torch.zeros_like(parameters[name]) if gradient is None else gradient
        for name, gradient in zip(parameters, found, strict=True)
    }
    assert {name.removeprefix("grad_norm.") for name in t if name.startswith("grad_norm.")} == set(gradients)
    for name, gradient in gradients.items():
        assert_close(gradient.norm(), t[f"grad_norm.{name}"], "gradient norm")
        if f"grad.{name}" in t:
            assert_close(gradient, t[f"grad.{name}"], "gradient")
