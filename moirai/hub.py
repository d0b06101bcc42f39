"""A model reference -> a checkpoint on disk -> a module.

In: `starter` (bundled), a folder with `config.json` and `model.safetensors`, or a hub id
(`Salesforce/moirai-2.0-R-small`, optionally `@revision`). Out: a `Checkpoint` (folder,
configuration, licence, digest) and from it a module of the family that the configuration tells.
Fails with `CheckpointError`: no such folder, not in the cache while offline, hub out of reach, a
file missing or damaged, a tensor of the wrong name or shape, another family than the one needed.
Only safetensors are read, never a pickle.
"""

import hashlib
import json
import logging
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch

from moirai.config import AnyConfig, Moirai2Config, MoiraiConfig, MoiraiMoEConfig, config_from_dict
from moirai.errors import CheckpointError, ConfigError
from moirai.models.moirai1 import MoiraiModule
from moirai.models.moirai2 import Moirai2Module
from moirai.models.moirai_moe import MoiraiMoEModule
from moirai.models.pretrained import PretrainedModule

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
HEADER = "moirai"  # entry of the weights file's header that is ours: JSON
BUNDLED = {"starter": Path(__file__).parent / "starter"}
OWN_LICENCE = "Apache-2.0"
SALESFORCE_LICENCE = "CC-BY-NC-4.0"
MODULES: dict[type[AnyConfig], type[PretrainedModule]] = {
    MoiraiConfig: MoiraiModule,
    MoiraiMoEConfig: MoiraiMoEModule,
    Moirai2Config: Moirai2Module,
}
LARGE = 200_000_000  # bytes of weights, from which drawing initial ones takes longer than the imports of "meta"

ModuleT = TypeVar("ModuleT", bound=PretrainedModule)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A model on disk."""

    reference: str  # what the user wrote
    folder: Path
    config: AnyConfig
    licence: str  # SPDX name, or "unknown"

    @cached_property
    def digest(self) -> str:
        """First 12 digits of the SHA-256 of configuration and weights."""
        digest = hashlib.sha256()
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            digest.update((self.folder / name).read_bytes())
        return digest.hexdigest()[:12]


def resolve(reference: str | Path) -> Checkpoint:
    """Find the checkpoint behind a reference; a hub id that is not cached is downloaded.

    Raises:
        CheckpointError: see the module's docstring.
    """
    text = str(reference)
    if text in BUNDLED:
        return _read(text, BUNDLED[text], licence=OWN_LICENCE)
    folder = Path(text).expanduser()
    if folder.is_dir():
        return _read(text, folder, licence=_folder_licence(folder))
    if isinstance(reference, Path) or folder.is_absolute() or text.startswith((".", "~")):
        raise CheckpointError(f"model folder {text} does not exist; bundled models: {', '.join(BUNDLED)}")
    if text.partition("@")[0].count("/") != 1:  # a revision may be a path: refs/pr/1
        raise CheckpointError(
            f"model {text!r} is no folder and no hub id (user/name); bundled models: {', '.join(BUNDLED)}"
        )
    return _read(text, _download(text), licence=_hub_licence(text))


def load_as(checkpoint: Checkpoint, family: type[ModuleT]) -> ModuleT:
    """Load a checkpoint that must be of one family.

    Raises:
        CheckpointError: it is of another family, or see `load_module`.
    """
    found = MODULES[type(checkpoint.config)]
    if not issubclass(found, family):
        needed = " or ".join(config.FAMILY for config, module in MODULES.items() if issubclass(module, family))
        raise CheckpointError(
            f"model {checkpoint.reference} is a {checkpoint.config.FAMILY} checkpoint, where a {needed} one is needed; "
            f"{found.__name__} loads it"
        )
    module = load_module(checkpoint)
    assert isinstance(module, family), "the module's class follows from the configuration's"
    return module


def load_module(checkpoint: Checkpoint) -> PretrainedModule:
    """Build the module of the checkpoint's family and load its weights strictly.

    Raises:
        CheckpointError: the weights are damaged or do not fit the configuration.
    """
    from safetensors import SafetensorError  # noqa: PLC0415 - heavy parts wait until a model is loaded
    from safetensors.torch import load_file  # noqa: PLC0415

    path = checkpoint.folder / WEIGHTS_FILE
    try:
        weights = load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged ({error}); fetch or save the model again") from error
    module = _build(checkpoint, large=path.stat().st_size > LARGE)
    expected = module.state_dict()
    _check_weights(path, weights, expected)
    module.load_state_dict({name: weights[name].to(expected[name].dtype) for name in expected}, assign=True)
    patch_size = _about(path).get("patch_size")
    module.trained_patch_size = patch_size if patch_size in getattr(module.config, "patch_sizes", ()) else None
    if checkpoint.licence == SALESFORCE_LICENCE:
        logger.warning("%s is licensed %s: not for commercial use", checkpoint.reference, checkpoint.licence)
    return module.eval()


def save_module(
    module: PretrainedModule,
    folder: Path,
    *,
    licence: str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Write a checkpoint in the published form; an interrupted save leaves the old weights.

    Args:
        module: its parameters are written under their published names.
        folder: created when missing.
        licence: recorded in the weights' header, so that a fine-tuned model keeps the licence of its base. So is
            `trained_patch_size`, so that it forecasts as it was trained.
        dtype: of the stored parameters; they are widened to float32 when loaded. Buffers keep theirs.
    """
    from safetensors.torch import save_file  # noqa: PLC0415 - see above

    folder.mkdir(parents=True, exist_ok=True)
    buffers = {name for name, _ in module.named_buffers()}
    weights = {
        name: tensor.detach().to("cpu", tensor.dtype if name in buffers else dtype).contiguous()
        for name, tensor in module.state_dict().items()
    }
    partial = folder / (WEIGHTS_FILE + ".partial")
    about = {"licence": licence, "patch_size": module.trained_patch_size}
    told = {name: value for name, value in about.items() if value is not None}
    # One entry: safetensors writes several in an order of chance, and the digest is of the bytes.
    save_file(weights, partial, metadata={HEADER: json.dumps(told)} if told else None)
    partial.chmod(0o644)  # safetensors writes for the owner alone
    config = folder / (CONFIG_FILE + ".partial")
    config.write_text(json.dumps(module.config.to_dict(), indent=2, sort_keys=True), encoding="utf-8")
    config.replace(folder / CONFIG_FILE)
    partial.replace(folder / WEIGHTS_FILE)
    return folder


