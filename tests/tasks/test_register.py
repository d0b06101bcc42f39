"""Versions in the registry: what is registered once, what it knows of itself, what a reference means."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pandas as pd
import pytest
import torch
import yaml

from moirai import Moirai2Config, Moirai2Module, hub
from moirai.forecasting.covariates import CovariateEncoding
from tasks import mlflow_store, register, tracking
from tasks.errors import TrackingError
from tasks.promotion.weights import settings_tags

from .shop import make_attempt, make_job, make_panel


@pytest.fixture
def job(tracking_uri, tmp_path):
    """A job with an MLflow database of its own."""
    return make_job(tmp_path, tracking=tracking_uri)


@pytest.fixture
def panel(tmp_path):
    """A month of one series."""
    return make_panel(tmp_path)


@pytest.fixture
def base(job, tmp_path):
    """A tiny checkpoint under a licence of its own, resolved."""
    save_checkpoint(tmp_path / "base", seed=0, licence="CC-BY-NC-4.0")
    return register.resolve_model(job, "base")


@pytest.fixture
def add(job, panel, base, tmp_path):
    """Registers the checkpoint of a seed under a training key."""

    def add(seed, *, key="key", run_id=None):
        folder = save_checkpoint(tmp_path / f"tuned-{seed}", seed=seed)
        return register.register_model(
            job, folder=folder, training_key=key, panel=panel, base=base, metrics={"wql": 0.1}, run_id=run_id
        )

    return add


def save_checkpoint(folder, *, seed, licence=None):
    """A real checkpoint, small."""
    torch.manual_seed(seed)
    config = Moirai2Config(d_model=64, d_ff=64, num_layers=1, patch_size=8, num_predict_token=2)
    return hub.save_module(Moirai2Module(config), folder, licence=licence)


def count(job):
    """How many runs, logged models and versions there are."""
    client = mlflow_store.connect(job)
    experiments = [tracking.open_experiment(job)]
    return (
        len(client.search_runs(experiments)),
        len(client.search_logged_models(experiments)),
        len(client.search_model_versions("name='shop'")),
    )


def test_a_version_says_where_it_comes_from(job, panel, base, add):
    """Training, settings, data, base, licence and weights stand in its tags."""
    model = add(1)
    assert (model.reference, model.name, model.version, model.base) == ("models:/shop/1", "shop", "1", "base")
    assert model.licence == base.licence == "CC-BY-NC-4.0", "the licence of the base travels along"
    assert hub.resolve(model.folder).digest == model.digest
    version = mlflow_store.connect(job).get_model_version("shop", "1")
    assert version.tags == {
        "training_key": "key",
        "weights_digest": model.digest,
        "config_hash": job.config_hash(),
        "panel_digest": panel.digest,
        "base_model": "base",
        "base_version": base.digest,
        "root_model": "base",
        "licence": "CC-BY-NC-4.0",
        "package_version": tracking.own_version(),
        **settings_tags(job),
    }


def test_a_version_keeps_the_covariates_of_its_training(job, panel, base, tmp_path):
    """The tag says the columns, metadata and checkpoint the whole encoding, and the reference brings it back."""
    encoding = CovariateEncoding(known=("promo", "day"), past=("temp",), lead=7, names={"day": ("Easter", "May Day")})
    folder = save_checkpoint(tmp_path / "tuned", seed=1)
    encoding.write(folder)
    made = register.register_model(job, folder=folder, training_key="key", panel=panel, base=base, metrics={})
    assert made.encoding == encoding
    assert register.resolve_model(job, "models:/shop/1").encoding == encoding
    assert register.resolve_model(job, str(folder)).encoding == encoding
    assert base.encoding is None
    tags = mlflow_store.connect(job).get_model_version("shop", "1").tags
    assert tags["covariates"] == "known: day (names), promo; past: temp"
    kept = yaml.safe_load((made.folder.parents[1] / "MLmodel").read_text())["metadata"]["covariates"]
    assert kept == {"known": ["promo", "day"], "past": ["temp"], "lead": 7, "names": {"day": ["Easter", "May Day"]}}


def test_the_same_training_gives_the_same_version(job, add):
    """A repeat returns the version that is there and leaves nothing new behind."""
    first = add(1)
    before = count(job)
    assert before == (1, 1, 1)
    assert add(1) == first
    assert count(job) == before


def test_other_weights_or_another_training_give_a_new_version(add):
    """Neither the key nor the weights alone make a version."""
    assert [add(1).version, add(2).version, add(1, key="other").version, add(2).version] == ["1", "2", "3", "2"]


def test_a_version_whose_files_are_gone_is_registered_anew(job, add):
    """Otherwise the mend that the error names would mend nothing."""
    first = add(1)
    shutil.rmtree(first.folder)
    with pytest.raises(TrackingError, match=r"version 1 of 'shop' holds no Moirai checkpoint.*moirai finetune"):
        register.resolve_model(job, "models:/shop/1")
    again = add(1)
    assert again.version == "2"
    assert again.digest == first.digest


def test_a_model_joins_the_run_of_its_training(job, panel, add):
    """The run stays as it was, and names the model; the metrics are the model's, too."""
    empty = {"tags": {}, "params": {}, "metrics": {}, "series": {}, "tables": {}, "figures": {}, "files": []}
    attempt = make_attempt(panel)
    run_id = tracking.log_run(job, attempt, stage="finetune", description="Better.", panel=panel, **empty)
    add(1, run_id=run_id)
    client = mlflow_store.connect(job)
    (model,) = client.search_logged_models([tracking.open_experiment(job)])
    run = client.get_run(run_id)
    assert count(job) == (1, 1, 1)
    assert run.info.status == "FINISHED"
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]
    assert [(metric.key, metric.value) for metric in model.metrics] == [("wql", 0.1)]
    assert client.get_model_version("shop", "1").run_id == run_id


