"""A job with an MLflow database of its own, a tiny pretrained model, and versions that come from it."""

import contextlib

import pandas as pd
import pytest

SETTINGS = {
    "name": "shop",
    "source": {"path": "shop.csv"},
    "columns": {"timestamp": "day", "target": ["sales"], "past": ["temp"]},
    "frequency": "D",
    "horizon": 7,
    "finetune": {"base": "base"},
}


@pytest.fixture
def make_job(tmp_path):
    """Makes a job; named settings replace its own."""

    def make(**settings):
        from tasks.job import job_from_settings  # noqa: PLC0415 - the import hook of the suite comes first

        return job_from_settings(SETTINGS | settings, folder=tmp_path)

    return make


@pytest.fixture
def job(make_job, tracking_uri):
    """The job, with a database of its own."""
    return make_job(tracking=tracking_uri, columns={"timestamp": "day", "target": ["sales"]})


@pytest.fixture
def save(tmp_path):
    """Saves a tiny checkpoint of a seed into a folder beside the job."""

    def save(name, seed, licence="Apache-2.0"):
        import torch  # noqa: PLC0415 - see above

        from moirai import Moirai2Config, Moirai2Module, hub  # noqa: PLC0415 - see above

        torch.manual_seed(seed)
        config = Moirai2Config(d_model=64, d_ff=64, num_layers=1, patch_size=8, num_predict_token=2)
        return hub.save_module(Moirai2Module(config), tmp_path / name, licence=licence)

    return save


@pytest.fixture
def panel(tmp_path):
    """A month of one series."""
    from tasks.panel import write_panel  # noqa: PLC0415 - see above

    days = pd.date_range("2024-01-01", periods=30)
    frame = pd.DataFrame({"item_id": "a", "timestamp": days, "sales": 1.0})
    return write_panel(frame, tmp_path / "panels", stage="clean")


@pytest.fixture
def client(job):
    """A client of the job's registry."""
    from tasks.mlflow_store import connect  # noqa: PLC0415 - see above

    return connect(job)


@pytest.fixture
def add(job, client, save, tmp_path):
    """Makes a version that holds a tiny checkpoint and nothing else of a served model, and makes it the challenger.

    That takes a tenth of the time that registering one does, and these tests are about aliases and tags.
    """

    def add(seed, **tags):
        from mlflow.exceptions import MlflowException  # noqa: PLC0415 - see above

        from tasks.model_reference import version_ref  # noqa: PLC0415 - see above
        from tasks.promotion.weights import settings_tags  # noqa: PLC0415 - see above

        save("base", 0)
        save(f"versions/{seed}/artifacts/checkpoint", seed, None)
        place = tmp_path / "versions" / str(seed)
        (place / "MLmodel").write_text("flavors: {}\n", encoding="utf-8")
        with contextlib.suppress(MlflowException):  # it is there already
            client.create_registered_model("shop")
        known = {"base_model": "base", "root_model": "base", "licence": "Apache-2.0", **settings_tags(job)}
        version = client.create_model_version("shop", place.as_uri(), tags=known | tags)
        client.set_registered_model_alias("shop", "challenger", version.version)
        return version_ref(job, client, version, f"models:/shop/{version.version}")

    return add


@pytest.fixture
def register(job, panel, save):
    """Registers a version trained from a base, as a fine-tuning does."""

    def register(seed, *, base="base", licence="Apache-2.0", of=None, **known):
        from tasks.register import register_model, resolve_model  # noqa: PLC0415 - see above

        if base == "base":
            save("base", 0, licence)
        return register_model(
            of or job,
            folder=save(f"tuned-{seed}", seed, None),
            training_key=f"key-{seed}",
            panel=panel,
            base=resolve_model(job, base),
            metrics={"wql": 0.1},
            **known,
        )

    return register


@pytest.fixture
def aliases(job):
    """Tells where champion, previous and challenger point."""

    def aliases():
        from tasks.register import alias_version  # noqa: PLC0415 - see above

        return [alias_version(job, name) for name in ("champion", "previous", "challenger")]

    return aliases


@pytest.fixture
def promote(job):
    """Carries out a promotion of the challenger as if it had met every rule; returns the decision."""

    def promote(run_id="run", contest=None):
        from tasks.promotion.carry_out import carry_out  # noqa: PLC0415 - see above
        from tasks.promotion.contest import find_contest  # noqa: PLC0415 - see above
        from tasks.promotion.decision import decide  # noqa: PLC0415 - see above

        contest = contest or find_contest(job)
        champion = contest.champion.version if contest.champion else None
        decision = decide(job.name, contest.challenger.version, champion, rules=[], evidence=None, notes=[])
        return carry_out(job, contest, decision, run_id=run_id)

    return promote