def _read(reference: str, folder: Path, *, licence: str) -> Checkpoint:
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"model {reference}: {folder} holds no {name}; a checkpoint has {CONFIG_FILE} and {WEIGHTS_FILE}"
            )
    try:
        settings: Any = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        if not isinstance(settings, dict):
            raise CheckpointError(f"model {reference}: {folder / CONFIG_FILE} is no JSON object")
        config = config_from_dict(settings)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"model {reference}: {folder / CONFIG_FILE} is not valid JSON: {error}") from error
    except (ConfigError, TypeError) as error:
        raise CheckpointError(f"model {reference}: {error}") from error
    return Checkpoint(reference, folder, config, licence)


def _build(checkpoint: Checkpoint, *, large: bool) -> PretrainedModule:
    """The module with arbitrary weights; a large one without memory behind them."""
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta" if large else "cpu"):
            return MODULES[type(checkpoint.config)](checkpoint.config)
    except ConfigError as error:
        raise CheckpointError(f"model {checkpoint.reference}: {error}") from error


def _check_weights(path: Path, weights: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    if missing := sorted(set(expected) - set(weights)):
        raise CheckpointError(f"{path} lacks the tensor {missing[0]!r}; it does not fit its {CONFIG_FILE}")
    if unknown := sorted(set(weights) - set(expected)):
        raise CheckpointError(f"{path} holds the unknown tensor {unknown[0]!r}; it does not fit its {CONFIG_FILE}")
    for name, tensor in expected.items():
        if tensor.shape != weights[name].shape:
            raise CheckpointError(
                f"{path}: tensor {name!r} has shape {tuple(weights[name].shape)}, "
                f"its {CONFIG_FILE} asks for {tuple(tensor.shape)}"
            )


def _folder_licence(folder: Path) -> str:
    """Licence that `save_module` recorded in the weights' header."""
    path = folder / WEIGHTS_FILE
    return str(_about(path).get("licence", "unknown")) if path.is_file() else "unknown"


def _about(path: Path) -> dict[str, Any]:
    """What the header of a weights file tells beside the tensors: licence and patch size, where they are known."""
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - see above

    try:
        with safe_open(path, "pt") as file:
            header: dict[str, str] = file.metadata() or {}
        return {**header, **json.loads(header.get(HEADER, "{}"))}
    except (SafetensorError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); fetch or save the model again") from error


def _hub_licence(reference: str) -> str:
    return SALESFORCE_LICENCE if reference.lower().startswith("salesforce/") else "unknown"


def _download(reference: str) -> Path:
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - see above
    from huggingface_hub.errors import (  # noqa: PLC0415
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name, _, revision = reference.partition("@")
    try:
        folder = snapshot_download(name, revision=revision or None, allow_patterns=[CONFIG_FILE, WEIGHTS_FILE])
    except HFValidationError as error:
        raise CheckpointError(f"model {reference!r} is no folder and no valid hub id: {error}") from error
    except RevisionNotFoundError as error:
        raise CheckpointError(f"model {name} has no revision {revision!r} on the hub") from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(f"model {name} is not on the hub, or needs a token (HF_TOKEN)") from error
    except LocalEntryNotFoundError as error:
        offline = os.environ.get("HF_HUB_OFFLINE", "0").upper() in {"1", "ON", "YES", "TRUE"}
        why = "HF_HUB_OFFLINE is set" if offline else "the hub cannot be reached"
        raise CheckpointError(
            f"model {reference} is not in the local cache and {why}; fetch it once with a network, "
            f"or name a folder or a bundled model ({', '.join(BUNDLED)})"
        ) from error
    except HfHubHTTPError as error:
        raise CheckpointError(f"the hub refused model {reference}: {error}") from error
    return Path(folder)
