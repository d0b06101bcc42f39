"""The pretraining file: what it holds, what it becomes, and what is said of a wrong one."""

from pathlib import Path

import pytest
import yaml

from tasks.errors import JobError
from tasks.pretraining import Pretraining, load_pretraining

DEPLOYMENTS = Path(__file__).parents[2] / "deployments"
SETTINGS = {
    "name": "small",
    "architecture": {"family": "moirai2", "d_model": 64, "num_layers": 1},
    "run": {"steps": 5},
}


@pytest.fixture
def write(tmp_path):
    """Write a file of the settings with some blocks changed; returns its path."""

    def write(**changes):
        settings = {name: dict(value) if isinstance(value, dict) else value for name, value in SETTINGS.items()}
        for name, value in changes.items():
            settings[name] = settings.get(name, {}) | value if isinstance(value, dict) else value
        path = tmp_path / "pretrain.yaml"
        path.write_text(yaml.safe_dump(settings), encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("path", sorted(DEPLOYMENTS.glob("pretrain-*.yaml")), ids=lambda path: path.stem)
def test_committed_files_make_a_run(path):
    """Every file in deployments/ gives an architecture, data and settings that the library takes."""
    from moirai.training.plain_run import make_run  # noqa: PLC0415 - the import hook of the suite comes first

    settings = load_pretraining(path)
    run = make_run(settings.plain())
    assert {"moirai": "Moirai 1.x", "moirai_moe": "Moirai-MoE", "moirai2": "Moirai 2.0"}[
        settings.architecture.family
    ] == run.config.FAMILY
    assert len(run.data) == run.settings.steps == settings.run.steps


@pytest.mark.parametrize("name", ["pretrain-tiny-moirai1", "pretrain-tiny-moe"])
def test_committed_files_make_full_rows(name):
    """The batches of the small ones are of the model's row length, with little padding."""
    from moirai.training.plain_run import make_run  # noqa: PLC0415 - see above

    settings = load_pretraining(DEPLOYMENTS / f"{name}.yaml")
    batch = make_run(settings.plain()).data[0]
    assert batch.tokens.sample_id.shape == (settings.data.rows, settings.architecture.max_seq_len)
    assert batch.fill > 0.95


def test_defaults_live_in_one_place(write):
    """What the file leaves out is what the settings say; paths start at its folder."""
    path = write(data={"rows": 3, "sources": [{"kind": "panel", "path": "panel.parquet", "weight": 2}]}, out="made")
    settings = load_pretraining(path)
    plain = settings.plain()
    folder = path.parent.resolve()
    assert plain["architecture"]["d_ff"] == 176
    assert plain["architecture"]["patch_size"] == 16
    assert plain["data"]["sources"] == [
        {
            "kind": "panel",
            "weight": 2.0,
            "path": str(folder / "panel.parquet"),
            "past": [],
            "end_share": 0.0,
            "choice": "proportional",
            "name": "panel",
        }
    ]
    assert plain["settings"]["optimizer"] == "adamw"
    assert plain["settings"]["steps"] == 5
    assert plain["out"] == str(folder / "made")
    assert plain["state"] == str(folder / "moirai-work/pretraining/small")
    assert load_pretraining(write()).out_path == folder / "moirai-work/pretrained/small"


def test_sources_of_sources_reach_the_library(write):
    """A mixture of a data set's series is made of the settings of both, paths resolved."""
    inner = {"kind": "lotsa", "path": "lotsa/one", "items": "whole"}
    path = write(data={"sources": [{"kind": "mixed", "source": inner, "most": 2, "weight": 0.5}]})
    (plain,) = load_pretraining(path).plain()["data"]["sources"]
    folder = str(path.parent.resolve() / "lotsa/one")
    kept = {"kind": "lotsa", "path": folder, "end_share": 0.0, "choice": "proportional"}
    assert plain.pop("source") == kept | {"whole": True, "stacked": False}
    assert plain == {"kind": "mixed", "weight": 0.5, "most": 2, "concentration": 1.5, "name": "mixed"}
    path = write(data={"sources": [{"kind": "mixed", "source": {"kind": "lotsa"}}]})
    with pytest.raises(JobError, match=r"source 1 \(mixed\): source: it \(lotsa\): path: Field required"):
        load_pretraining(path)


def test_the_library_knows_every_setting():
    """The blocks of the file and the library's settings have the same names and the same choices."""
    from dataclasses import fields  # noqa: PLC0415 - see above
    from typing import get_args  # noqa: PLC0415

    from moirai.training.objectives import LOSSES  # noqa: PLC0415
    from moirai.training.optimizer import OPTIMIZERS, SCHEDULES  # noqa: PLC0415
    from moirai.training.plain_run import SOURCES, source_settings  # noqa: PLC0415
    from moirai.training.pretrain import PretrainSettings  # noqa: PLC0415
    from tasks.pretraining.data import KINDS  # noqa: PLC0415
    from tasks.pretraining.run import Optimizer, Run, Schedule  # noqa: PLC0415

    given = Pretraining.model_validate(SETTINGS).plain()["settings"]
    assert set(given) == {field.name for field in fields(PretrainSettings)}
    assert set(get_args(Schedule)) == set(SCHEDULES)
    assert set(get_args(Optimizer.model_fields["name"].annotation)) == set(OPTIMIZERS)
    assert set(get_args(Run.model_fields["loss"].annotation)) == {"default", *LOSSES}
    assert set(KINDS) == set(SOURCES)
    for kind, block in KINDS.items():
        ours = set(block.model_fields) - {"kind", "weight", "items"}
        assert ours <= {field.name for field in fields(source_settings(kind))}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"speed": 3}, "speed: unknown setting; known here: name, architecture, data, optimizer, run, "),
        ({"run": {"stepps": 3}}, "run.stepps: unknown setting; known here: steps, accumulate, "),
        ({"run": {"steps": 0}}, "run.steps: Input should be greater than 0 (it is 0)"),
        ({"run": {"precision": "fp16"}}, "run.precision: Input should be 'fp32' or 'bf16' (it is 'fp16')"),
        ({"optimizer": {"schedule": "wavy"}}, "optimizer.schedule: Input should be 'constant', "),
        ({"architecture": {"d_model": 65}}, "architecture: d_model must be a multiple of 64 (one head), not 65"),
        ({"architecture": {"family": "gpt"}}, "architecture.family: Input should be 'moirai', "),
        ({"architecture": {"patch_sizes": [8]}}, "architecture: unknown field 'patch_sizes' in a Moirai 2.0 config"),
        (
            {"data": {"sources": [{"kind": "csv"}]}},
            "data.sources: source 1: kind must be one of synthetic, panel, lotsa, mixed, not",
        ),
        (
            {"data": {"sources": [{"kind": "synthetic"}, {"kind": "panel", "pth": "x"}]}},
            "data.sources: source 2 (panel): path: Field required - file, or folder of files; pth: unknown setting; ",
        ),
        ({"data": {"predicted_share": [0.5, 0.2]}}, "data.predicted_share: [0.5, 0.2] are not two rising numbers"),
        ({"tracking": "mlruns"}, "tracking: 'mlruns' is no tracking URI; write sqlite:///FILE"),
        ({"name": "A b"}, "name: String should match pattern"),
    ],
)
def test_a_wrong_file_is_one_line(write, changes, message):
    """The message names the file, the setting, its value and what it should be."""
    path = write(**changes)
    with pytest.raises(JobError) as caught:
        load_pretraining(path)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path}: {message}")


@pytest.mark.parametrize(("text", "message"), [("a: [", "is not valid YAML"), ("- a", "holds no settings")])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text, message):
    """So is one that does not exist; the message names one to start from."""
    path = tmp_path / "pretrain.yaml"
    with pytest.raises(JobError, match=r"does not exist; deployments/pretrain-starter.yaml is one to start from"):
        load_pretraining(path)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(JobError, match=message):
        load_pretraining(path)
