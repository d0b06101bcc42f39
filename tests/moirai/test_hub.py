"""References to models, checkpoints on disk and in the hub's cache, and everything that is wrong with them."""

import json
import logging
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from moirai.catalogue import known_models
from moirai.errors import CheckpointError
from moirai.hub import BUNDLED, load_module, resolve, save_module
from moirai.models.moirai2 import Moirai2Module

REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(tiny, tmp_path):
    """A checkpoint of the tiny model."""
    return tiny.save_pretrained(tmp_path / "model")


@pytest.fixture
def cache(tiny, tmp_path, monkeypatch):
    """An empty hub cache and a hub that is switched off; returns how to put a repository into the cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def put(name: str) -> Path:
        repository = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text(REVISION, encoding="utf-8")
        return tiny.save_pretrained(repository / "snapshots" / REVISION)

    return put


def edit_config(folder, **changes):
    """Change fields of a checkpoint's configuration."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), encoding="utf-8")


def test_round_trip(tiny, folder):
    """A saved model comes back with equal configuration and weights, ready to be trained or to forecast."""
    again = Moirai2Module.from_pretrained(folder)
    assert again.config == tiny.config
    assert not again.training
    assert all(p.requires_grad for p in again.parameters())
    for name, tensor in tiny.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)


def test_half_precision_storage(tiny, tmp_path):
    """Weights stored in bfloat16 are half as large, and are widened when loaded."""
    save_module(tiny, tmp_path, dtype=torch.bfloat16)
    stored = load_file(tmp_path / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}
    again = Moirai2Module.from_pretrained(tmp_path)
    for name, tensor in tiny.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor.bfloat16().float())


def test_interrupted_save(tiny, folder, monkeypatch):
    """A save that dies while it writes the weights leaves the old weights as they were."""
    before = (folder / "model.safetensors").read_bytes()

    def die(_, path, **__):
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("safetensors.torch.save_file", die)
    with pytest.raises(KeyboardInterrupt):
        tiny.save_pretrained(folder)
    assert (folder / "model.safetensors").read_bytes() == before


def test_licence_in_header(tiny, tmp_path):
    """A recorded licence stands in the weights' header and is found again; without one it is unknown."""
    save_module(tiny, tmp_path / "with", licence="Apache-2.0")
    save_module(tiny, tmp_path / "without")
    with safe_open(tmp_path / "with" / "model.safetensors", "pt") as file:
        assert json.loads(file.metadata()["moirai"]) == {"licence": "Apache-2.0"}
    assert resolve(tmp_path / "with").licence == "Apache-2.0"
    assert resolve(tmp_path / "without").licence == "unknown"


def test_digest(tiny, folder, make_module, tmp_path):
    """Equal checkpoints have equal digests, other weights or another configuration a different one."""
    copy = tiny.save_pretrained(tmp_path / "copy")
    other = make_module(num_predict_token=1).save_pretrained(tmp_path / "other")
    first, same, different = (resolve(path).digest for path in (folder, copy, other))
    assert first == same != different
    assert len(first) == 12
    edit_config(copy, max_seq_len=7)
    assert resolve(copy).digest != first


def test_equal_weights_have_one_digest(tiny, tmp_path):
    """The same model saved again is the same file, byte for byte, licence and all."""
    saved = {resolve(save_module(tiny, tmp_path / str(n), licence="Apache-2.0")).digest for n in range(12)}
    assert len(saved) == 1


@pytest.mark.parametrize("reference", [Path("no/such"), "/no/such", "./no/such", "~/no/such"])
def test_missing_folder(reference):
    """A folder that is not there is named, with the models that are."""
    with pytest.raises(CheckpointError, match=r"no/such does not exist; bundled models: starter"):
        resolve(reference)


