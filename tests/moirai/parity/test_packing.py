"""Packing and the layout of training samples against the stored results of the reference: collate, transforms."""

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view

from moirai.training.packing import first_fit_decreasing, one_per_row
from moirai.training.sample_rows import training_batch
from moirai.training.sampling import Samples, Sampling
from moirai.training.sources.memory import SeriesSettings

FIELDS = ("target", "observed_mask", "time_id", "variate_id", "prediction_mask", "patch_size")
SIZES = (8, 16, 32, 64, 128)


def collated(stored, packing_of):
    """The stored samples in rows, by field, `sample_id` included."""
    tensors, meta = stored("components/collate")
    lengths = np.array(meta["lengths"])
    packing = packing_of(lengths, meta["max_length"])
    places = packing.places(lengths)
    rows = {
        name: packing.spread(np.concatenate([tensors[f"in.{k}.{name}"].numpy() for k in range(len(lengths))]), places)
        for name in FIELDS
    }
    return rows | {"sample_id": packing.spread(np.repeat(packing.number, lengths), places)}


@pytest.mark.parametrize("name", [*FIELDS, "sample_id"])
def test_first_fit_decreasing(stored, name):
    """Samples are packed into the same rows, in the same order, with the same padding."""
    expected = stored("components/collate").tensors[f"out.pack.{name}"].numpy()
    assert np.array_equal(collated(stored, first_fit_decreasing)[name], expected)


@pytest.mark.parametrize("name", [*FIELDS, "sample_id"])
def test_padding(stored, name):
    """Without packing every sample has a row of its own."""
    expected = stored("components/collate").tensors[f"out.pad.{name}"].numpy()
    assert np.array_equal(collated(stored, one_per_row)[name], expected)


def laid_out(samples, targets, past, sizes):
    """The tokens of one sample of an item, as the sampler lays them out, without packing."""
    source = SeriesSettings(targets=[targets], past=[past]).open()
    sampling = Sampling(patch_sizes=sizes)
    packing = one_per_row(samples.tokens, int(samples.tokens[0]))
    batch = training_batch([np.random.default_rng(0)], samples, packing, [source], sampling)
    tokens = {name: getattr(batch.tokens, name)[0] for name in FIELDS[:-1]} | {"sample_id": batch.tokens.sample_id[0]}
    size = batch.patch_size
    return tokens | {"patch_size": torch.full_like(tokens["time_id"], size) if isinstance(size, int) else size[0]}


def one_sample(*, patch_size, patches, predicted, hidden, start, targets, rows, variate_ids):
    """A sample of item 0 that was decided on by hand."""
    one = {"source": 0, "patch_size": patch_size, "patches": patches, "predicted": predicted, "hidden": hidden}
    one |= {"start": start, "targets": targets, "features": len(rows) - targets}
    return Samples(
        **{name: np.array([value]) for name, value in one.items()},
        record=np.zeros(len(rows), np.int64),
        row=np.array(rows),
        variate_id=np.array(variate_ids),
    )


def found_again(tensors, k):
    """What the reference drew for its sample: read off from its tokens and from where its values stand in the item."""
    out = {name: tensors[f"out.train.{k}.{name}"] for name in FIELDS}
    ids, counts = (x.numpy() for x in torch.unique_consecutive(out["variate_id"], return_counts=True))
    size, patches = int(out["patch_size"][0]), int(counts[0])
    targets = int((counts == patches).sum())  # past features are shorter
    predicted = int(out["prediction_mask"][:patches].sum())
    item = tensors[f"in.train.{k}.target"].numpy()
    if f"in.train.{k}.past_feat_dynamic_real" in tensors:
        item = np.concatenate((item, tensors[f"in.train.{k}.past_feat_dynamic_real"].numpy()))
    values = np.split(out["target"][:, :size].numpy(), np.cumsum(counts)[:-1])
    rows, starts = [], []
    for number, patch in enumerate(values):
        stretch = patch[: patches - predicted].ravel()
        is_feature = number >= targets
        windows = sliding_window_view(np.nan_to_num(item), len(stretch), axis=1)
        found = np.argwhere((windows == stretch).all(-1))
        kind = [(row, at) for row, at in found if (row >= len(tensors[f"in.train.{k}.target"])) == is_feature]
        assert len(kind) == 1
        rows.append(int(kind[0][0]))
        starts.append(int(kind[0][1]))
    assert len(set(starts)) == 1
    return {
        "patch_size": size,
        "patches": patches,
        "predicted": predicted,
        "hidden": 0,
        "start": starts[0],
        "targets": targets,
        "rows": rows,
        "variate_ids": ids.tolist(),
    }


@pytest.mark.parametrize("k", range(5))
def test_pretraining_layout(stored, k):
    """With the draws of the reference (not in their order) a pretraining sample has the same tokens."""
    tensors, _ = stored("components/transforms")
    targets = tensors[f"in.train.{k}.target"].numpy()
    past = tensors.get(f"in.train.{k}.past_feat_dynamic_real", torch.zeros(0, targets.shape[1])).numpy()
    tokens = laid_out(one_sample(**found_again(tensors, k)), targets, past, SIZES)
    for name in FIELDS:
        assert torch.equal(tokens[name], tensors[f"out.train.{k}.{name}"]), name


@pytest.mark.parametrize("part", ["train", "val"])
@pytest.mark.parametrize("k", range(3))
def test_window_layout(stored, part, k):
    """A fine-tuning window is a sample too: its context begins with steps that do not exist, its end is missing."""
    tensors, meta = stored("components/transforms")
    settings = meta[f"ft.{k}"]
    size, context, horizon = settings["patch"], settings["context"], settings["prediction"]
    targets = tensors[f"in.ft.{k}.target"].numpy()
    past = tensors.get(f"in.ft.{k}.past_feat_dynamic_real", torch.zeros(0, targets.shape[1])).numpy()
    moved = settings[f"{part}_window"] * settings[f"{part}_distance"]
    begin = moved if part == "train" else targets.shape[1] + settings["val_offset"] + moved - context
    end = begin + context + horizon
    right = np.full((len(targets), -horizon % size), np.nan, np.float32)
    predicted = -(-horizon // size)
    sample = one_sample(
        patch_size=size,
        patches=-(-context // size) + predicted,
        predicted=predicted,
        hidden=-context % size,
        start=0,
        targets=len(targets),
        rows=list(range(len(targets) + len(past))),
        variate_ids=list(range(len(targets) + len(past))),
    )
    window = np.concatenate((targets[:, begin:end], right), axis=1)
    beside = np.concatenate((past[:, begin:end], np.zeros((len(past), right.shape[1]), np.float32)), axis=1)
    tokens = laid_out(sample, window, beside, (16, 32))
    for name in (*FIELDS, "sample_id"):
        assert torch.equal(tokens[name], tensors[f"out.ft_{part}.{k}.{name}"]), name
