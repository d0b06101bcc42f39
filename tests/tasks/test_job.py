"""The job file: what is refused says setting, value and mend; what is accepted resolves; its page is current."""

import copy

import pytest
import yaml

from tasks.errors import JobError
from tasks.job import Job, job_from_settings, load_job
from tasks.job import reference as job_reference

SMALLEST = {
    "name": "metro",
    "source": {"path": "data/metro.csv"},
    "columns": {"timestamp": "date_time", "target": ["volume"], "checked": ["temp"]},
    "frequency": "h",
    "horizon": 48,
}


def changed(setting, value):
    """The smallest job with one setting, named with dots, set to a value."""
    settings = copy.deepcopy(SMALLEST)
    *blocks, key = setting.split(".")
    block = settings
    for name in blocks:
        block = block.setdefault(name, {})
    block[key] = value
    return settings


def build(settings, folder):
    """The job of some settings."""
    return job_from_settings(settings, folder=folder, origin="job.yaml")


@pytest.mark.parametrize(
    ("setting", "value", "parts"),
    [
        ("horizn", 3, ["horizn", "unknown setting", "horizon"]),
        ("backtest.window", 3, ["backtest.window", "unknown setting", "windows"]),
        ("validation.ranges", {"volume": {"mn": 0}}, ["ranges.volume.mn", "known here: min, max"]),
        ("name", "naive", ["name", "name of a baseline", "choose another"]),
        ("horizon", "two", ["horizon", "valid integer", "'two'", "steps to forecast"]),
        ("horizon", 0, ["horizon", "greater than 0", "it is 0"]),
        ("horizon", 2.5, ["horizon", "2.5", "steps to forecast"]),
        ("horizon", True, ["horizon", "true is no value here", "quote"]),
        ("columns.item_id", False, ["columns.item_id", "false", "quote"]),
        ("columns.target", "volume", ["columns.target", "valid list", "'volume'"]),
        ("columns.target", [], ["columns.target", "at least 1"]),
        ("columns.target", [True], ["columns.target.0", "valid string", "True"]),
        ("columns.item_id", "volume", ["columns", "'volume' has two roles", "name each column once"]),
        ("columns.checked", ["date_time"], ["'date_time' has two roles"]),
        ("source", "metro.csv", ["source", "block of settings", "'metro.csv'"]),
        ("source.delimiter", "::", ["source.delimiter", "1 character", "'::'"]),
        ("quantiles", [0.5, 0.1], ["quantiles", "[0.5, 0.1]", "sort them"]),
        ("quantiles", [0.1, 0.1], ["quantiles", "[0.1, 0.1]", "each once"]),
        ("quantiles", [0.1, 1.2], ["quantiles.1", "1.2", "less than 1"]),
        ("quantiles", [0, 0.5], ["quantiles.0", "it is 0", "inside (0, 1)"]),
        ("quantiles", [], ["quantiles", "at least 1"]),
        ("validation.stale_after", "7 days", ["validation.stale_after", "'7 days'", "such as 7d"]),
        ("validation.max_missing", 1.5, ["validation.max_missing", "1.5", "share"]),
        ("validation.ranges", {"wind": {"min": 0}}, ["validation.ranges", "'wind'", "no numeric column"]),
        ("validation.ranges", {"temp": {"min": 3, "max": 1}}, ["ranges.temp", "min 3.0", "max 1.0"]),
        ("backtest.baselines", ["arima"], ["backtest.baselines", "'arima'", "seasonal_naive:N"]),
        ("backtest.baselines", ["seasonal_naive:0"], ["'seasonal_naive:0'", "known: naive"]),
        ("backtest.after", "soon", ["backtest.after", "'soon'", "later day"]),
        ("promotion.metric", "mae", ["promotion.metric", "'mae'", "lower is better"]),
        ("promotion.min_gain", 1.5, ["promotion.min_gain", "1.5", "0.02 is 2 %"]),
        ("promotion.segments", ["state"], ["promotion.segments", "'state'", "name it in columns.static"]),
        ("promotion.segments", ["state", "state"], ["promotion.segments", "twice"]),
        ("promotion.horizon_ranges", [[7, 1]], ["promotion.horizon_ranges", "[7, 1]", "such as [1, 6]"]),
        ("promotion.horizon_ranges", [[1]], ["promotion.horizon_ranges", "[1]", "[first, last]"]),
        ("promotion.horizon_ranges", [[1, 49]], ["promotion.horizon_ranges", "[1, 49]", "horizon of 48 steps"]),
        ("promotion.coverage", [0.9, 0.7], ["promotion.coverage", "[0.9, 0.7]", "[lowest, highest]"]),
        ("promotion.coverage", [0.5, 1.2], ["promotion.coverage.1", "1.2"]),
        ("non_commercial", "perhaps", ["non_commercial", "'perhaps'", "boolean"]),
        ("schedule.catch_up", "some", ["schedule.catch_up", "'some'", "newest one that is due"]),
        ("schedule.cronn", "* * * * *", ["schedule.cronn", "unknown setting", "cron, every"]),
        ("schedule.cron", "0 6 * *", ["schedule.cron", "'0 6 * *' is no cron", "such as 0 6 * * *"]),
        ("schedule.cron", "0 25 * * *", ["schedule.cron", "'0 25 * * *'", "Bad hour"]),
        ("schedule.cron", "0 0 L * *", ["schedule.cron", "'0 0 L * *'", "five fields"]),
        ("schedule.cron", "* * * * * *", ["schedule.cron", "five fields"]),
        ("schedule.cron", "0 0 1 * MON", ["schedule.cron", "set one of them to *"]),
        ("schedule.every", "2D", ["schedule.every", "'2D'", "D or W, or use cron"]),
        ("schedule.every", "MS", ["schedule.every", "'MS'", "or use cron"]),
        ("schedule.every", "1ms", ["schedule.every", "'1ms'", "seconds to hours"]),
        ("schedule.every", "often", ["schedule.every", "'often'", "15min"]),
        ("schedule.timezone", "Berlin", ["schedule.timezone", "'Berlin' is no time zone", "Europe/Berlin"]),
        ("schedule", {"every": "h", "cron": "0 6 * * *"}, ["schedule", "either cron", "or every"]),
        ("schedule", {"timezone": "Europe/Berlin"}, ["schedule", "either cron", "or every"]),
        ("transform.duplicates", "drop", ["transform.duplicates", "'drop'", "keep_first"]),
        ("finetune.precision", "fp16", ["finetune.precision", "'fp16'", "bf16"]),
        ("frequency", "fortnight", ["frequency", "'fortnight'", "15min"]),
        ("frequency", "-1h", ["frequency", "'-1h'", "positive"]),
        ("warehouse", "mysql://db", ["warehouse", "'mysql://db'", "duckdb:///FILE or postgresql://"]),
        ("tracking", "file:///runs", ["tracking", "'file:///runs'", "sqlite:///FILE"]),
        ("name", "Metro 1", ["name", "'Metro 1'", "lower case"]),
    ],
)
def test_bad_setting_is_explained(setting, value, parts, tmp_path):
    """A value that cannot work is refused on one line with setting, value and mend."""
    with pytest.raises(JobError) as caught:
        build(changed(setting, value), tmp_path)
    message = str(caught.value)
    assert message.startswith("job.yaml: ")
    assert "\n" not in message
    assert [part for part in parts if part not in message] == []