def test_an_interrupted_registration_leaves_no_version(job, add):
    """Run and model are marked as failed; the next attempt starts afresh."""
    tracking.open_experiment(job)
    blocked = job.workspace_path / "mlartifacts" / "models"
    blocked.write_text("")
    with pytest.raises(OSError, match="models"):
        add(1)
    client, experiment = mlflow_store.connect(job), tracking.open_experiment(job)
    assert count(job) == (1, 1, 0)
    assert client.search_runs([experiment])[0].info.status == "FAILED"
    assert client.search_logged_models([experiment])[0].status == "FAILED"
    blocked.unlink()
    assert add(1).version == "1"


def test_a_new_version_is_the_challenger(job, panel, base, add, tmp_path):
    """Also one that was there already, but not that of a run which stands in the past; nothing else moves."""
    moved = []
    for seed in (1, 2, 1):
        add(seed)
        moved.append([register.alias_version(job, name) for name in ("challenger", "champion", "previous")])
    assert moved == [["1", None, None], ["2", None, None], ["1", None, None]]
    folder = save_checkpoint(tmp_path / "past", seed=3)
    training = {"folder": folder, "training_key": "past", "panel": panel, "base": base, "metrics": {}}
    assert register.register_model(job, **training, challenger=False).version == "3"
    assert register.alias_version(job, "challenger") == "1"


def test_a_version_knows_until_when_its_training_saw(job, panel, base, add, tmp_path):
    """It is told again where the same weights come out of a training on other time stamps."""
    assert add(1).trained_until is None
    folder = save_checkpoint(tmp_path / "tuned-1", seed=1)
    training = {"folder": folder, "training_key": "key", "panel": panel, "base": base, "metrics": {}}
    for day in ("2024-01-20", "2024-01-21"):
        made = register.register_model(job, **training, trained_until=pd.Timestamp(day))
        assert (made.version, made.trained_until) == ("1", pd.Timestamp(day))
    assert register.resolve_model(job, "models:/shop/1").trained_until == pd.Timestamp("2024-01-21")


def test_an_alias_is_pinned_to_a_version(job, add):
    """What was resolved stays what it is when the alias moves on."""
    first, second = add(1), add(2)
    register.set_alias(job, "champion", first.version)
    pinned = register.resolve_model(job, "models:/shop@champion")
    register.set_alias(job, "champion", second.version)
    assert pinned == first.model_copy(update={"reference": "models:/shop@champion"})
    assert register.resolve_model(job, "models:/shop@champion").version == "2"
    assert register.resolve_model(job, "models:/shop/1") == first


