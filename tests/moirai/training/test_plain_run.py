"""Runs as plain values: what a JSON file must hold, runs as a program that is killed."""

import json
import os
import signal
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import torch

from moirai.errors import ConfigError
from moirai.hub import load_module, resolve
from moirai.training.data import PretrainData
from moirai.training.plain_run import carry_out, main, make_run, read_run
from moirai.training.sources.lotsa import LotsaSettings
from moirai.training.sources.mixing import MixedSettings
from moirai.training.sources.synthetic import SyntheticSettings
from moirai.training.sources.synthetic_store import store_synthetic

ROOT = Path(__file__).parents[3]
PLAIN = {
    "architecture": {"d_model": 64, "d_ff": 16, "num_layers": 1, "patch_size": 16, "max_seq_len": 24},
    "data": {"rows": 2, "sources": [{"kind": "synthetic", "lengths": [64, 128]}]},
    "settings": {"steps": 6, "learning_rate": 5e-3, "warmup": 2, "save_every": 2, "log_every": 1, "accelerator": "cpu"},
}


@pytest.fixture
def plain(tmp_path):
    """A run that takes no time; its state and checkpoint go to the test's folder."""
    return deepcopy(PLAIN) | {"state": str(tmp_path / "state"), "out": str(tmp_path / "out")}


def program(folder, plain):
    """Start the run as a program of its own."""
    file = folder / "run.json"
    file.write_text(json.dumps(plain), encoding="utf-8")
    return subprocess.Popen(  # noqa: S603 - our own arguments
        [sys.executable, "-m", "moirai.training.plain_run", str(file)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def weights(folder):
    """The stored weights."""
    return load_module(resolve(folder)).state_dict()


def test_blocks_become_what_a_run_takes(plain):
    """Every block reaches its place; what is not named has the family's or the library's default."""
    plain["data"] |= {"seed": 5, "predicted_share": [0.2, 0.4], "min_patches": 3}
    plain["data"]["sources"].append({"kind": "synthetic", "name": "long", "lengths": [512], "weight": 0.5})
    plain["settings"]["accumulate"] = 3
    run = make_run(plain | {"licence": "MIT", "storage": "fp32"})
    assert isinstance(run.data, PretrainData)
    data = run.data.settings
    assert (data.rows, data.seed, data.steps) == (2, 5, 18)
    assert (data.sampling.predicted_share, data.sampling.min_patches) == ((0.2, 0.4), 3)
    assert (data.sampling.patch_sizes, data.sampling.max_tokens) == ((16,), 24)
    assert [(one.source.lengths, one.weight) for one in data.sources] == [((64, 128), 1.0), ((512,), 0.5)]
    assert isinstance(data.sources[0].source, SyntheticSettings)
    assert (run.settings.steps, run.settings.accumulate, run.settings.schedule) == (6, 3, "cosine_with_restarts")
    assert (run.licence, run.storage, run.config.patch_size) == ("MIT", "fp32", 16)


def test_the_seed_of_the_run_is_that_of_its_batches(plain):
    """One seed decides both, unless the data has its own."""
    plain["settings"]["seed"] = 9
    assert make_run(plain).data.settings.seed == 9


@pytest.mark.parametrize(
    ("block", "change", "message"),
    [
        (None, {"speed": 3}, "the file has the unknown key 'speed'; known: architecture, data, "),
        (None, {"storage": "int8"}, "storage must be one of fp32, bf16, not 'int8'"),
        ("settings", {"stepps": 3}, "settings has the unknown key 'stepps'; known: steps, "),
        ("settings", {"steps": 0}, "steps must be at least 1, not 0"),
        ("settings", {"steps": "ten"}, "settings: a value is of the wrong kind"),
        ("data", {"width": 3}, "data has the unknown key 'width'; known: rows, seed, sources, "),
        ("data", {"rows": 0}, "rows must be at least 1, not 0"),
        ("data", {"sources": [{"kind": "csv"}]}, r"data.sources\[0\].kind must be one of synthetic, .*, not 'csv'"),
        ("data", {"sources": [{"kind": "panel"}]}, r"data.sources\[0\] lacks 'path'"),
        ("data", {"sources": [{"kind": "synthetic", "size": 1}]}, r"data.sources\[0\] has the unknown key 'size'"),
        ("architecture", {"d_model": 65}, "d_model must be a multiple of 64"),
    ],
)
def test_a_wrong_file_is_one_line(plain, tmp_path, block, change, message):
    """The message names the file, the block and the key."""
    (plain if block is None else plain[block]).update(change)
    file = tmp_path / "run.json"
    file.write_text(json.dumps(plain), encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as caught:
        read_run(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(("text", "message"), [("{", "is not valid JSON"), ("[]", "holds no JSON object")])
def test_a_file_that_is_no_object_is_refused(tmp_path, text, message):
    """So is one that is not there."""
    file = tmp_path / "run.json"
    with pytest.raises(ConfigError, match="cannot be read"):
        read_run(file)
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        read_run(file)


def test_sources_on_disk_and_mixtures_of_them(plain, tmp_path):
    """A stored data set is named by its path; a mixture has a source of its own; both train."""
    folder = tmp_path / "stored"
    store_synthetic(folder, SyntheticSettings(lengths=(64,)), series=5)
    stored = {"kind": "lotsa", "path": str(folder), "choice": "uniform", "whole": True}
    sources = [stored, {"kind": "mixed", "source": stored, "weight": 0.5}]
    run = make_run(plain | {"data": {"rows": 2, "sources": sources}})
    assert [type(one.source) for one in run.data.settings.sources] == [LotsaSettings, MixedSettings]
    assert carry_out(run)["step"] == 6
    with pytest.raises(ConfigError, match=r"data.sources\[0\].source.kind must be one of"):
        make_run(plain | {"data": {"rows": 2, "sources": [{"kind": "mixed", "source": {}}]}})


def test_a_run_that_was_killed_goes_on(plain, tmp_path):
    """Killed without warning and started again, a program ends with the weights of a run that was not."""
    whole = carry_out(make_run(plain | {"state": str(tmp_path / "other"), "out": str(tmp_path / "whole")}))
    first = program(tmp_path, plain)
    for line in first.stdout:
        if json.loads(line)["step"] == 3:
            first.send_signal(signal.SIGSTOP)  # it may not run on while it is being killed
            first.kill()
            break
    assert first.wait() == -signal.SIGKILL
    first.stdout.close()
    first.stderr.close()
    assert not Path(plain["out"]).exists()
    told, errors = program(tmp_path, plain).communicate()
    ending = json.loads(told.splitlines()[-1])
    assert ending["message"] == "pretrained for 6 steps", errors
    assert "going on from step" in errors
    assert ending["folders"] == [plain["out"]]
    expected = weights(whole["folders"][0])
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(plain["out"]).items())


def test_a_program_with_a_wrong_file_ends_in_one_line(tmp_path, plain):
    """It ends with the line that says what is wrong, or how it is called."""
    file = tmp_path / "run.json"
    file.write_text(json.dumps(plain | {"storage": "int8"}), encoding="utf-8")
    with pytest.raises(SystemExit, match=r"^error: .*run\.json: storage must be one of fp32, bf16, not 'int8'$"):
        main([str(file)])
    with pytest.raises(SystemExit, match="usage: "):
        main([])
