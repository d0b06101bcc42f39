"""The checkpoints that are known by name: family, size, licence, and whether they lie on this machine.

In: nothing but the hub's local cache, which is only looked at. Out: one `Known` per checkpoint. Nothing here asks the
network; models that are not listed work just as well by their hub id.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from moirai.hub import BUNDLED, CONFIG_FILE, OWN_LICENCE, SALESFORCE_LICENCE, WEIGHTS_FILE

MILLION = 1e6
BYTES = 4  # of a parameter: published weights are float32
PUBLISHED = {  # parameters as counted from the published configurations
    "Salesforce/moirai-1.0-R-small": ("Moirai 1.x", 13_827_528),
    "Salesforce/moirai-1.0-R-base": ("Moirai 1.x", 91_357_728),
    "Salesforce/moirai-1.0-R-large": ("Moirai 1.x", 310_970_624),
    "Salesforce/moirai-1.1-R-small": ("Moirai 1.x", 13_827_528),
    "Salesforce/moirai-1.1-R-base": ("Moirai 1.x", 91_357_728),
    "Salesforce/moirai-1.1-R-large": ("Moirai 1.x", 310_970_624),
    "Salesforce/moirai-moe-1.0-R-small": ("Moirai-MoE", 117_025_800),
    "Salesforce/moirai-moe-1.0-R-base": ("Moirai-MoE", 935_066_592),
    "Salesforce/moirai-2.0-R-small": ("Moirai 2.0", 11_387_208),
}


@dataclass(frozen=True)
class Known:
    """One checkpoint."""

    reference: str
    family: str
    parameters: int
    megabytes: float  # of its weights
    licence: str
    folder: Path | None  # where it lies on this machine; None: it would be downloaded


def known_models() -> list[Known]:
    """The bundled checkpoints, then the published ones."""
    published = [
        Known(reference, family, count, round(BYTES * count / MILLION, 1), SALESFORCE_LICENCE, cached_folder(reference))
        for reference, (family, count) in PUBLISHED.items()
    ]
    return [*(_bundled(name, folder) for name, folder in BUNDLED.items()), *published]


def cached_folder(reference: str) -> Path | None:
    """Folder of a hub model in the local cache, if configuration and weights are both there."""
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - only who asks needs it

    found = [try_to_load_from_cache(reference, name) for name in (CONFIG_FILE, WEIGHTS_FILE)]
    return Path(str(found[0])).parent if all(isinstance(one, str) for one in found) else None


def _bundled(name: str, folder: Path) -> Known:
    from safetensors import safe_open  # noqa: PLC0415 - see above

    weights = folder / WEIGHTS_FILE
    with safe_open(weights, "pt") as file:
        sizes = [file.get_slice(key).get_shape() for key in file.keys()]  # noqa: SIM118 - it is no mapping
    count = sum(math.prod(shape) for shape in sizes)
    return Known(name, "Moirai 2.0", count, round(weights.stat().st_size / MILLION, 1), OWN_LICENCE, folder)
