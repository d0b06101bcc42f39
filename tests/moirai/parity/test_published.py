"""Names, shapes, size and configuration file of the published checkpoint."""

import json

import pytest
import torch
from safetensors.torch import load_file

from moirai.config import Moirai2Config
from moirai.models.moirai2 import Moirai2Module
from moirai.training.optimizer import adamw


@pytest.fixture(scope="module")
def published(parity):
    """The published module without memory behind its tensors, and the published listing."""
    folder = parity / "published/moirai-2.0-R-small"
    config = Moirai2Config.from_dict(json.loads((folder / "config.json").read_text("utf-8")))
    with torch.device("meta"):
        return Moirai2Module(config), json.loads((folder / "state_dict.json").read_text("utf-8"))


def test_published_state_dict(published):
    """Every tensor has its published name, shape and type, and there is no other."""
    module, listing = published
    ours = {
        name: {"shape": list(x.shape), "dtype": str(x.dtype).removeprefix("torch.")}
        for name, x in module.state_dict().items()
    }
    theirs = {name: {key: entry[key] for key in ("shape", "dtype")} for name, entry in listing["keys"].items()}
    assert ours == theirs


def test_published_parameter_count(published):
    """The published model has 11,387,208 parameters, and so has ours."""
    module, listing = published
    assert sum(p.numel() for p in module.parameters()) == listing["total_parameters"] == 11_387_208


@pytest.mark.parametrize("folder", ["published/moirai-2.0-R-small", "moirai2/checkpoint"])
def test_published_config(parity, tmp_path, folder):
    """A configuration file of the reference is read and written back byte for byte."""
    original = (parity / folder / "config.json").read_bytes()
    small = json.loads(original) | {"num_layers": 1}
    module = Moirai2Module(Moirai2Config.from_dict(small))
    written = (module.save_pretrained(tmp_path) / "config.json").read_bytes()
    back = written.replace(b'"num_layers": 1', b'"num_layers": %d' % json.loads(original)["num_layers"])
    assert back == original


def test_checkpoint(parity, reference, tmp_path):
    """A checkpoint of the reference is loaded unchanged, and survives saving and loading again."""
    original = load_file(parity / "moirai2/checkpoint/model.safetensors")
    reference.save_pretrained(tmp_path)
    again = Moirai2Module.from_pretrained(tmp_path)
    assert again.config == reference.config
    for module in (reference, again):
        ours = module.state_dict()
        assert set(ours) == set(original)
        assert all(torch.equal(ours[name], tensor) for name, tensor in original.items())


def test_optim_groups(parity, published):
    """Encoder parameters decay, or do not, as in the reference; so do the rest by the same rule."""
    module, _ = published
    table = json.loads((parity / "components/optim.json").read_text(encoding="utf-8"))["pretrain"]
    optimizer = adamw(module, learning_rate=1e-3)
    assert [group["weight_decay"] for group in optimizer.param_groups] == table["weight_decay"]
    assert list(optimizer.defaults["betas"]) == table["betas"]
    assert optimizer.defaults["eps"] == table["eps"]
    names = {id(p): f"module.{name}" for name, p in module.named_parameters()}
    for group, kind in zip(optimizer.param_groups, ("decay", "no_decay"), strict=True):
        ours = [names[id(p)] for p in group["params"]]
        assert ours == sorted(ours)
        theirs = {name for name in table[kind] if ".encoder." in name}
        assert theirs <= set(ours)
