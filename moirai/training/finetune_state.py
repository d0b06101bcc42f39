"""The state of a fine-tuning on disk, so that a run that was stopped goes on where it was.

In: a folder and what the run is made of. Out: one file, written whole or not at all. Fails with `ConfigError` when the
folder holds the state of another run, and with `CheckpointError` when its file is damaged.
"""

import hashlib
import json
import pickle
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from moirai.errors import CheckpointError, ConfigError
from moirai.training.finetune_settings import FinetunePlan

STATE_FILE = "state.pt"


class StateFolder:
    """Where a run keeps its state.

    Args:
        folder: made when the first state is written.
        fingerprint: of the run.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.path, self.fingerprint = folder / STATE_FILE, fingerprint

    def load(self) -> dict[str, Any] | None:
        """The state that was saved last; None: there is none.

        Raises:
            ConfigError: it is that of another run.
            CheckpointError: it is damaged.
        """
        if not self.path.is_file():
            return None
        try:
            saved: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
            fingerprint = saved.pop("fingerprint")
        except (RuntimeError, KeyError, EOFError, AttributeError, pickle.UnpicklingError) as error:
            raise CheckpointError(f"{self.path} is damaged ({error}); delete it to train from the beginning") from error
        if fingerprint != self.fingerprint:
            raise ConfigError(
                f"{self.path} is the state of a fine-tuning with other settings, series or weights; delete it, or keep "
                "this run's state in another folder"
            )
        return saved

    def save(self, state: dict[str, Any]) -> None:
        """Write a state in the place of the one before."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        torch.save(state | {"fingerprint": self.fingerprint}, partial)
        partial.replace(self.path)


def fingerprint(
    module: nn.Module,
    plan: FinetunePlan,
    series: Sequence[np.ndarray],
    covariates: Sequence[np.ndarray] | None,
) -> str:
    """First 16 digits of the SHA-256 of everything that decides the weights."""
    digest = hashlib.sha256(json.dumps(asdict(plan), sort_keys=True).encode())
    for one in [*series, *(covariates or [])]:
        digest.update(str(one.shape).encode())
        digest.update(np.ascontiguousarray(one).tobytes())
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
