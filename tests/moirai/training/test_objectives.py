"""The loss of a batch for the three families: by formula, by change, by name, and in bfloat16."""

import pytest
import torch

from moirai.errors import ConfigError
from moirai.losses import packed_nll
from moirai.training.batch import TrainingBatch
from moirai.training.objective import median_error, quantile_objective
from moirai.training.objectives import LOSSES, find_loss, likelihood_objective, predicted_tokens, training_loss

FAMILIES = ("moirai", "moirai_moe", "moirai2")


@pytest.fixture
def any_module(make_module, make_distribution_module):
    """Make a tiny module of a family; all have patches of 4 among their sizes."""
    return lambda family: make_module() if family == "moirai2" else make_distribution_module(family)


@pytest.fixture
def batch(make_sample, pack):
    """A row of three samples of one and two variates, and padding; patches of 4."""
    row = pack(make_sample(0), make_sample(1, variates=1, tokens=7), make_sample(2, predicted=1), padding=3)
    return TrainingBatch(tokens=row, patch_size=4)


def sized(batch, module):
    """The same batch with a patch size per token, as wide as the largest size of the module."""
    wide = max(module.config.patch_sizes)
    tokens = batch.tokens
    target = torch.nn.functional.pad(tokens.target, (0, wide - 4), value=9.0)  # filler that nothing may see
    observed = torch.nn.functional.pad(tokens.observed_mask, (0, wide - 4))
    tokens = tokens.replace(target=target, observed_mask=observed)
    return TrainingBatch(tokens=tokens, patch_size=4 * (tokens.sample_id > 0).long())


def test_likelihood_by_formula(make_distribution_module, batch):
    """Moirai 1.x: the packed likelihood of the module's whole output."""
    module = make_distribution_module("moirai")
    expected = packed_nll(module(batch.tokens, 4), batch.tokens)
    torch.testing.assert_close(training_loss(module, batch), expected)


def test_next_patch_likelihood_by_formula(make_distribution_module, batch):
    """Moirai-MoE: a token is described by its left neighbour of the same variate, in units of its own scale."""
    module, tokens = make_distribution_module("moirai_moe"), batch.tokens
    law = module(tokens, 4)
    earlier = torch.arange(tokens.sample_id.shape[1]).roll(1)
    density = law.map(lambda parameter: parameter[:, earlier]).log_prob(tokens.target)
    means = []
    for sample, variate in {tuple(one) for one in torch.stack((tokens.sample_id, tokens.variate_id), -1)[0].tolist()}:
        of_group = (tokens.sample_id == sample) & (tokens.variate_id == variate) & tokens.prediction_mask
        counted = of_group[..., None] & tokens.observed_mask
        if of_group.any():
            means.append(-density[counted].mean() if counted.any() else torch.zeros(()))
    torch.testing.assert_close(training_loss(module, batch), torch.stack(means).mean())


def test_a_token_without_a_predecessor_is_not_predicted(make_sample, pack):
    """The first token of a variate, or one behind a gap in time, has no token that describes it."""
    row = pack(make_sample(0, tokens=3, predicted=3, variates=1), make_sample(1, tokens=3, predicted=3, variates=1))
    chosen = predicted_tokens(row, ahead=1, target_tokens=None)
    assert chosen.int().tolist() == [[0, 1, 1, 0, 1, 1]]
    gap = row.replace(time_id=torch.tensor([[0, 1, 2, 0, 1, 3]]))
    assert predicted_tokens(gap, ahead=1, target_tokens=5).int().tolist() == [[0, 1, 1, 0, 1, 0]]
    assert predicted_tokens(row, ahead=0, target_tokens=4).int().tolist() == [[1, 1, 1, 1, 0, 0]]


