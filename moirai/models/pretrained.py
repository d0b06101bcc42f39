"""Saving and loading, the same for every family."""

from pathlib import Path
from typing import TypeVar

from torch import nn

from moirai.config import AnyConfig

ModuleT = TypeVar("ModuleT", bound="PretrainedModule")


class PretrainedModule(nn.Module):
    """A network with a configuration."""

    config: AnyConfig
    trained_patch_size: int | None = None
    """Of a fine-tuned Moirai 1.x or MoE: the patch size it was trained at, with which it forecasts by default."""

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write `config.json` and `model.safetensors` in the published form."""
        from moirai.hub import save_module  # noqa: PLC0415 - hub imports the models

        return save_module(self, Path(folder))

    @classmethod
    def from_pretrained(cls: type[ModuleT], reference: str | Path) -> ModuleT:
        """Load a checkpoint: `starter`, a folder, or a hub id with an optional `@revision`.

        Raises:
            CheckpointError: nothing is there, it is damaged, or it is of another architecture.
        """
        from moirai.hub import load_as, resolve  # noqa: PLC0415 - see above

        return load_as(resolve(reference), cls)
