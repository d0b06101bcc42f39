"""What a job asks of a fine-tuning, with what depends on the machine decided.

In: the job. Out: the settings of `moirai.training.finetune_settings.FinetuneSettings`, where null leaves something to
be derived from the series, and where it runs. Fails with `ConfigError` where the job asks for GPUs that are not there.
"""

from typing import Any

from moirai.errors import ConfigError
from tasks.job import Job

ELSEWHERE = {"base", "accelerator", "devices"}  # settings that are no settings of the training itself


def asked(job: Job) -> dict[str, Any]:
    """The settings of a job's fine-tuning; rank of the adapters only where there are any."""
    settings = job.finetune.model_dump(
        exclude=ELSEWHERE if job.finetune.method == "lora" else ELSEWHERE | {"lora_rank"}
    )
    return settings | {"horizon": job.horizon, "precision": _precision(job)}


def place(job: Job) -> dict[str, Any]:
    """Where training runs: accelerator and devices.

    Raises:
        ConfigError: the job asks for GPUs that torch does not see.
    """
    import torch  # noqa: PLC0415 - torch waits until needed

    settings, seen = job.finetune, torch.cuda.device_count()
    accelerator = settings.accelerator
    if accelerator == "auto":
        accelerator = "gpu" if seen else "cpu"
    if accelerator == "gpu" and settings.devices > seen:
        raise ConfigError(
            f"finetune.accelerator gpu with {settings.devices} finetune.devices, but torch sees {seen} GPUs; lower "
            "devices, or set accelerator: cpu"
        )
    return {"accelerator": accelerator, "devices": settings.devices}


def _precision(job: Job) -> str:
    """`auto` by the device that trains."""
    import torch  # noqa: PLC0415 - see above

    from moirai.forecasting.batching import fast_precision  # noqa: PLC0415 - see above

    if job.finetune.precision != "auto":
        return job.finetune.precision
    return fast_precision(torch.device("cuda" if place(job)["accelerator"] == "gpu" else "cpu"))