@pytest.mark.parametrize("family", ["moirai", "moirai_moe"])
def test_a_patch_size_per_token_changes_nothing(make_distribution_module, batch, family):
    """Wide rows with sizes per token cost what narrow ones of one size cost, and give the same gradients."""
    module = make_distribution_module(family)
    parameters = list(module.parameters())
    losses = [training_loss(module, one) for one in (batch, sized(batch, module))]
    torch.testing.assert_close(*losses)
    gradients = [torch.autograd.grad(loss, parameters, allow_unused=True) for loss in losses]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_stands_behind_the_target_is_only_looked_at(any_module, make_sample, family):
    """Covariates behind the target tokens cost nothing themselves, and change the loss of the target."""
    module, tokens = any_module(family), make_sample(3)
    own = TrainingBatch(tokens=tokens, patch_size=4, target_tokens=5)
    alone = TrainingBatch(tokens=tokens.select(torch.arange(5)), patch_size=4, target_tokens=5)
    both = TrainingBatch(tokens=tokens, patch_size=4)
    loss = training_loss(module, own)
    assert all(not torch.isclose(loss, training_loss(module, other)) for other in (alone, both))


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_to_predict_costs_nothing(any_module, make_sample, family):
    """A batch without a token to be predicted has loss 0, and a gradient."""
    loss = training_loss(any_module(family), TrainingBatch(tokens=make_sample(0, predicted=0), patch_size=4))
    assert loss.item() == 0
    torch.autograd.backward(loss)


@pytest.mark.parametrize("family", FAMILIES)
def test_missing_values_may_be_anything(any_module, batch, family):
    """What is predicted but not observed changes neither loss nor gradient, whatever stands there in the last patch."""
    module, tokens = any_module(family), batch.tokens
    last = (tokens.sample_id == 2) & (tokens.time_id == 6)
    missing = tokens.replace(observed_mask=tokens.observed_mask & ~last[..., None])
    huge = missing.replace(target=torch.where(last[..., None], 1e30, missing.target))
    losses = [training_loss(module, TrainingBatch(tokens=one, patch_size=4)) for one in (missing, huge)]
    assert losses[0] == losses[1]
    gradients = [torch.autograd.grad(loss, list(module.parameters()), allow_unused=True) for loss in losses]
    assert all(one is None or torch.equal(one, other) for one, other in zip(*gradients, strict=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_autocast_keeps_the_loss_in_float32(any_module, batch, family):
    """Matrix products in bfloat16 move the loss by less than a few per cent; it stays float32."""
    module = any_module(family)
    exact = training_loss(module, batch)
    with torch.autocast("cpu", torch.bfloat16):
        near = training_loss(module, batch)
    assert near.dtype == torch.float32
    torch.testing.assert_close(near, exact, rtol=0.05, atol=0.02)


def test_losses_of_the_median(tiny, batch):
    """`mae` and `mse` are the mean error of the median, which other levels have no part in."""
    predicted, target = torch.randn(3, 9, 4), torch.randn(3, 4)
    levels = torch.linspace(0.1, 0.9, 9)
    assert torch.equal(median_error(predicted, target, levels), predicted[:, 4] - target)
    for name, error in (("mae", torch.abs), ("mse", torch.square)):
        expected = quantile_objective(tiny, batch.tokens, error=lambda *given, error=error: error(median_error(*given)))
        assert training_loss(tiny, batch, name) == expected


def test_names_and_objects_mean_the_same(tiny, make_distribution_module, batch):
    """A loss is asked for by its name, as an object, or left to the family."""
    module = make_distribution_module("moirai")
    assert find_loss("default", tiny) is find_loss("quantile", tiny) is LOSSES["quantile"]
    assert find_loss("default", module) is find_loss(LOSSES["nll"], module) is LOSSES["nll"]
    assert training_loss(module, batch, "nll") == training_loss(module, batch) == likelihood_objective(module, batch)

    class Half:
        """A loss of one's own."""

        name = "half"

        def __call__(self, module, batch):
            """Half of the usual one."""
            return training_loss(module, batch) / 2

    torch.testing.assert_close(2 * training_loss(tiny, batch, Half()), training_loss(tiny, batch))


@pytest.mark.parametrize(("name", "family"), [("nll", "moirai2"), ("quantile", "moirai"), ("crps", "moirai_moe")])
def test_a_loss_of_another_family_is_refused(any_module, name, family):
    """The message names the loss, the family and the losses it has."""
    with pytest.raises(ConfigError, match=f"loss '{name}' is none of Moirai.*it has default, "):
        find_loss(name, any_module(family))
