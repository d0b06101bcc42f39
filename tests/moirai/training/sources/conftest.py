"""Small data sets in the layout of LOTSA."""

import json

import numpy as np
import pyarrow as pa
import pytest

PAST = "past_feat_dynamic_real"


def series_type(variates):
    """Arrow type of a target or feature: a list of numbers, or a fixed number of them."""
    return pa.list_(pa.float32()) if variates is None else pa.list_(pa.list_(pa.float32()), variates)


def feature(variates):
    """The same as `dataset_info.json` says it."""
    number = {"feature": {"dtype": "float32", "_type": "Value"}, "_type": "Sequence"}
    return number if variates is None else {"feature": number, "length": variates, "_type": "Sequence"}


@pytest.fixture
def save_to_disk(tmp_path):
    """Write records as `datasets` does; each is (item_id, start in seconds, freq, target[, past feature])."""

    def save(records, *, targets=None, past=None, files=2, batch=2, name="shops"):
        folder = tmp_path / name
        folder.mkdir()
        types = {
            "item_id": pa.string(),
            "start": pa.timestamp("s"),
            "freq": pa.string(),
            "target": series_type(targets),
        }
        kinds = {"item_id": "string", "start": "timestamp[s]", "freq": "string"}
        features = {key: {"dtype": kind, "_type": "Value"} for key, kind in kinds.items()} | {
            "target": feature(targets)
        }
        if past is not None:
            types[PAST], features[PAST] = series_type(past), feature(past)
        schema = pa.schema(types).with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        rows = [dict(zip(types, record, strict=True)) for record in records]
        names = []
        for part in range(files):
            own = rows[part * len(rows) // files : (part + 1) * len(rows) // files]
            names.append(f"data-{part:05d}-of-{files:05d}.arrow")
            with pa.OSFile(str(folder / names[-1]), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
                for begin in range(0, len(own), batch):
                    writer.write_batch(pa.RecordBatch.from_pylist(own[begin : begin + batch], schema=schema))
        state = {"_data_files": [{"filename": one} for one in names], "_fingerprint": "0", "_split": "train"}
        (folder / "state.json").write_text(json.dumps(state))
        info = {"features": features, "splits": {"train": {"name": "train", "num_examples": len(rows)}}}
        (folder / "dataset_info.json").write_text(json.dumps(info))
        return folder

    return save


@pytest.fixture
def numbered():
    """Records whose values count through all of them."""

    def make(lengths, *, freq="D", start=0):
        first = np.cumsum([0, *lengths])
        return [
            (f"T{k}", start, freq, np.arange(first[k], first[k] + length, dtype=float).tolist())
            for k, length in enumerate(lengths)
        ]

    return make
