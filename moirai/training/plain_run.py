"""A pretraining run as plain values: what a JSON file holds, or `moirai pretrain` makes of its YAML file.

    python -m moirai.training.plain_run FILE.json

    {"architecture": {...}, "data": {"rows": 32, "sources": [{"kind": "synthetic", "weight": 1.0}]},
     "settings": {"steps": 1000, "learning_rate": 0.002}, "state": "runs/one", "out": "model"}

`architecture` is what `config.json` of a checkpoint holds. `data` has `rows` (of a batch of one process), `sources`
(each a `kind`, a `weight` and the settings of its kind; one of kind `mixed` has a `source` of its own), and maybe
`seed` and whatever of `Sampling` differs from the family's. `settings` are those of `PretrainSettings`.

In: such a mapping. Out: everything that `pretrain` takes. Fails with `ConfigError`, which names the block and the key.
As a program it does the run, and needs no more than torch, Lightning, pandas, safetensors and jaxtyping; for sources
that are files pyarrow.
"""

import json
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from moirai.config import AnyConfig, config_from_dict
from moirai.errors import ConfigError, MoiraiError
from moirai.hub import OWN_LICENCE
from moirai.training.data import PretrainData, PretrainDataSettings, WeightedSource, sampling_for
from moirai.training.pretrain import STORAGE, PretrainSettings, is_first_process, pretrain, save_result
from moirai.training.pretrain_callbacks import LogPoint

# Kind of a source -> where its settings are; those that read files need pyarrow, which not every machine has.
SOURCES: Mapping[str, tuple[str, str]] = {
    "synthetic": ("moirai.training.sources.synthetic", "SyntheticSettings"),
    "panel": ("moirai.training.sources.panel", "PanelSettings"),
    "lotsa": ("moirai.training.sources.lotsa", "LotsaSettings"),
    "mixed": ("moirai.training.sources.mixing", "MixedSettings"),
}
BLOCKS = ("architecture", "data", "settings", "state", "out")
OPTIONS = ("licence", "storage")

MadeT = TypeVar("MadeT")


@dataclass(frozen=True, kw_only=True)
class PlainRun:
    """What `pretrain` takes, and where its results go."""

    config: AnyConfig
    data: PretrainData
    data_settings: Mapping[str, Any]
    settings: PretrainSettings
    state: Path
    out: Path
    licence: str = OWN_LICENCE
    storage: str = "bf16"


def read_run(path: Path) -> PlainRun:
    """The run of a JSON file. Raises `ConfigError`."""
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror})") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(given, dict):
        raise ConfigError(f"{path} holds no JSON object")
    try:
        return make_run(given)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def make_run(given: Mapping[str, Any]) -> PlainRun:
    """The run of a mapping of plain values. Raises `ConfigError`."""
    _check_keys("the file", given, needed=BLOCKS, known=(*BLOCKS, *OPTIONS))
    if (storage := given.get("storage", "bf16")) not in STORAGE:
        raise ConfigError(f"storage must be one of {', '.join(STORAGE)}, not {storage!r}")
    config = config_from_dict(given["architecture"])
    settings = _made(PretrainSettings, given["settings"], "settings")
    return PlainRun(
        config=config,
        data=PretrainData(data_settings(given["data"], config, settings)),
        data_settings=given["data"],
        settings=settings,
        state=Path(given["state"]),
        out=Path(given["out"]),
        licence=given.get("licence", OWN_LICENCE),
        storage=storage,
    )


def data_settings(given: Mapping[str, Any], config: AnyConfig, settings: PretrainSettings) -> PretrainDataSettings:
    """Settings of the batches of a run. Raises `ConfigError`."""
    own = ("rows", "seed", "sources")
    if not isinstance(given, Mapping) or not {"rows", "sources"} <= set(given):
        raise ConfigError(f"data needs rows and sources, not {given!r}")
    changes = {name: _frozen(value) for name, value in given.items() if name not in own}
    known = {field.name for field in fields(type(sampling_for(config)))} - {"patch_sizes", "max_tokens"}
    _check_keys("data", changes, needed=(), known=(*own, *sorted(known)))
    return PretrainDataSettings(
        steps=settings.batches,
        rows=given["rows"],
        seed=given.get("seed", settings.seed),
        sampling=sampling_for(config, **changes),
        sources=tuple(_source(one, f"data.sources[{place}]") for place, one in enumerate(given["sources"])),
    )


def source_settings(kind: str) -> type:
    """The dataclass of the settings of a kind of source."""
    module, name = SOURCES[kind]
    found: type = getattr(import_module(module), name)
    return found


def _source(given: Mapping[str, Any], where: str) -> WeightedSource:
    kind = str(given.get("kind"))
    if kind not in SOURCES:
        raise ConfigError(f"{where}.kind must be one of {', '.join(SOURCES)}, not {kind!r}")
    own = {name: value for name, value in given.items() if name not in {"kind", "weight"}}
    if isinstance(inner := own.get("source"), Mapping):
        own["source"] = _source(inner, f"{where}.source").source
    return WeightedSource(source=_made(source_settings(kind), own, where), weight=float(given.get("weight", 1.0)))


def _made(kind: type[MadeT], given: Mapping[str, Any], where: str) -> MadeT:
    """A frozen dataclass of plain values."""
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]  # a dataclass
    needed = [name for name, field in known.items() if field.default is MISSING and field.default_factory is MISSING]
    _check_keys(where, given, needed=needed, known=known)
    try:
        return kind(**{name: _frozen(value) for name, value in given.items()})
    except TypeError as error:
        raise ConfigError(f"{where}: a value is of the wrong kind ({' '.join(str(error).split())})") from error


def _check_keys(where: str, given: Any, *, needed: Any, known: Any) -> None:
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where} must be a block of settings, not {given!r}")
    if missing := [name for name in needed if name not in given]:
        raise ConfigError(f"{where} lacks {missing[0]!r}")
    if unknown := [name for name in given if name not in known]:
        raise ConfigError(f"{where} has the unknown key {unknown[0]!r}; known: {', '.join(known)}")


def _frozen(value: Any) -> Any:
    """Lists as tuples, at every depth."""
    return tuple(_frozen(one) for one in value) if isinstance(value, list | tuple) else value


def carry_out(run: PlainRun, *, on_log: Callable[[LogPoint], None] | None = None) -> dict[str, Any]:
    """Train and write the checkpoint.

    Args:
        run: what is to be done.
        on_log: called with every point of the curve.

    Returns:
        How it ended, in plain values: `message`, `step`, `stopped_by`, `folders`, `loss`, `tokens_per_second`.
    """
    result = pretrain(
        run.config, run.data, run.settings, state=run.state, data_settings=run.data_settings, on_log=on_log
    )
    folders = save_result(result, run.out, licence=run.licence, storage=run.storage) if is_first_process() else []
    return {
        "message": result.message,
        "step": result.step,
        "stopped_by": result.stopped_by,
        "folders": [str(folder) for folder in folders],
        "loss": result.last and result.last.loss,
        "tokens_per_second": result.last and result.last.tokens_per_second,
    }


def main(arguments: list[str]) -> None:
    """Do the run of a JSON file; every point of the curve, and at last how it ended, is one JSON object on stdout."""
    if len(arguments) != 1:
        sys.exit("usage: python -m moirai.training.plain_run FILE.json")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        ending = carry_out(read_run(Path(arguments[0])), on_log=lambda point: _tell(asdict(point)))
    except MoiraiError as error:
        sys.exit(f"error: {error}")
    if is_first_process():
        _tell(ending)


def _tell(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
