"""What docker/ says, read as Docker and Compose read it: the tests of containers look at this."""

import fnmatch
import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"
VARIABLE = re.compile(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}")
SECRETS = ["POSTGRES_PASSWORD", "PREFECT_DB_PASSWORD", "MLFLOW_DB_PASSWORD", "WAREHOUSE_PASSWORD"]


class UnsetError(Exception):
    """A variable without which Compose refuses to start."""


def read_compose(values):
    """docker/compose.yaml with its variables filled in."""

    def fill(match):
        name, rule, argument = match.groups()
        if values.get(name):
            return values[name]
        if rule == ":?":
            raise UnsetError(f"{name}: {argument}")
        assert rule == ":-", f"{name} is neither required nor has it a default"
        return argument

    text = (DOCKER / "compose.yaml").read_text(encoding="utf-8")
    return yaml.safe_load("\n".join(VARIABLE.sub(fill, line.partition(" #")[0]) for line in text.splitlines()))


@dataclass
class Stage:
    """A stage of the Dockerfile: its name, what it starts from, and its instructions in order."""

    name: str
    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, keyword):
        """Arguments of every instruction of a kind."""
        return [arguments for word, arguments in self.instructions if word == keyword]


def read_dockerfile():
    """The stages of docker/Dockerfile by name."""
    lines = [line for line in (DOCKER / "Dockerfile").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    stages = {}
    for instruction in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if not instruction:
            continue
        keyword, _, arguments = instruction.partition(" ")
        if keyword == "FROM":
            base, _, name = arguments.partition(" AS ")
            stage = stages[name] = Stage(name, base)
        elif stages:
            stage.instructions.append((keyword, arguments.strip()))
    return stages


def lineage(stages, name):
    """A stage with those it is built upon, the first one first."""
    chain = []
    while name in stages:
        chain.insert(0, stages[name])
        name = stages[name].base
    return chain


def environment_of(stages, name):
    """The variables that an image sets."""
    pairs = [pair for stage in lineage(stages, name) for line in stage.all("ENV") for pair in line.split()]
    return dict(pair.split("=", 1) for pair in pairs)


def is_sent(path):
    """Whether .dockerignore lets a path of the repository into the build; the last pattern that fits decides."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            pattern = line.lstrip("!").removeprefix("**/")
            parts = path.split("/")
            anywhere = line.lstrip("!").startswith("**/")
            starts = range(len(parts)) if anywhere else [0]
            heads = ["/".join(parts[start:end]) for start in starts for end in range(start + 1, len(parts) + 1)]
            if any(fnmatch.fnmatchcase(head, pattern) and head.count("/") == pattern.count("/") for head in heads):
                sent = line.startswith("!")
    return sent