@pytest.mark.parametrize("reference", ["startr", "a/b/c"])
def test_neither_folder_nor_hub_id(reference, tmp_path, monkeypatch):
    """Text that can be neither a folder nor a hub id is refused without asking the hub."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="no folder and no hub id"):
        resolve(reference)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_file(folder, name):
    """A checkpoint without one of its files is refused, naming the file."""
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"holds no {name}"):
        resolve(folder)


@pytest.mark.parametrize("kept", [0, 4, 100, 10_000])
def test_truncated_weights(folder, kept):
    """Weights cut off anywhere are called damaged."""
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged .* fetch or save the model again"):
        load_module(resolve(folder))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda w: w.pop("encoder.norm.weight"), "lacks the tensor 'encoder.norm.weight'"),
        (lambda w: w.update(surplus=torch.ones(1)), "unknown tensor 'surplus'"),
        (lambda w: w.update({"encoder.norm.weight": torch.ones(3)}), r"has shape \(3,\), .* asks for \(64,\)"),
    ],
)
def test_weights_that_do_not_fit(folder, change, says):
    """A missing, unknown or misshapen tensor is named."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path)
    with pytest.raises(CheckpointError, match=says):
        load_module(resolve(folder))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not valid JSON"),
        ("[1]", "no JSON object"),
        ("{}", "field 'd_ff' is missing"),
        ('{"d_model": 64, "heads": 3}', "unknown field 'heads'"),
        ('{"d_model": 65, "d_ff": 1, "num_layers": 1, "patch_size": 1}', "multiple of 64"),
        ('{"d_model": "64", "d_ff": 1, "num_layers": 1, "patch_size": 1}', "d_model"),
        ('{"patch_sizes": [8, 16], "d_model": 64}', "field 'num_layers' is missing in a Moirai 1.x config"),
        ('{"patch_sizes": [8, 8], "d_model": 64, "d_ff": 8, "num_layers": 1}', "patch_sizes must be different"),
    ],
)
def test_bad_config(folder, text, says):
    """A configuration that cannot be used is refused, naming the model and the reason."""
    (folder / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=says) as caught:
        resolve(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("reference", ["someone/model", "someone/model@v2", "someone/model@refs/pr/1"])
@pytest.mark.usefixtures("cache")
def test_offline_and_uncached(reference):
    """Offline, a hub id that is not cached is answered at once, with the way out."""
    started = time.monotonic()
    with pytest.raises(CheckpointError, match="not in the local cache and HF_HUB_OFFLINE is set; fetch it once"):
        resolve(reference)
    assert time.monotonic() - started < 2


def test_offline_in_a_process_of_its_own(tmp_path):
    """With HF_HUB_OFFLINE in the environment the answer is one clear error, nothing else."""
    code = "import moirai, sys\ntry: moirai.MoiraiForecast.from_pretrained('someone/model')\n"
    code += "except moirai.MoiraiError as error: sys.exit(str(error))"
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.stderr.startswith("model someone/model is not in the local cache")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("reference", ["a--b/c", "user/na..me", "user/" + "x" * 120])
@pytest.mark.usefixtures("cache")
def test_invalid_hub_id(reference):
    """An id that the hub would not allow is refused as such."""
    with pytest.raises(CheckpointError, match="no valid hub id"):
        resolve(reference)


def test_salesforce_licence(cache, tiny, caplog):
    """A cached Salesforce model is loaded without a network, with a warning about its licence."""
    cache("Salesforce/moirai-2.0-R-small")
    with caplog.at_level(logging.WARNING, logger="moirai"):
        module = Moirai2Module.from_pretrained("Salesforce/moirai-2.0-R-small")
    assert torch.equal(module.encoder.norm.weight, tiny.encoder.norm.weight)
    assert caplog.messages == ["Salesforce/moirai-2.0-R-small is licensed CC-BY-NC-4.0: not for commercial use"]


def test_licence_follows_the_weights(cache, tmp_path, caplog):
    """A model saved with the licence of its base warns again when it is loaded from its folder."""
    base = resolve(str(cache("Salesforce/moirai-2.0-R-small")))
    module = load_module(replace(base, licence="unknown"))
    save_module(module, tmp_path / "tuned", licence="CC-BY-NC-4.0")
    with caplog.at_level(logging.WARNING, logger="moirai"):
        load_module(resolve(tmp_path / "tuned"))
    assert "not for commercial use" in caplog.text


def test_other_hub_models(cache, caplog):
    """A cached model of somebody else is loaded without a warning; its licence is unknown."""
    cache("someone/model")
    with caplog.at_level(logging.WARNING, logger="moirai"):
        checkpoint = resolve("someone/model")
        load_module(checkpoint)
    assert checkpoint.licence == "unknown"
    assert not caplog.messages


@pytest.mark.parametrize("name", sorted(BUNDLED))
def test_bundled_models(name, caplog):
    """Every bundled model loads without a network and without a warning, under our own licence."""
    with caplog.at_level(logging.WARNING, logger="moirai"):
        checkpoint = resolve(name)
        module = load_module(checkpoint)
    assert checkpoint.licence == "Apache-2.0"
    assert all(p.isfinite().all() for p in module.parameters())
    assert not caplog.messages


@pytest.mark.parametrize("family", ["moirai", "moirai_moe"])
def test_other_families(make_distribution_module, cache, tiny, tmp_path, family):
    """A reference leads to the family of its configuration; asking for another one says which class loads it."""
    module = make_distribution_module(family)
    folder = module.save_pretrained(tmp_path / family)
    again = type(module).from_pretrained(folder)
    assert again.config == module.config
    assert all(torch.equal(again.state_dict()[name], x) for name, x in module.state_dict().items())
    with pytest.raises(
        CheckpointError, match=rf"is a {module.config.FAMILY} checkpoint, where a Moirai 2.0 one"
    ) as error:
        Moirai2Module.from_pretrained(folder)
    assert f"{type(module).__name__} loads it" in str(error.value)
    cache("someone/model")
    with pytest.raises(CheckpointError, match=r"someone/model is a Moirai 2.0 checkpoint"):
        type(module).from_pretrained("someone/model")
    assert tiny.config == resolve("someone/model").config


def test_centroids_keep_their_precision(make_distribution_module, tmp_path):
    """Centroids stay in float64, whatever the type that the weights are stored in."""
    module = make_distribution_module("moirai_moe")
    save_module(module, tmp_path, dtype=torch.bfloat16)
    again = load_module(resolve(tmp_path))
    assert again.encoder.centroid.dtype == torch.float64
    assert torch.equal(again.encoder.centroid, module.encoder.centroid)
    assert again.in_proj.weight.dtype == torch.float32


@pytest.mark.parametrize("family", ["moirai", "moirai_moe"])
def test_large_checkpoints(make_distribution_module, tmp_path, monkeypatch, family):
    """A large checkpoint is built without drawing weights first, and ends up the same."""
    monkeypatch.setattr("moirai.hub.LARGE", 0)
    module = make_distribution_module(family)
    again = load_module(resolve(module.save_pretrained(tmp_path)))
    assert {x.device.type for x in (*again.parameters(), *again.buffers())} == {"cpu"}
    assert all(p.requires_grad for p in again.parameters())
    assert all(torch.equal(again.state_dict()[name], x) for name, x in module.state_dict().items())


def test_unknown_distribution(make_distribution_module, tmp_path):
    """A head that this version does not know is refused with the model's name; nothing is imported by name."""
    folder = make_distribution_module("moirai").save_pretrained(tmp_path)
    edit_config(folder, distr_output={"_target_": "uni2ts.distribution.other.OtherOutput"})
    with pytest.raises(CheckpointError, match=r"OtherOutput") as error:
        load_module(resolve(folder))
    assert str(folder) in str(error.value)


def test_what_is_known_by_name_and_cached(cache):
    """A published model counts as being on this machine once both of its files are in the cache."""
    assert {one.folder is not None for one in known_models() if one.reference != "starter"} == {False}
    folder = Path(cache("Salesforce/moirai-2.0-R-small"))
    (found,) = [one for one in known_models() if one.folder and one.reference != "starter"]
    assert found.reference == "Salesforce/moirai-2.0-R-small"
    assert found.folder.samefile(folder)
