"""Single building blocks against the reference."""

import json

import numpy as np
import pytest
import torch

from moirai.forecasting.imputation import causal_mean, zero
from moirai.layers.attention import (
    AttentionPattern,
    GroupedQueryAttention,
    VariateBias,
    packed_mask,
)
from moirai.layers.feed_forward import GatedFeedForward, MixtureOfExperts
from moirai.layers.multi_size import MultiSizeFeature, MultiSizeInput, MultiSizeOutput, TokenSizes
from moirai.layers.norm import RMSNorm
from moirai.layers.patch_projection import ResidualBlock
from moirai.layers.rotary import rotary_table, rotate
from moirai.layers.scaler import standard_scale
from moirai.losses import packed_quantile_loss, pinball
from moirai.training.optimizer import warmup_cosine


def weights(tensors, prefix):
    """Parameters of the layer under test."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


@pytest.mark.parametrize(
    ("case", "settings"),
    [
        ("std", {}),
        ("std_c0_m1e3", {"correction": 0, "minimum_scale": 1e-3}),
        ("std_sample1", {}),
        ("std_default_ids", {}),
    ],
)
def test_scaler(stored, assert_close, case, settings):
    """Location and scale agree for empty, constant, single-value, large and tiny groups."""
    t = stored("components/scaler").tensors
    sample, variate = t["in.sample_id"], t["in.variate_id"]
    if case == "std_sample1":
        sample, variate = torch.ones_like(sample), torch.zeros_like(variate)
    if case == "std_default_ids":
        sample, variate = torch.zeros_like(sample), torch.zeros_like(variate)
    loc, scale = standard_scale(t["in.target"], t["in.observed_mask"], sample, variate, **settings)
    assert_close(loc, t[f"out.{case}.loc"], "statistics")
    assert_close(scale, t[f"out.{case}.scale"], "statistics")


def test_masks(stored):
    """Both attention masks are equal to the reference's."""
    t = stored("components/masks").tensors
    sample, time = t["in.sample_id"], t["in.time_id"]
    assert torch.equal(packed_mask(sample), t["out.packed"])
    assert torch.equal(packed_mask(sample, time), t["out.packed_causal"])


@pytest.mark.parametrize("side", ["query", "key"])
@pytest.mark.parametrize(("case", "width"), [("out.", 32), ("out.full.", 64)])
def test_rotary(stored, assert_close, side, case, width):
    """Half and whole heads are rotated alike, also beyond the reference's first table."""
    t = stored("components/rotary").tensors
    ids = t[f"in.{side}_time_id"][:, 0, 0]
    rotated = rotate(t[f"in.{side}"].flatten(1, 2), *rotary_table(ids, width))
    assert_close(rotated.view_as(t[f"in.{side}"]), t[case + side], "component")


