"""The training objective: what counts, what is seen, by hand and by change."""

import pytest
import torch

from moirai.losses import pinball
from moirai.training.objective import TARGET_CLIP, counted_origins, next_patches, quantile_objective


@pytest.fixture
def sample(make_sample):
    """Two variates of six tokens, the last three of each to be predicted; everything observed."""
    made = make_sample(0, tokens=6, variates=2, predicted=3)
    return made.replace(observed_mask=torch.ones_like(made.observed_mask))


def test_origins_by_hand(sample):
    """Origins are the last context token and every predicted token but the last, in each variate."""
    assert counted_origins(sample).int().tolist() == [[0, 0, 1, 1, 1, 0] * 2]


def test_next_patches_by_hand(sample):
    """Entry k of an origin is the patch k + 1 steps later, where there is one of the same variate."""
    values = torch.arange(12.0)[None, :, None].expand(-1, -1, 4)
    following, counted = next_patches(values, sample, 2)
    assert counted[0, :, :, 0].int().tolist() == [[0, 0], [0, 0], [1, 1], [1, 1], [1, 0], [0, 0]] * 2
    assert following[0, 2, :, 0].tolist() == [3, 4]
    assert following[0, 10, 0, 0] == 11


def test_samples_and_padding_are_borders(make_sample, pack):
    """Nothing is predicted across samples, nor from or into padding."""
    row = pack(make_sample(0, variates=1, tokens=3), make_sample(1, variates=1, tokens=3), padding=2)
    assert counted_origins(row).int().tolist() == [[1, 1, 0, 1, 1, 0, 0, 0]]
    _, counted = next_patches(row.target, row.replace(observed_mask=torch.ones_like(row.observed_mask)), 3)
    assert counted[0, :, :, 0].int().tolist() == [[1, 1, 0], [1, 0, 0], [0] * 3] * 2 + [[0] * 3] * 2


@pytest.mark.parametrize(
    ("times", "predicted", "expected"),
    [
        ([0, 1, 2, 3, 4, 5], [0, 0, 1, 0, 1, 1], [[0, 0], [1, 0], [0, 0], [1, 1], [1, 0], [0, 0]]),
        ([0, 1, 2, 5, 6, 7], [0, 0, 1, 1, 1, 1], [[0, 0], [1, 0], [0, 0], [1, 1], [1, 0], [0, 0]]),
        ([0, 1, 2, 3, 4, 5], [1, 1, 1, 1, 1, 1], [[1, 1], [1, 1], [1, 1], [1, 1], [1, 0], [0, 0]]),
    ],
    ids=["known in between", "gap in time", "no context"],
)
def test_borders_inside_a_variate(sample, times, predicted, expected):
    """Only patches to be predicted count, at their distance in time, and never those of the next variate."""
    tokens = sample.replace(
        time_id=torch.tensor([times * 2]), prediction_mask=torch.tensor([predicted * 2], dtype=torch.bool)
    )
    _, counted = next_patches(tokens.target, tokens, 2)
    assert counted[0, :, :, 0].int().tolist() == expected * 2
    assert counted_origins(tokens)[0, [5, 11]].tolist() == [False, False]


def test_more_ahead_than_tokens(sample):
    """A model may look further ahead than a row is long."""
    following, counted = next_patches(sample.target, sample, 40)
    assert following.shape == (1, 12, 40, 4)
    assert not counted[:, :, 11:].any()


def test_by_formula(tiny, sample):
    """The objective is the mean, over variates, of the mean pinball loss of observed predictions."""
    tokens = sample.replace(observed_mask=torch.rand(1, 12, 4) < 0.7)
    scaling = tiny.scaling(tokens)
    scaled = (tokens.target - scaling.loc) / scaling.scale
    predicted = tiny.head(tiny.encode_scaled(tokens, scaling))
    levels = torch.tensor(tiny.config.quantile_levels)
    means = []
    for variate in range(2):
        losses = []
        for origin in range(6 * variate + 2, 6 * variate + 5):
            for ahead in range(min(2, 6 * variate + 5 - origin)):
                place = origin + ahead + 1
                one = pinball(predicted[0, origin, ahead], scaled[0, place], levels)
                losses.append(one[tokens.observed_mask[0, place]])
        means.append(torch.cat(losses).mean())
    torch.testing.assert_close(quantile_objective(tiny, tokens), torch.stack(means).mean())


def test_loss_sees_observed_predictions_only(tiny, sample):
    """The last patch is nobody's input: where it is missing it changes nothing, where it is observed it does."""
    last = sample.time_id == 5
    jump = torch.where(last[..., None], sample.target + 2, sample.target)
    missing = sample.observed_mask & ~last[..., None]
    loss = quantile_objective(tiny, sample)
    assert quantile_objective(tiny, sample.replace(target=jump)) != loss
    gone = quantile_objective(tiny, sample.replace(observed_mask=missing))
    assert quantile_objective(tiny, sample.replace(target=jump, observed_mask=missing)) == gone


@pytest.mark.parametrize("first", [3, 4, 5])
def test_no_leakage(tiny, sample, first):
    """Changed values from a predicted patch on change no statistic and no prediction made before it."""
    later = sample.time_id >= first
    changed = sample.replace(target=torch.where(later[..., None], sample.target * 7 - 3, sample.target))
    scalings = [tiny.scaling(tokens) for tokens in (sample, changed)]
    assert torch.equal(scalings[0].loc, scalings[1].loc)
    assert torch.equal(scalings[0].scale, scalings[1].scale)
    with torch.no_grad():
        before, after = (tiny.encode_scaled(t, s) for t, s in zip((sample, changed), scalings, strict=True))
    assert torch.equal(before[~later], after[~later])
    assert not torch.allclose(before[later], after[later])


def test_jumps_are_clipped(tiny, sample):
    """A last patch beyond the limit costs what one at the limit costs."""
    last = (sample.time_id == 5)[..., None]
    scaling = tiny.scaling(sample)
    limit = scaling.loc + TARGET_CLIP * scaling.scale
    losses = [
        quantile_objective(tiny, sample.replace(target=torch.where(last, factor * limit, sample.target)))
        for factor in (1.0, 50.0)
    ]
    torch.testing.assert_close(losses[0], losses[1])


def test_packing_weighs_variates_alike(tiny, make_sample, pack):
    """The loss of a packed row is the mean over its variates of what each costs alone."""
    samples = [make_sample(seed, tokens=4 + seed, variates=1) for seed in range(3)]
    alone = torch.stack([quantile_objective(tiny, one) for one in samples]).mean()
    torch.testing.assert_close(quantile_objective(tiny, pack(*samples, padding=3)), alone, rtol=1e-4, atol=1e-5)


def test_what_stands_behind_the_target_is_only_looked_at(tiny, sample):
    """Covariates cost nothing themselves and change the loss of the target; without them nothing changes."""
    alone = sample.select(torch.arange(6))
    assert quantile_objective(tiny, alone, target_tokens=6) == quantile_objective(tiny, alone)
    loss = quantile_objective(tiny, sample, target_tokens=6)
    others = [quantile_objective(tiny, sample), quantile_objective(tiny, alone)]
    assert all(not torch.isclose(loss, other) for other in others)
    last = (sample.time_id == 5) & (sample.variate_id == 1)
    moved = sample.replace(target=torch.where(last[..., None], sample.target + 2, sample.target))
    torch.testing.assert_close(quantile_objective(tiny, moved, target_tokens=6), loss)
