"""Pretraining batches: the same whoever makes them, full, and laid out as the families need them."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from moirai.config import Moirai2Config, MoiraiConfig, MoiraiMoEConfig
from moirai.errors import ConfigError, DataError
from moirai.tokens import PackedTokens
from moirai.training.data import PretrainData, PretrainDataSettings, WeightedSource, sampling_for
from moirai.training.sampling import Sampling
from moirai.training.sources.memory import SeriesSettings
from moirai.training.sources.synthetic import SyntheticSettings

MOIRAI = MoiraiConfig(d_model=64, num_layers=1, max_seq_len=64)
MOE = MoiraiMoEConfig(d_model=64, num_layers=1, max_seq_len=64, d_ff=16)
MOIRAI2 = Moirai2Config(d_model=64, num_layers=1, max_seq_len=64, d_ff=16, patch_size=16)
SHORT = SyntheticSettings(lengths=(32, 48, 64, 128, 256, 512))


def waves(items=6, *, targets=2, past=1, length=300, missing=0.1, seed=0):
    """Items whose every value is there once: a value tells where it comes from."""
    rng = np.random.default_rng(seed)
    values = np.arange(items * (targets + past) * length, dtype=np.float32).reshape(items, targets + past, length)
    values[rng.random(values.shape) < missing] = np.nan
    return SeriesSettings(targets=list(values[:, :targets]), past=list(values[:, targets:]), freq="D", name="waves")


def data_of(config=MOIRAI2, *sources, rows=4, steps=40, seed=0, **changes):
    """Batches of a family from these sources, synthetic ones where none are given."""
    weighted = tuple(WeightedSource(source=one) for one in sources or (SHORT,))
    sampling = sampling_for(config, **changes)
    return PretrainData(PretrainDataSettings(steps=steps, rows=rows, sampling=sampling, sources=weighted, seed=seed))


def same(one, other):
    """Whether two batches are equal in every field."""
    tokens = all(torch.equal(getattr(one.tokens, f.name), getattr(other.tokens, f.name)) for f in fields(PackedTokens))
    sizes = torch.equal(torch.as_tensor(one.patch_size), torch.as_tensor(other.patch_size))
    return tokens and sizes and one.item_ids == other.item_ids


@pytest.mark.parametrize("config", [MOIRAI, MOE, MOIRAI2], ids=lambda one: one.FAMILY)
def test_batch_depends_on_its_number_alone(config):
    """Asked for in another order, or by a run that begins there, a batch is the same; another number, another batch."""
    data, again = data_of(config, SHORT, waves()), data_of(config, SHORT, waves())
    batches = [data[n] for n in range(6)]
    assert all(same(again[n], batches[n]) for n in (5, 0, 3))
    assert not same(batches[0], batches[1])
    assert not same(data_of(config, SHORT, waves(), seed=1)[0], batches[0])


def test_workers_change_nothing():
    """Two worker processes hand out the batches that one process makes."""
    data = data_of(MOIRAI, SHORT, waves(), steps=4)
    alone, together = (
        list(DataLoader(data, batch_size=None, num_workers=workers, multiprocessing_context=context))
        for workers, context in ((0, None), (2, "spawn"))
    )
    assert len(alone) == 4
    assert all(same(one, other) for one, other in zip(alone, together, strict=True))


def test_batches_end_with_the_run():
    """There are as many as the run has steps."""
    data = data_of(steps=3)
    assert len(data) == 3
    assert len(list(data)) == 3
    with pytest.raises(IndexError):
        data[3]


@pytest.mark.parametrize("rows", [1, 4, 33])
@pytest.mark.parametrize("config", [MOIRAI, MOIRAI2], ids=lambda one: one.FAMILY)
def test_batches_are_full(config, rows):
    """Over 95 % of the tokens are no padding, in small batches as well; no row is empty."""
    data = data_of(config, SHORT, waves(), rows=rows)
    batches = [data[n] for n in range(24)]
    assert np.mean([one.fill for one in batches]) > 0.95
    assert all((one.tokens.sample_id > 0).any(1).all() for one in batches)


@pytest.mark.parametrize("config", [MOIRAI, MOE, MOIRAI2], ids=lambda one: one.FAMILY)
def test_samples_are_whole(config):
    """Every sample of every row: variates are runs of rising time, predicted at the end, features not at all."""
    data = data_of(config, waves(targets=3, past=2))
    batch = data[0]
    tokens = batch.tokens
    widest = max(config.patch_sizes) if isinstance(config, MoiraiConfig) else 16
    assert tokens.target.shape == (4, 64, widest)
    for row, names in enumerate(batch.item_ids):
        ids = tokens.sample_id[row]
        assert set(ids.tolist()) - {0} == set(range(1, len(names) + 1))
        for number in range(1, len(names) + 1):
            own = ids == number
            variate, time, predicted = (
                x[row][own] for x in (tokens.variate_id, tokens.time_id, tokens.prediction_mask)
            )
            kinds = set()
            context = None
            for one in torch.unique(variate):
                run = variate == one
                assert time[run].tolist() == list(range(int(run.sum())))
                assert (predicted[run].diff().int() >= 0).all()
                unpredicted = int((~predicted[run]).sum())
                context = unpredicted if context is None else context
                assert unpredicted == context > 0
                kinds.add(bool(predicted[run].any()))
            assert True in kinds


def test_values_are_those_of_the_source():
    """A value that counts as observed stands in the item that is named, and steps follow one another."""
    source = waves(missing=0.2)
    data = data_of(MOIRAI, source)
    batch = data[2]
    tokens, sizes = batch.tokens, batch.patch_size
    for row, names in enumerate(batch.item_ids):
        for number, name in enumerate(names, 1):
            own = tokens.sample_id[row] == number
            item = int(name.removeprefix("waves/"))
            values = tokens.target[row][own][tokens.observed_mask[row][own]]
            assert ((values >= item * 900) & (values < (item + 1) * 900)).all()
            size = int(sizes[row][own][0])
            assert size in {16, 32}
            assert (sizes[row][own] == size).all()
            patches, seen = tokens.target[row][own][:, :size], tokens.observed_mask[row][own]
            steps = patches - torch.arange(size)
            firsts = [one[mask[:size]] for one, mask in zip(steps, seen, strict=True)]
            assert all((one == one[0]).all() for one in firsts if len(one))
            assert not seen[:, size:].any()


def test_missing_values_are_zero_for_moirai():
    """Moirai 1.x stands on 0 where a value is missing, and nothing else is unobserved inside a patch."""
    tokens = data_of(MOIRAI, waves(missing=0.3))[0].tokens
    assert (tokens.target[~tokens.observed_mask] == 0).all()


@pytest.mark.parametrize("config", [MOE, MOIRAI2], ids=lambda one: one.FAMILY)
def test_causal_models_fill_from_before(config):
    """The filler of a single target lies between the values before it; steps before the series are 0."""
    source = waves(targets=1, past=0, missing=0.2)
    tokens = data_of(config, source)[0].tokens
    begins = 0
    for row in range(4):
        ids = tokens.sample_id[row]
        for number in range(1, int(ids.max()) + 1):
            values = tokens.target[row][ids == number].ravel()
            seen = tokens.observed_mask[row][ids == number].ravel()
            hidden = int((values[: int(seen.int().argmax())] == 0).sum())
            begins += hidden > 0
            series, known = values[hidden:], seen[hidden:]
            for step in torch.nonzero(~known).ravel().tolist():
                if known[:step].any():
                    assert series[:step][known[:step]].min() <= series[step] <= series[:step].max()
    assert begins > 4


def test_statistics_of_moirai2_come_from_a_varying_part():
    """Between 30 and 90 % of the patches are context."""
    tokens = data_of(MOIRAI2, SyntheticSettings(lengths=(1024,)), rows=64, steps=1)[0].tokens
    share = (~tokens.prediction_mask).float().mean(1)
    assert 0.28 < share.min() < 0.4
    assert 0.8 < share.max() < 0.92


def test_weights_decide_how_often_a_source_is_drawn():
    """Three times the weight, three times the samples."""
    sources = (WeightedSource(source=SHORT, weight=3.0), WeightedSource(source=replace(SHORT, name="rare"), weight=1.0))
    settings = PretrainDataSettings(steps=8, rows=64, sampling=sampling_for(MOIRAI2), sources=sources)
    data = PretrainData(settings)
    names = [name for n in range(8) for row in data[n].item_ids for name in row]
    rare = np.mean([name.startswith("rare/") for name in names])
    assert abs(rare - 0.25) < 4 * (0.25 * 0.75 / len(names)) ** 0.5


def test_infinite_values_are_named():
    """Source and item stand in the message."""
    broken = waves(missing=0.0)
    broken.targets[3][1, 40:] = np.inf
    data = data_of(MOIRAI, broken)
    with pytest.raises(DataError, match="source waves: item '3' holds an infinite value"):
        list(data)


def test_items_too_short_are_said():
    """Where no item has two patches the message says how long they must be."""
    with pytest.raises(DataError, match=r"sources waves: .* at least 32 steps"):
        data_of(MOIRAI2, waves(length=20))[0]


@pytest.mark.parametrize("change", [{"steps": 0}, {"rows": 0}, {"sources": ()}])
def test_impossible_settings_are_said(change):
    """The message names the setting."""
    given = {"steps": 1, "rows": 1, "sampling": Sampling(patch_sizes=(8,))} | change
    with pytest.raises(ConfigError, match=next(iter(change))):
        PretrainDataSettings(**given)
