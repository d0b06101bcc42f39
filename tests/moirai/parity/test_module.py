"""The network on packed rows against the reference."""

import pytest
import torch

from moirai.config import HEAD_DIM
from moirai.layers.attention import AttentionPattern
from moirai.losses import packed_quantile_loss
from moirai.tokens import PackedTokens

FIELDS = (
    "target",
    "observed_mask",
    "sample_id",
    "time_id",
    "variate_id",
    "prediction_mask",
)


@pytest.fixture(scope="module")
def packed(stored):
    """Expected tensors and the tokens they belong to."""
    t = stored("moirai2/module_packed").tensors
    return t, PackedTokens(**{name: t[f"in.{name}"] for name in FIELDS})


@pytest.fixture(scope="module")
def passed(reference, packed):
    """One forward: what enters the encoder, every layer, the encoder's output."""
    _, tokens = packed
    seen = {}
    watched = {"in_proj": "encoder_in", "encoder": "encoder_out"}
    watched |= {f"encoder.layers.{i}": f"layer{i}" for i in range(2)}
    handles = [
        reference.get_submodule(name).register_forward_hook(lambda *call, label=label: seen.update({label: call[-1]}))
        for name, label in watched.items()
    ]
    with torch.no_grad():
        seen["preds_infer"] = reference(tokens).flatten(2)
        seen["preds_train"] = reference.head(seen["encoder_out"]).flatten(2)
    for handle in handles:
        handle.remove()
    return seen


def test_module_statistics(reference, packed, assert_close):
    """Location, scale and scaled values agree."""
    t, tokens = packed
    scaling = reference.scaling(tokens)
    assert_close(scaling.loc, t["out.loc"], "statistics")
    assert_close(scaling.scale, t["out.scale"], "statistics")
    scaled = (tokens.target - scaling.loc) / scaling.scale
    assert_close(scaled, t["out.scaled_target"], "scaled target")


def test_module_mask(packed):
    """The attention mask is equal to the reference's."""
    t, tokens = packed
    pattern = AttentionPattern.causal(tokens.sample_id, tokens.time_id, tokens.variate_id, head_dim=HEAD_DIM)
    assert torch.equal(pattern.mask[:, 0], t["out.attn_mask"])


@pytest.mark.parametrize(
    ("name", "kind"),
    [("encoder_in", "component"), ("encoder_out", "encoder"), ("preds_train", "encoder")],
)
def test_module_outputs(packed, passed, assert_close, name, kind):
    """Embeddings, encoder output and scaled predictions agree."""
    assert_close(passed[name], packed[0][f"out.{name}"], kind)


@pytest.mark.parametrize("name", ["layer0", "layer1"])
def test_module_layers(packed, passed, assert_close, name):
    """The residual stream agrees after every layer."""
    expected = packed[0][f"out.{name}"]
    largest = expected.abs().amax(-1, keepdim=True)
    assert_close(passed[name], expected, "layer", magnitude=largest)


def test_module_predictions(packed, passed, assert_close):
    """Predictions in data units agree."""
    t, _ = packed
    level = (t["out.loc"].abs() + t["out.scale"]).clamp(min=1)
    assert_close(passed["preds_infer"], t["out.preds_infer"], "data units", magnitude=level)


def test_module_loss(reference, packed, assert_close):
    """The loss and its gradient's norm agree for every parameter."""
    t, tokens = packed
    scaling = reference.scaling(tokens)
    predicted = reference.head(reference.encode_scaled(tokens, scaling))
    levels = torch.tensor(reference.config.quantile_levels)
    scaled = (tokens.target - scaling.loc) / scaling.scale
    names = ("observed_mask", "prediction_mask", "sample_id", "variate_id")
    loss = packed_quantile_loss(predicted[:, :, 0], scaled, levels, **{name: getattr(tokens, name) for name in names})
    assert_close(loss.detach(), t["out.quantile_loss_token0"], "component")
    parameters = dict(reference.named_parameters())
    gradients = torch.autograd.grad(loss, list(parameters.values()))
    stored_norms = {name for name in t if name.startswith("grad_norm.")}
    assert stored_norms == {f"grad_norm.{name}" for name in parameters}
    for name, gradient in zip(parameters, gradients, strict=True):
        assert_close(gradient.norm(), t[f"grad_norm.{name}"], "gradient norm")
