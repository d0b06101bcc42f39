"""What becomes of drawn items: sizes, stretches, variates and masked parts keep to the specification's limits."""

import numpy as np
import pytest

from moirai.errors import ConfigError
from moirai.training.sampling import Sampling, admissible, decide
from moirai.training.sources.memory import SeriesSettings
from moirai.training.sources.source import Drawn

SIZES = (8, 16, 32, 64, 128)


def items(lengths, *, targets=1, past=0):
    """Items of these lengths, as a source would draw them."""
    return SeriesSettings(
        targets=[np.zeros((targets, length), np.float32) for length in lengths],
        past=[np.zeros((past, length), np.float32) for length in lengths],
        choice="uniform",
    ).open()


def decided(lengths, sampling, *, count=2000, freq=None, whole=False, seed=0, **dims):
    """Samples of random items, and the items."""
    rng = np.random.default_rng(seed)
    drawn = items(lengths, **dims).draw(rng, count)
    allowed = admissible((freq,), sampling.patch_sizes, "series")
    samples, kept = decide(rng, drawn, sampling, allowed=allowed, whole=whole)
    return samples, drawn, kept


@pytest.mark.parametrize(
    ("freq", "sizes"),
    [
        ("h", {32, 64}),
        ("15min", {32, 64, 128}),
        ("D", {16, 32}),
        ("M", {8, 16, 32}),
        ("Q", {8}),
        ("10S", {64, 128}),
        (None, set(SIZES)),
    ],
)
def test_patch_sizes_suit_the_frequency(freq, sizes):
    """All sizes of the frequency's range are drawn, about equally often, and no others."""
    samples, _, _ = decided([1000], Sampling(patch_sizes=SIZES), freq=freq)
    drawn, counts = np.unique(samples.patch_size, return_counts=True)
    assert set(drawn.tolist()) == sizes
    assert counts.min() > 0.8 * len(samples) / len(sizes)


def test_short_items_get_small_patches_or_are_passed_over():
    """A size leaves at least two patches; of an item too short for the smallest nothing is made."""
    samples, drawn, kept = decided([10, 20, 50], Sampling(patch_sizes=SIZES))
    assert set(drawn.length[kept].tolist()) == {20, 50}
    assert (samples.patch_size * 2 <= drawn.length[kept]).all()
    assert 0.6 < len(kept) / len(drawn.length) < 0.75


def test_no_size_for_a_frequency_is_said():
    """The message names source, frequency and sizes."""
    with pytest.raises(ConfigError, match=r"source shop: none of the patch sizes \(64, 128\) suits .* 'YS'"):
        admissible(("YS",), (64, 128), "shop")
    with pytest.raises(ConfigError, match="source shop: 'often' is no frequency"):
        admissible(("often",), (64, 128), "shop")