def test_training_from_a_version_names_that_version(job, panel, add, tmp_path):
    """The alias it was found by may mean another one tomorrow."""
    register.set_alias(job, "champion", add(1).version)
    model = register.register_model(
        job,
        folder=save_checkpoint(tmp_path / "next", seed=5),
        training_key="next",
        panel=panel,
        base=register.resolve_model(job, "models:/shop@champion"),
        metrics={},
    )
    assert model.base == "models:/shop/1"
    assert model.root == "base", "the pretrained model that the chain began with"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("models:/absent@champion", r"no registered model 'absent' \(there: shop\); `moirai finetune`"),
        ("models:/shop@champion", r"no alias 'champion' \(there: challenger is version 1\); `moirai finetune`"),
        ("models:/shop/7", r"no version 7 \(latest: 1\); `moirai finetune`"),
        ("models:/shop", r"write models:/NAME@ALIAS or models:/NAME/VERSION"),
        ("models:/shop/latest", r"write models:/NAME@ALIAS or models:/NAME/VERSION"),
        ("models:/sh'op/1", r"write models:/NAME@ALIAS or models:/NAME/VERSION"),
    ],
)
def test_an_unknown_model_is_answered_with_what_there_is(job, add, reference, message):
    """Name, alias and version are told apart, and each error names the mend."""
    register.set_alias(job, "challenger", add(1).version)
    with pytest.raises(TrackingError, match=message):
        register.resolve_model(job, reference)


def test_a_relative_folder_starts_at_the_jobs_folder(job, base, tmp_path, monkeypatch):
    """The working directory plays no part; the name is the folder's, the version its digest."""
    monkeypatch.chdir("/")
    expected = hub.resolve(tmp_path / "base")
    for reference in ("base", "./base", str(tmp_path / "base")):
        model = register.resolve_model(job, reference)
        assert (model.name, model.version, model.digest) == ("base", expected.digest, expected.digest)
        assert model.folder == expected.folder
    assert base.base is None


def test_a_bundled_name_means_the_bundled_model(job, tmp_path):
    """A folder that happens to be called like it does not take its place."""
    save_checkpoint(tmp_path / "starter", seed=3)
    model = register.resolve_model(job, "starter")
    assert (model.name, model.licence, model.folder) == ("starter", "Apache-2.0", hub.BUNDLED["starter"])


@pytest.mark.usefixtures("socket_disabled")
def test_registering_and_resolving_need_no_network(job, add):
    """With SQLite everything stays on this machine."""
    model = add(1)
    register.set_alias(job, "champion", model.version)
    assert register.resolve_model(job, "models:/shop@champion").version == "1"


@pytest.fixture
def server(mlflow_template, tmp_path):
    """A tracking server of the test's own; it takes some ten seconds to start."""
    store = shutil.copy(mlflow_template, tmp_path / "server.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", port, "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{store}", "--artifacts-destination", str(tmp_path / "kept")]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)  # noqa: S603 - our own
        try:
            wait_for(f"http://127.0.0.1:{port}/health")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


def wait_for(url):
    """Return once a server answers."""
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 - our own server
        except OSError:
            assert time.monotonic() < deadline, f"{url} did not answer"
            time.sleep(0.2)
        else:
            return


@pytest.mark.integration
def test_a_server_keeps_versions_and_hands_them_out(server, panel, tmp_path):
    """A version is fetched into the workspace once; when the server lost it, it is registered anew."""
    job = make_job(tmp_path, tracking=server)
    folder = save_checkpoint(tmp_path / "tuned", seed=1)
    training = {"folder": folder, "training_key": "key", "panel": panel, "metrics": {"wql": 0.1}}
    training["base"] = register.resolve_model(job, str(folder))
    model = register.register_model(job, **training)
    assert model.folder.is_relative_to(job.workspace_path / "models" / "shop")
    assert model.digest == hub.resolve(folder).digest
    register.set_alias(job, "champion", model.version)
    written = (model.folder / "config.json").stat().st_mtime_ns
    assert register.resolve_model(job, "models:/shop@champion").folder == model.folder
    assert (model.folder / "config.json").stat().st_mtime_ns == written, "fetched once"
    assert register.register_model(job, **training) == model
    shutil.rmtree(tmp_path / "kept")
    shutil.rmtree(job.workspace_path / "models")
    assert register.register_model(job, **training).version == "2"