@pytest.mark.parametrize("case", ["packed", "causal"])
@pytest.mark.parametrize("name", ["attention", "attention_linear_bias"])
def test_attention(stored, assert_close, name, case):
    """A whole layer agrees: fewer groups than heads, norms, half rotary, variate bias, both masks."""
    t, meta = stored(f"components/{name}")
    layer = GroupedQueryAttention(meta["dim"], meta["num_heads"], num_groups=meta["num_groups"], bias=meta["bias"])
    layer.load_state_dict(weights(t, "w."))
    variate, time = t["in.var_id"], t["in.time_id"]
    pattern = AttentionPattern(
        packed_mask(t["in.sample_id"], time if case == "causal" else None)[:, None],
        (variate[:, :, None] == variate[:, None, :])[:, None],
        *rotary_table(time, layer.head_dim // 2),
    )
    assert_close(layer(t["in.x"], pattern), t[f"out.{case}"], "component")


def test_attention_bias(stored, assert_close):
    """The variate bias has the reference's head order and meaning of rows."""
    t, meta = stored("components/attention_bias")
    bias = VariateBias(meta["num_heads"])
    bias.load_state_dict(weights(t, "w."))
    query, key = t["in.query_id"][:, 0, 0], t["in.kv_id"][:, 0, 0]
    same = (query[:, :, None] == key[:, None, :])[:, None]
    assert_close(bias(same), t["out.bias"].flatten(1, 2), "component")


def test_rmsnorm(stored, assert_close):
    """The norm agrees."""
    t = stored("components/rmsnorm").tensors
    norm = RMSNorm(24)
    norm.load_state_dict(weights(t, "w."))
    assert_close(norm(t["in.x"]), t["out.y"], "component")


@pytest.mark.parametrize(("case", "hidden", "bias"), [("glu", 64, False), ("glu_h20_bias", 20, True)])
def test_ffn(stored, assert_close, case, hidden, bias):
    """The gated feed-forward agrees, with and without biases."""
    t = stored("components/ffn").tensors
    layer = GatedFeedForward(24, hidden, bias=bias)
    layer.load_state_dict(weights(t, f"w.{case}."))
    assert_close(layer(t["in.x"]), t[f"out.{case}"], "component")


def test_moe_ffn(stored, assert_close):
    """The mixture of experts chooses, weighs and computes as the reference does."""
    t, meta = stored("components/moe_ffn")
    centroid = t["w.centroid"].double()
    layer = MixtureOfExperts(24, 16, num_experts=meta["experts"], top_k=meta["top_k"])
    layer.load_state_dict({name: x for name, x in weights(t, "w.").items() if name != "centroid"})
    selected, gates = layer.route(t["in.x"].flatten(0, 1), centroid)
    assert torch.equal(selected, t["out.selected"])
    assert_close(gates, t["out.gates"], "component")
    assert_close(torch.cdist(t["in.x"].flatten(0, 1), centroid.float()), t["out.distances"], "component")
    assert_close(layer(t["in.x"], centroid), t["out.y"], "component")


def test_ts_embed(stored, assert_close):
    """The residual block agrees."""
    t = stored("components/ts_embed").tensors
    block = ResidualBlock(24, 18, 11)
    block.load_state_dict(weights(t, "w.res."))
    assert_close(block(t["in.features"]), t["out.res"], "component")


@pytest.mark.parametrize(
    ("case", "make", "given"),
    [
        ("in", lambda sizes: MultiSizeInput(sizes, 24), "patches"),
        ("in_nobias", lambda sizes: MultiSizeInput(sizes, 24, bias=False), "patches"),
        ("feat", lambda sizes: MultiSizeFeature(sizes, 24), "features"),
        ("out_dim1", lambda sizes: MultiSizeOutput(sizes, 24), "features"),
        ("out_dim3", lambda sizes: MultiSizeOutput(sizes, 24, 3), "features"),
    ],
)
def test_ts_embed_multi_size(stored, assert_close, case, make, given):
    """Every projection with a slab per patch size agrees, tokens without a size included."""
    t, meta = stored("components/ts_embed")
    layer = make(meta["sizes"])
    layer.load_state_dict(weights(t, f"w.{case}."))
    projected = layer(t[f"in.{given}"], TokenSizes.of(t["in.patch_size"], meta["sizes"]))
    if case.startswith("out"):
        projected = projected.transpose(-1, -2).flatten(-2)
    assert_close(projected, t[f"out.{case}"], "component")


def test_losses(stored, assert_close):
    """The packed quantile loss agrees, element by element and reduced."""
    t, meta = stored("components/losses")
    levels = torch.tensor(meta["quantile_levels"])
    predicted = t["in.quantile_pred"].unflatten(-1, (len(levels), -1))
    names = ("observed_mask", "prediction_mask", "sample_id", "variate_id")
    loss = packed_quantile_loss(predicted, t["in.target"], levels, **{name: t[f"in.{name}"] for name in names})
    elements = pinball(predicted, t["in.target"], levels)
    assert_close(elements, t["out_elem.quantile_mae"], "component")
    assert_close(loss, t["out.quantile_mae"], "component")


@pytest.mark.parametrize("series", ["mid", "leading", "all_missing"])
@pytest.mark.parametrize(("method", "fill"), [("causal_mean", causal_mean), ("dummy", zero)])
def test_imputation(stored, assert_close, series, method, fill):
    """Missing values are filled as the reference's forecast transforms fill them."""
    t = stored("components/imputation").tensors
    filled = torch.from_numpy(fill(t[f"in.{series}"].numpy()[None])[0])
    assert_close(filled, t[f"out.gluonts_{method}.{series}"], "component")


def test_optim_schedule(parity, assert_close):
    """The learning rate follows the reference's warm-up and cosine at every step, and past the end."""
    table = json.loads((parity / "components/optim.json").read_text(encoding="utf-8"))
    multiplier = warmup_cosine(table["args"]["num_warmup_steps"], table["args"]["num_training_steps"])
    expected = np.array(table["schedules_lr1"]["cosine_with_restarts"])
    actual = np.array([multiplier(step) for step in range(len(expected))])
    assert_close(torch.from_numpy(actual), torch.from_numpy(expected), "schedule")