def test_a_single_size_is_for_every_frequency():
    """Moirai 2.0 has one size, whatever the clock says."""
    assert admissible(("YS", None, "10s"), (16,), "shop").all()


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_stretches_lie_inside_their_items(partial, whole):
    """Start and end are steps of the item; at most a row of tokens; whole patches but for the first one."""
    sampling = Sampling(patch_sizes=(8, 16), max_tokens=24, partial_first_patch=partial)
    samples, drawn, kept = decided([17, 40, 203, 1000], sampling, whole=whole)
    steps = samples.patches * samples.patch_size - samples.hidden
    assert (samples.start >= 0).all()
    assert (samples.start + steps <= drawn.length[kept]).all()
    assert samples.patches.min() >= 2
    assert samples.tokens.max() <= 24
    assert (samples.hidden < samples.patch_size).all()
    assert (samples.hidden.max() > 0) == partial
    if whole:
        most = np.minimum(24, drawn.length[kept] // samples.patch_size)
        assert (samples.patches >= most).all()
    else:
        assert set(range(2, 25)) <= set(samples.patches.tolist())


def test_every_step_of_an_item_is_reached():
    """Random offsets: both the first and the last step of a series whose length is no multiple of the size are used."""
    samples, drawn, _ = decided([37], Sampling(patch_sizes=(8,)))
    assert samples.start.min() == 0
    assert (samples.start + samples.patches * 8).max() == 37
    assert len(drawn.length) == len(samples)


def test_masked_part():
    """Between the smallest and the largest share of the patches, at least one, and never all."""
    samples, _, _ = decided([16, 4000], Sampling(patch_sizes=(8,)))
    share = samples.predicted / samples.patches
    assert samples.predicted.min() == 1
    assert (samples.predicted < samples.patches).all()
    many = samples.patches >= 50
    assert share[many].min() >= 0.14
    assert share[many].max() <= 0.51
    assert np.isclose(share[many].mean(), 0.325, atol=0.02)


def test_variates_are_chosen_without_repetition():
    """Between one and all targets and features; each in the sample once; ids differ and lie below the limit."""
    samples, _, _ = decided([400], Sampling(patch_sizes=(8,), max_tokens=64, max_dim=20), targets=5, past=3, count=300)
    assert set(samples.targets.tolist()) == {1, 2, 3, 4, 5}
    assert set(samples.features.tolist()) == {1, 2, 3}
    assert samples.tokens.max() <= 64
    first = np.cumsum(samples.variates)[:-1]
    targets = samples.is_target
    assert (samples.row[targets] < 5).all()
    assert (samples.row[~targets] >= 5).all()
    for rows, ids in zip(np.split(samples.row, first), np.split(samples.variate_id, first), strict=True):
        assert len(set(rows.tolist())) == len(rows)
        assert len(set(ids.tolist())) == len(ids)
        assert ids.max() < 20
    assert np.bincount(samples.row, minlength=8).min() > 50


@pytest.mark.parametrize(("max_dim", "targets", "features"), [(1, 1, 0), (4, 3, 1), (128, 6, 2)])
def test_most_variates_are_shared_out(max_dim, targets, features):
    """Each kind gets its part of the room for variates, rounded down; a target there is always."""
    samples, _, _ = decided([400], Sampling(patch_sizes=(8,), max_dim=max_dim), targets=6, past=2)
    assert samples.targets.max() == targets
    assert samples.features.max() == features


def test_many_variates_leave_room_for_two_patches():
    """A sample is never longer than a row, however many variates its item has."""
    samples, _, _ = decided([400], Sampling(patch_sizes=(8,), max_tokens=16), targets=100, count=200)
    assert samples.targets.max() == 8
    assert samples.tokens.max() <= 16


def test_selection_keeps_samples_together():
    """Chosen samples carry their variates along, in the order of choice."""
    samples, _, _ = decided([400], Sampling(patch_sizes=(8,)), targets=4, count=20)
    chosen = samples.select(np.array([7, 3]))
    assert chosen.targets.tolist() == samples.targets[[7, 3]].tolist()
    parts = np.split(samples.row, np.cumsum(samples.variates)[:-1])
    assert chosen.row.tolist() == [*parts[7], *parts[3]]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"predicted_share": (0.5, 0.2)}, "predicted_share"),
        ({"min_patches": 1}, "min_patches"),
        ({"max_dim": 0}, "max_dim"),
        ({"patch_sizes": ()}, "patch_sizes"),
    ],
)
def test_impossible_settings_are_said(settings, words):
    """The message names the setting."""
    with pytest.raises(ConfigError, match=words):
        Sampling(**({"patch_sizes": (8,)} | settings))


def test_items_of_a_source_in_one_piece():
    """`of_items` lists the variates of the drawn items, targets first."""
    one = np.array([1, 1])
    drawn = Drawn.of_items(
        np.array([1, 0]), length=np.array([5, 9]), freq=0 * one, target_dim=np.array([1, 2]), past_dim=one
    )
    assert drawn.length.tolist() == [9, 5]
    assert drawn.record.tolist() == [1, 1, 1, 0, 0]
    assert drawn.row.tolist() == [0, 1, 2, 0, 1]
