"""What a fine-tuning trains: by name, as published, and how much of it."""

import json

import pytest

from moirai import MoiraiModule
from moirai.errors import ConfigError
from moirai.training.methods import METHODS, choose_trained, finish, trained_share
from moirai.training.optimizer import adamw

PATTERNS = {"full": "full", "frozen_ffn": "freeze_ffn", "head": "head_only"}


@pytest.mark.parametrize("method", PATTERNS)
def test_frozen_and_decayed_names_are_the_published_ones(parity, method):
    """Of Moirai 1.x the same parameters are frozen, decayed and not decayed as in the stored listings."""
    expected = json.loads((parity / "components/optim.json").read_text())[f"finetune.{PATTERNS[method]}"]
    module = MoiraiModule.from_pretrained(parity / "moirai" / "checkpoint")
    choose_trained(module, method)
    names = {id(p): f"module.{name}" for name, p in module.named_parameters()}
    frozen = [f"module.{name}" for name, p in module.named_parameters() if not p.requires_grad]
    decayed, kept = adamw(module, learning_rate=1e-3).param_groups
    assert sorted(frozen) == sorted(expected["frozen"])
    assert [names[id(p)] for p in decayed["params"]] == expected["decay"]
    assert [names[id(p)] for p in kept["params"]] == expected["no_decay"]


def test_the_head_of_moirai2_is_its_quantile_projection(make_module):
    """Output projections of attention are no head."""
    module = make_module()
    choose_trained(module, "head")
    trained = {name for name, p in module.named_parameters() if p.requires_grad}
    assert trained == {name for name, _ in module.named_parameters() if name.startswith("out_proj.")}


def test_experts_are_the_feed_forward_of_moirai_moe(make_distribution_module):
    """Frozen feed-forwards are the experts; everything else is trained."""
    module = make_distribution_module("moe")
    choose_trained(module, "frozen_ffn")
    frozen = {name for name, p in module.named_parameters() if not p.requires_grad}
    assert frozen == {name for name, _ in module.named_parameters() if ".experts." in name}


@pytest.mark.parametrize("method", METHODS)
def test_a_module_can_be_trained_anew_with_another_method(make_module, method):
    """What one method froze or added is gone when it has finished."""
    module = make_module()
    before = list(module.state_dict())
    choose_trained(module, method)
    finish(module)
    assert list(module.state_dict()) == before
    assert trained_share(module) == 1
    choose_trained(module, "full")
    assert trained_share(module) == 1


@pytest.mark.parametrize(
    ("method", "rank", "message"), [("adapter", 4, "'adapter'; known: full, head"), ("lora", 0, "lora_rank .* not 0")]
)
def test_what_does_not_exist_is_refused(make_module, method, rank, message):
    """The error names the methods, or the least rank."""
    with pytest.raises(ConfigError, match=message):
        choose_trained(make_module(), method, lora_rank=rank)