@pytest.mark.parametrize("setting", ["name", "source", "columns", "frequency", "horizon"])
def test_required_setting_is_named(setting, tmp_path):
    """A missing setting is named together with what it means."""
    settings = {name: value for name, value in SMALLEST.items() if name != setting}
    with pytest.raises(JobError, match=f"{setting}: Field required"):
        build(settings, tmp_path)


def test_all_problems_are_told_at_once(tmp_path):
    """Nobody has to mend a file ten times to learn of ten problems."""
    settings = changed("quantiles", [2]) | {"horizon": 0, "colour": "red"}
    with pytest.raises(JobError, match=r"horizon.*; quantiles.*; colour"):
        build(settings, tmp_path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name: [metro\n", "not valid YAML"),
        ("name: a: b\n", "not valid YAML"),
        ("", "holds no settings"),
        ("- metro\n", "holds no settings"),
    ],
)
def test_file_that_is_no_job(text, problem, tmp_path):
    """A file that is no YAML mapping is refused on one line that names it."""
    file = tmp_path / "job.yaml"
    file.write_text(text)
    with pytest.raises(JobError, match=problem) as caught:
        load_job(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_binary_file_is_no_job(tmp_path):
    """A file that is not UTF-8 text is refused as such."""
    file = tmp_path / "job.yaml"
    file.write_bytes(b"\xff\xfe\x00n")
    with pytest.raises(JobError, match="not valid YAML"):
        load_job(file)


def test_missing_file_says_how_to_get_one(tmp_path):
    """A missing job file is named, with the command that writes one."""
    with pytest.raises(JobError, match=r"absent.yaml does not exist; `moirai init"):
        load_job(tmp_path / "absent.yaml")


def test_paths_start_at_the_job_file(tmp_path, monkeypatch):
    """A scheduled run finds the same files wherever it is started."""
    file = tmp_path / "jobs" / "job.yaml"
    file.parent.mkdir()
    file.write_text(yaml.safe_dump(SMALLEST))
    monkeypatch.chdir(tmp_path)
    job = load_job("jobs/job.yaml")
    assert job.resolve(job.source.path) == (tmp_path / "jobs/data/metro.csv").resolve()
    assert job.workspace_path == (tmp_path / "jobs/moirai-work").resolve()
    assert job.resolve("/data/metro.csv").as_posix() == "/data/metro.csv"


def test_season_and_least_length_follow_the_frequency(tmp_path):
    """What is not set follows from frequency and horizon; what is set wins."""
    job = build(SMALLEST, tmp_path)
    assert (job.season_length, job.min_length) == (24, 48 + 24)
    weekly = build(changed("season", 168), tmp_path)
    assert (weekly.season_length, weekly.min_length) == (168, 48 + 168)
    assert build(changed("validation.min_length", 10), tmp_path).min_length == 10


def test_config_hash_sees_its_blocks_only(tmp_path):
    """The hash changes with the blocks it is made of and with no other."""
    job, other = build(SMALLEST, tmp_path), build(changed("finetune.seed", 1), tmp_path)
    assert job.config_hash() != other.config_hash()
    assert job.config_hash("columns", "horizon") == other.config_hash("columns", "horizon")
    assert job.config_hash("finetune") != other.config_hash("finetune")


@pytest.mark.parametrize(
    ("source", "schedule", "zone"),
    [
        ({}, None, "UTC"),
        ({}, {"every": "h", "timezone": "Europe/Berlin"}, "Europe/Berlin"),
        ({"timezone": "Europe/Paris", "to_timezone": "UTC"}, {"every": "h", "timezone": "Europe/Berlin"}, "UTC"),
    ],
)
def test_the_time_of_the_data_is_that_of_the_source_else_of_the_schedule(source, schedule, zone, tmp_path):
    """Where the source names a zone to keep time in, it counts; moments of the schedule are taken there."""
    settings = copy.deepcopy(SMALLEST) | {"schedule": schedule}
    settings["source"] |= source
    assert build(settings, tmp_path).time_zone == zone


def test_a_job_never_changes(tmp_path):
    """What ran is what was loaded."""
    with pytest.raises(ValueError, match="frozen"):
        build(SMALLEST, tmp_path).horizon = 3


def test_reference_page_is_current():
    """docs/job-file.md is what the descriptions in the model say."""
    page = job_reference.PAGE.read_text(encoding="utf-8")
    assert page == job_reference.reference_page(), "run: python -m tasks.job.reference"


def test_reference_page_names_every_setting():
    """No setting is left out of the page, whatever block it is in."""
    page = job_reference.reference_page()

    def names(schema):
        return [name for part in schema for name in part.get("properties", {})]

    schema = Job.model_json_schema()
    everything = names([schema, *schema["$defs"].values()])
    assert [name for name in everything if f"`{name}`" not in page] == []


def test_reference_example_is_a_job(tmp_path):
    """The example on the page can be used as it stands."""
    job = build(yaml.safe_load(job_reference.EXAMPLE), tmp_path)
    assert job.columns.target == ["traffic_volume"]


def test_every_setting_is_described():
    """A setting without a description could be neither documented nor explained in an error."""

    def undescribed(model):
        for name, field in model.model_fields.items():
            if hasattr(field.annotation, "model_fields"):
                yield from undescribed(field.annotation)
            elif not field.description:
                yield name

    assert list(undescribed(Job)) == []


def test_commented_defaults_fall_into_place(tmp_path):
    """In a commented job file, removing the # of the default lines gives the same job."""
    text = job_reference.commented_job(SMALLEST, notes={"horizon": "two days"}, head="A job.")
    lines = [line[1:] if line.startswith("#") and line[1:2] != " " else line for line in text.splitlines()]
    inner = [line[1:] if line.startswith("#  ") else line for line in lines]
    full = yaml.safe_load("\n".join(inner))
    assert build(full, tmp_path) == build(yaml.safe_load(text), tmp_path) == build(SMALLEST, tmp_path)
    assert set(full) == set(Job.model_fields)
    assert "# two days" in text
