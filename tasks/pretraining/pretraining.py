"""The whole configuration of a pretraining, and how it is loaded.

In: a YAML file (`load_pretraining`). Out: a frozen `Pretraining`. Fails with `JobError`, which names file, setting and
mend. Relative paths start at the folder of the file.
"""

from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr, ValidationError

from tasks.errors import JobError
from tasks.job.places import TrackingUri
from tasks.job.problems import explain
from tasks.job.reading import read_mapping
from tasks.job.setting import Setting
from tasks.pretraining.architecture import Architecture
from tasks.pretraining.data import Data, plain_source
from tasks.pretraining.run import Optimizer, Run

EXAMPLE = "deployments/pretrain-starter.yaml"


class Pretraining(Setting):
    """One pretraining: a network, what it is shown, how it is trained, and where the result goes."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_-]*$",
        description="name of the run's folder and of its experiment in MLflow: lower case, digits, - and _",
    )
    architecture: Architecture
    data: Data = Data()
    optimizer: Optimizer = Optimizer()
    run: Run
    out: str | None = Field(None, description="folder of the checkpoint; null: WORKSPACE/pretrained/NAME")
    state: str | None = Field(None, description="folder of the run's states; null: WORKSPACE/pretraining/NAME")
    licence: str = Field("Apache-2.0", description="licence that the checkpoint carries, as an SPDX name")
    storage: str = Field("bf16", pattern="^(fp32|bf16)$", description="numbers of the stored weights: fp32 or bf16")
    tracking: TrackingUri = Field(
        "sqlite:///mlflow.db", description="MLflow tracking URI: a server's http:// URL or SQLite"
    )
    workspace: str = Field("moirai-work", description="folder for states, checkpoints and MLflow artifacts")

    _folder: Path = PrivateAttr(default_factory=Path.cwd)

    def resolve(self, path: str) -> Path:
        """Absolute form of a path of this file: relative ones start at its folder."""
        return (self._folder / Path(path).expanduser()).resolve()

    @property
    def workspace_path(self) -> Path:
        """Absolute path of the workspace."""
        return self.resolve(self.workspace)

    @property
    def out_path(self) -> Path:
        """Absolute path of the checkpoint."""
        return self.resolve(self.out) if self.out else self.workspace_path / "pretrained" / self.name

    @property
    def state_path(self) -> Path:
        """Absolute path of the run's states."""
        return self.resolve(self.state) if self.state else self.workspace_path / "pretraining" / self.name

    def plain(self) -> dict[str, Any]:
        """What `moirai/training/plain_run.py` takes."""
        data = self.data.model_dump(mode="json", exclude_none=True)
        data["sources"] = [plain_source(one, self.resolve) for one in self.data.sources]
        optimizer = self.optimizer.model_dump(mode="json")
        return {
            "architecture": self.architecture.config().to_dict(),
            "data": data,
            "settings": {"optimizer": optimizer.pop("name"), **optimizer, **self.run.model_dump(mode="json")},
            "state": str(self.state_path),
            "out": str(self.out_path),
            "licence": self.licence,
            "storage": self.storage,
        }


def load_pretraining(path: str | Path) -> Pretraining:
    """Read and check a file.

    Args:
        path: a YAML file.

    Returns:
        The pretraining; relative paths in it start at the file's folder.

    Raises:
        JobError: the file is missing or no YAML mapping, has an unknown key, or a value that cannot work.
    """
    file = Path(path)
    settings = read_mapping(file, kind="pretraining file", mend=f"{EXAMPLE} is one to start from")
    try:
        found = Pretraining.model_validate(settings)
    except ValidationError as error:
        raise JobError(f"{file}: {explain(error, Pretraining)}") from error
    found._folder = file.resolve().parent  # noqa: SLF001 - the one place that knows the folder
    return found
