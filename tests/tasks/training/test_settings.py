"""What a job asks of a fine-tuning, on this machine."""

import pytest
import torch

from moirai.errors import ConfigError
from moirai.training.methods import METHODS
from tasks.job.modelling import Finetune
from tasks.training.settings import asked, place


def test_what_is_left_open_is_left_to_the_series(small_job):
    """Null settings stay null; where it runs is no setting of the training; a rank without adapters decides nothing."""
    settings = asked(small_job(finetune={"seed": 3}))
    assert {name for name, value in settings.items() if value is None} == {
        "context",
        "patch_size",
        "batch_size",
        "learning_rate",
    }
    assert (settings["horizon"], settings["seed"], settings["method"]) == (6, 3, "full")
    assert not {"base", "devices", "accelerator", "lora_rank"} & set(settings)
    assert asked(small_job(finetune={"method": "lora", "lora_rank": 2}))["lora_rank"] == 2


def test_automatic_precision_is_decided_by_the_device_that_trains(small_job, monkeypatch):
    """What enters the training key is what is computed in, not `auto`."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    assert asked(small_job(finetune={"precision": "auto", "accelerator": "cpu"}))["precision"] == "bf16"
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    assert asked(small_job(finetune={"precision": "auto", "accelerator": "cpu"}))["precision"] == "fp32"


def test_gpus_that_are_not_there_are_refused_before_any_work(small_job):
    """The error names both settings and what torch sees."""
    seen = torch.cuda.device_count()
    with pytest.raises(
        ConfigError, match=rf"finetune.accelerator gpu with {seen + 1} .* sees {seen} GPUs; lower devices"
    ):
        place(small_job(finetune={"accelerator": "gpu", "devices": seen + 1}))
    assert place(small_job(finetune={"accelerator": "cpu", "devices": 2})) == {"accelerator": "cpu", "devices": 2}


def test_job_file_and_library_know_the_same_methods():
    """The job file names the methods without importing torch; the two lists must not drift apart."""
    assert set(Finetune.model_fields["method"].annotation.__args__) == set(METHODS)
