"""The experiment of a job says what the job does, and leaves what others wrote there."""

from tasks.experiment import NOTE, describe_job, open_experiment
from tasks.mlflow_store import connect

from .shop import make_job


def note(job):
    """The description that MLflow shows of the job's experiment."""
    return connect(job).get_experiment(open_experiment(job)).tags[NOTE]


def test_the_description_names_targets_horizon_and_roles(tmp_path):
    """What MLflow shows on top of the experiment is the job in words."""
    columns = {
        "timestamp": "day",
        "item_id": ["city", "shop"],
        "target": ["sales"],
        "known": ["price"],
        "static": ["size"],
    }
    text = describe_job(make_job(tmp_path, columns=columns))
    assert text.startswith("Forecasts of `sales`: 7 steps of `D` ahead, from `shop.csv`.")
    assert "- series: told apart by `city`, `shop`" in text
    assert "- known in advance: `price`" in text
    assert "- static: `size`" in text


def test_a_query_is_not_shown(tmp_path):
    """The text of a query, and where it is asked, stay in the job file."""
    source = {"url": "postgresql://me@example/shop", "query": "SELECT secret FROM sales"}
    text = describe_job(make_job(tmp_path, source=source))
    assert "from a query of its database." in text
    assert "secret" not in text


def test_the_description_follows_the_job(tracking_uri, tmp_path):
    """A longer horizon is told by the next run."""
    assert "7 steps" in note(make_job(tmp_path, tracking=tracking_uri))
    assert "14 steps" in note(make_job(tmp_path, tracking=tracking_uri, horizon=14))


def test_a_description_that_somebody_wrote_stays(tracking_uri, tmp_path):
    """An edit in MLflow's pages is not lost to the next run."""
    job = make_job(tmp_path, tracking=tracking_uri)
    connect(job).set_experiment_tag(open_experiment(job), NOTE, "Ask Ann.")
    assert note(make_job(tmp_path, tracking=tracking_uri, horizon=14)) == "Ask Ann."
