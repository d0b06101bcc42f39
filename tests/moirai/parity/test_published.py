"""Names, shapes, sizes and configuration files of the published checkpoints."""

import gzip
import json

import pytest
import torch
from safetensors.torch import load_file

from moirai.config import config_from_dict
from moirai.hub import MODULES, load_module, resolve
from moirai.models.moirai2 import Moirai2Module
from moirai.training.optimizer import adamw

PARAMETERS = {
    "moirai-1.0-R-small": 13_827_528,
    "moirai-1.0-R-base": 91_357_728,
    "moirai-1.0-R-large": 310_970_624,
    "moirai-1.1-R-small": 13_827_528,
    "moirai-1.1-R-base": 91_357_728,
    "moirai-1.1-R-large": 310_970_624,
    "moirai-moe-1.0-R-small": 117_025_800,
    "moirai-moe-1.0-R-base": 935_066_592,
    "moirai-2.0-R-small": 11_387_208,
}
CHECKPOINTS = ("moirai", "moirai_2h", "moirai_moe", "moirai2")


def build(settings):
    """The module of a configuration, without memory behind its tensors."""
    config = config_from_dict(settings)
    with torch.device("meta"):
        return MODULES[type(config)](config)


@pytest.fixture(scope="module", params=sorted(PARAMETERS))
def published(request, parity):
    """A published module, its listing and its name."""
    folder = parity / "published" / request.param
    packed = folder / "state_dict.json.gz"
    listing = gzip.decompress(packed.read_bytes()) if packed.exists() else (folder / "state_dict.json").read_bytes()
    return build(json.loads((folder / "config.json").read_text("utf-8"))), json.loads(listing), request.param


def test_published_state_dict(published):
    """Every tensor has its published name, shape and type, and there is no other."""
    module, listing, _ = published
    ours = {
        name: {"shape": list(x.shape), "dtype": str(x.dtype).removeprefix("torch.")}
        for name, x in module.state_dict().items()
    }
    theirs = {name: {key: entry[key] for key in ("shape", "dtype")} for name, entry in listing["keys"].items()}
    assert ours == theirs


def test_published_parameter_count(published):
    """A published model has the parameters that its listing counts, and so has ours."""
    module, listing, name = published
    assert sum(p.numel() for p in module.parameters()) == listing["total_parameters"] == PARAMETERS[name]


def test_published_buffers(published):
    """What is stored and not trained is the same."""
    module, listing, _ = published
    theirs = {name for name, entry in listing["keys"].items() if entry["kind"] == "buffer"}
    assert {name for name, _ in module.named_buffers()} == theirs


@pytest.mark.parametrize(
    "folder", [*(f"published/{name}" for name in PARAMETERS), *(f"{name}/checkpoint" for name in CHECKPOINTS)]
)
def test_published_config(parity, folder):
    """A configuration file of the reference is read and written back byte for byte."""
    original = (parity / folder / "config.json").read_text("utf-8")
    settings = config_from_dict(json.loads(original)).to_dict()
    assert json.dumps(settings, indent=2, sort_keys=True) == original


@pytest.mark.parametrize("folder", CHECKPOINTS)
def test_checkpoint(parity, tmp_path, folder):
    """A checkpoint of the reference is loaded unchanged, and survives saving and loading again."""
    original = load_file(parity / folder / "checkpoint" / "model.safetensors")
    first = load_module(resolve(parity / folder / "checkpoint"))
    first.save_pretrained(tmp_path)
    again = type(first).from_pretrained(tmp_path)
    assert again.config == first.config
    assert (tmp_path / "config.json").read_bytes() == (parity / folder / "checkpoint" / "config.json").read_bytes()
    for module in (first, again):
        ours = module.state_dict()
        assert set(ours) == set(original)
        assert all(torch.equal(ours[name], x) and ours[name].dtype == x.dtype for name, x in original.items())


@pytest.mark.parametrize("folder", ["moirai", "moirai2"])
def test_optim_groups(parity, folder):
    """Parameters decay, or do not, as in the reference; those of Moirai 2.0 by the same rule."""
    module = build(json.loads((parity / folder / "checkpoint" / "config.json").read_text("utf-8")))
    table = json.loads((parity / "components/optim.json").read_text(encoding="utf-8"))["pretrain"]
    optimizer = adamw(module, learning_rate=1e-3)
    assert [group["weight_decay"] for group in optimizer.param_groups] == table["weight_decay"]
    assert list(optimizer.defaults["betas"]) == table["betas"]
    assert optimizer.defaults["eps"] == table["eps"]
    names = {id(p): f"module.{name}" for name, p in module.named_parameters()}
    for group, kind in zip(optimizer.param_groups, ("decay", "no_decay"), strict=True):
        ours = [names[id(p)] for p in group["params"]]
        if isinstance(module, Moirai2Module):
            assert ours == sorted(ours)
            assert {name for name in table[kind] if ".encoder." in name} <= set(ours)
        else:
            assert ours == table[kind]
