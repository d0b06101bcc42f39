"""The report says what the frames say, survives any name, and stays small."""

import re
import time
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
from prefect.client.schemas.actions import ArtifactCreate

from tasks import artifacts, report
from tasks.findings import Findings
from tasks.job import job_from_settings
from tasks.panel import write_panel
from tasks.quality import Change, Check, Quarantine
from tasks.report import ReportInputs, report_markdown, score_table, write_report

LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
QUANTILES = [f"q{level * 100:.0f}" for level in LEVELS]
SPREAD = np.array([NormalDist().inv_cdf(level) for level in LEVELS])
SUMMARY = ["mase", "wql", "nd", "coverage_80"]
MODELS = {"metro": 0.1, "starter": 0.2, "seasonal_naive:168": 0.15, "seasonal_naive": 0.4}
NASTY = "a\"<b>&'$x_1$ 値 | `c`"


@dataclass
class Run:
    """A made-up run on disk."""

    inputs: ReportInputs
    folder: Path

    @property
    def html(self):
        return write_report(self.inputs, self.folder / "report.html").read_text(encoding="utf-8")

    def changed(self, **changes):
        return Run(self.inputs.model_copy(update=changes), self.folder)


def make_panel(items, steps, column, *, seed=0):
    """Daily waves with noise and gaps, on an hourly grid."""
    rng = np.random.default_rng(seed)
    times = pd.date_range("2024-01-01", periods=steps, freq="h")
    daily = 100 + 50 * np.sin(2 * np.pi * np.arange(steps) / 24)
    values = daily + rng.normal(0, 5, (len(items), steps))
    values[rng.random(values.shape) < 0.03] = np.nan
    values[:, -5:-2] = np.nan  # the last window lacks actual values
    index = {"item_id": np.repeat(items, steps), "timestamp": np.tile(times, len(items))}
    return pd.DataFrame(index | {column: values.ravel()})


def make_backtest(folder, panel, column, errors, *, windows, horizon):
    """The four tables of a backtest: normal forecasts around the true wave, worse with `error`."""
    rng = np.random.default_rng(1)
    tail = panel.groupby("item_id").tail(windows * horizon).reset_index(drop=True)
    place = tail.groupby("item_id").cumcount()
    start = tail["timestamp"] - pd.to_timedelta(place % horizon + 1, unit="h")
    keys = {"item_id": tail["item_id"], "target_name": column, "window_origin": start}
    frames = []
    for name, error in errors.items():
        middle = 100 + error * rng.normal(0, 100, len(tail))
        middle += 50 * np.sin(2 * np.pi * tail["timestamp"].dt.hour / 24)
        values = middle.to_numpy()[:, None] + 100 * error * SPREAD
        made = {"model_name": name, "model_version": "1"} | keys
        made |= {"timestamp": tail["timestamp"], "step": place % horizon + 1}
        made |= {"target": tail[column], "mean": middle}
        frames.append(pd.DataFrame(made | dict(zip(QUANTILES, values.T, strict=True))))
    forecasts = pd.concat(frames, ignore_index=True)
    folder.mkdir()
    forecasts.to_parquet(folder / "forecasts.parquet")
    model, window = ["model_name", "model_version"], ["item_id", "target_name", "window_origin"]
    scores(forecasts, [*model, *window]).to_parquet(folder / "scores.parquet")
    for table, by in (("summary", model), ("steps", [*model, "step"])):
        found = scores(forecasts, by)
        found[found["metric"].isin(SUMMARY)].to_parquet(folder / f"{table}.parquet")
    return forecasts


def scores(forecasts, keys):
    """Scores by the definitions of the backtest contract, in long form."""
    seen = forecasts.dropna(subset=["target"])
    actual, quantiles = seen["target"].to_numpy()[:, None], seen[QUANTILES].to_numpy()
    loss = 2 * np.abs((actual - quantiles) * ((quantiles >= actual) - np.array(LEVELS)))
    parts = seen[keys].assign(
        quantile_loss_sum=loss.mean(axis=1),
        abs_target_sum=seen["target"].abs(),
        abs_error_sum=(seen["target"] - seen["q50"]).abs(),
        observed=1.0,
        inside=((seen["q10"] <= seen["target"]) & (seen["target"] <= seen["q90"])).astype(float),
    )
    sums = parts.groupby(keys, sort=False).sum()
    table = sums.drop(columns="inside").assign(
        mase=sums["abs_error_sum"] / sums["observed"] / 40,
        wql=sums["quantile_loss_sum"] / sums["abs_target_sum"],
        nd=sums["abs_error_sum"] / sums["abs_target_sum"],
        coverage_80=sums["inside"] / sums["observed"],
    )
    return table.reset_index().melt(keys, var_name="metric", value_name="value")


def make_run(folder, *, items=("i94",), column="traffic", errors=MODELS, windows=20, horizon=48):
    """All that a run leaves behind, and the report's inputs."""
    panel = make_panel(list(items), (windows + 6) * horizon, column)
    make_backtest(folder / "backtest", panel, column, errors, windows=windows, horizon=horizon)
    future = pd.date_range(panel["timestamp"].max(), periods=horizon + 1, freq="h")[1:]
    forecast = pd.DataFrame({"item_id": np.repeat(items, horizon), "target_name": column})
    forecast = forecast.assign(timestamp=np.tile(future, len(items)), mean=100.0)
    forecast = forecast.assign(**{name: 100 + 20 * z for name, z in zip(QUANTILES, SPREAD, strict=True)})
    forecast = forecast.assign(origin=panel["timestamp"].max(), model_name="metro", model_version="1")
    forecast.to_parquet(folder / "forecast.parquet")
    steps = np.arange(1, 101)
    loss = pd.DataFrame({"step": steps, "train_loss": 1 / steps, "validation_loss": np.nan})
    loss.loc[[24, 49, 74, 99], "validation_loss"] = [0.5, 0.31, 0.25, 0.27]
    loss.to_parquet(folder / "loss.parquet")
    columns = {"timestamp": "when", "target": [column]}
    settings = {"name": "metro", "source": {"path": "x.csv"}, "columns": columns}
    settings |= {"frequency": "h", "season": 24, "horizon": horizon}
    job = job_from_settings(settings | {"tracking": "http://me:${TRACKING_PASSWORD}@tracker:5000"}, folder=folder)
    late = Check(
        rule="unique_timestamps",
        severity="warning",
        column=None,
        passed=False,
        count=7629,
        total=48204,
        message="7,629 of 48,204 rows repeat a time stamp.",
    )
    fine = late.model_copy(update={"rule": "columns_present", "passed": True, "severity": "critical"})
    inputs = ReportInputs(
        job=job,
        facts={"Model": "metro version 1", "Licence": "Apache-2.0"},
        findings=Findings(
            checks=[fine, late],
            quarantined=[Quarantine(item_id="old", rule="stale", why="No news.", first_rows=[2, 9])],
            changes=[Change(rule="duplicates", column=None, count=7629, message="Rows dropped.")],
        ),
        panel=write_panel(panel, folder, stage="clean"),
        backtest_folder=str(folder / "backtest"),
        candidate="metro",
        forecast_path=str(folder / "forecast.parquet"),
        loss_path=str(folder / "loss.parquet"),
        next_steps=["Forecast again: `moirai forecast metro.yaml`"],
    )
    return Run(inputs, folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The run that most tests look at."""
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def html(run):
    """Its page."""
    return run.html


class Text(HTMLParser):
    """Collects the visible text and the ids of a page."""

    def __init__(self, page):
        super().__init__()
        self.text, self.ids, self.sources = "", [], []
        self.feed(page)

    def handle_data(self, data):
        self.text += data

    def handle_starttag(self, tag, attrs):  # noqa: ARG002 - of the base class
        self.ids += [value for name, value in attrs if name == "id"]
        self.sources += [value for name, value in attrs if name in ("src", "href", "xlink:href")]


def cells(page):
    """Rows of all tables as lists of text."""
    rows = re.findall(r"<tr.*?</tr>", page, flags=re.DOTALL)
    return [[Text(cell).text for cell in re.findall(r"<td.*?</td>", row, re.DOTALL)] for row in rows]


def test_score_table_shows_the_numbers_of_the_summary(run, html):
    """Every score of the summary stands in the row of its model, rounded to three digits."""
    summary = pd.read_parquet(run.folder / "backtest" / "summary.parquet")
    values = summary.set_index(["model_name", "metric"])["value"]
    rows = {row[0].split()[0]: row for row in cells(html) if len(row) == 7}
    for name, label in {"metro": "metro", "starter": "starter"}.items():
        shown = rows[label][2:]
        assert shown[:3] == [f"{values[name, metric]:.3f}" for metric in ("mase", "wql", "nd")]
        assert shown[3] == f"{values[name, 'coverage_80']:.1%}"
        assert shown[4] == "20"


def test_best_of_each_column_is_marked(html):
    """The model with the least error carries the mark in its three columns."""
    row = next(r for r in re.findall(r"<tr.*?</tr>", html, re.DOTALL) if "this report" in r)
    assert row.count("best") >= 3


def test_verdict_compares_with_every_baseline_in_both_directions(run):
    """The sentence gives percentages that follow from the table, below and above."""
    rows = {row["model"]: row["wql"] for row in score_table(run.inputs.backtest_folder)}
    text = report_markdown(run.changed(candidate="starter", loss_path=None).inputs)
    below = 100 * (1 - rows["starter"] / rows["seasonal_naive"])
    above = 100 * (rows["starter"] / rows["seasonal_naive:168"] - 1)
    assert f"The model `starter` has a WQL of {rows['starter']:.3f}" in text
    assert f"{below:.0f}% below daily seasonal naive ({rows['seasonal_naive']:.3f})" in text
    assert f"{above:.0f}% above weekly seasonal naive ({rows['seasonal_naive:168']:.3f})" in text
    assert "Better than 1 of 2 baselines" in text


def test_page_needs_no_network(html):
    """Nothing is loaded: references point into the page or carry their data; ids are unique."""
    page = Text(html)
    assert all(source.startswith(("#", "data:image/png;base64,")) for source in page.sources)
    assert len(page.ids) == len(set(page.ids))
    assert not re.search(r"url\((?!#)|@import|<script", html)
    for reference in re.findall(r'(?:xlink:href="|url\()#([^")]+)', html):
        assert reference in page.ids


def test_page_tells_data_quality_training_and_places(html):
    """Checks with counts, quarantine with rows, mends, best step, paths, next steps; secrets are names."""
    text = Text(html).text
    for expected in [
        "7,629 / 48,204",
        "line 2, line 9",
        "Rows dropped.",
        "best: 0.2500 at step 75",
        "http://me:${TRACKING_PASSWORD}@tracker:5000",
        "moirai forecast metro.yaml",
        "1 of 2 failed (1 warning); 7,629 rows or values mended; 1 series left out.",
    ]:
        assert expected in text
    assert text.index("unique_timestamps") < text.index("columns_present")


def test_any_name_is_shown_as_it_is(tmp_path):
    """Quotes, markup, mathtext, other scripts and leading underscores reach the reader unharmed."""
    errors = {"_<i>$m$</i>": 0.1, "naive": 0.3}
    run = make_run(tmp_path, items=(NASTY,), column=NASTY, errors=errors, windows=2, horizon=6)
    quarantined = [Quarantine(item_id="<script>", rule="r", why="{{ 7 * 7 }} <hr>", first_rows=[])]
    page = run.changed(candidate=None, findings=Findings(quarantined=quarantined)).html
    text = Text(page).text
    assert text.count(NASTY) >= 4
    assert "_<i>$m$</i>" in text
    assert "{{ 7 * 7 }} <hr>" in text
    assert not re.search(r"<script|<hr>|<i>|<b>&", page)


def test_parts_that_did_not_run_are_left_out_with_a_sentence(run):
    """Without backtest, forecast and training the page says so and still shows the data."""
    bare = run.changed(backtest_folder=None, forecast_path=None, loss_path=None, candidate=None)
    text = Text(bare.html).text
    for sentence in report.ABSENT.values():
        assert sentence in text
    assert "Accuracy was not measured" in text
    assert "complete" in text
    assert "WQL" not in report_markdown(bare.inputs)


def test_a_forecast_without_a_backtest_is_headed_by_what_it_is(run):
    """The report of a scheduled forecast says from when and how far it reaches."""
    made = run.changed(backtest_folder=None, loss_path=None, candidate=None)
    expected = f"Forecast from {made.inputs.panel.end}, {made.inputs.job.horizon} steps ahead"
    assert expected in Text(made.html).text


def test_models_that_tie_share_the_mark_and_the_sentence(tmp_path):
    """Two equal models are level, both are best, and equality beats no baseline."""
    run = make_run(tmp_path, errors={"metro": 0.1, "naive": 0.2}, windows=2, horizon=6)
    for table in ("summary", "scores", "steps"):
        path = tmp_path / "backtest" / f"{table}.parquet"
        frame = pd.read_parquet(path)
        mine = frame[frame["model_name"] == "metro"]
        pd.concat([mine, mine.assign(model_name="naive")]).to_parquet(path)
    page = run.html
    assert "level with naive" in page
    assert "It shares the lowest WQL with naive." in page
    assert "Not better than any baseline" in page
    assert page.count('num best"') == 8


def test_versions_of_one_model_stand_apart(tmp_path):
    """Two versions of a name are two rows; the report is about the later one."""
    run = make_run(tmp_path, errors={"metro": 0.1, "other": 0.2}, windows=2, horizon=6)
    for table in ("summary", "scores", "steps", "forecasts"):
        path = tmp_path / "backtest" / f"{table}.parquet"
        frame = pd.read_parquet(path)
        versions = frame["model_name"].map({"metro": "9", "other": "10"})
        frame.assign(model_name="metro", model_version=versions).to_parquet(path)
    rows = score_table(run.inputs.backtest_folder)
    assert [(row["model"], row["version"]) for row in rows] == [("metro (9)", "9"), ("metro (10)", "10")]
    assert "The fine-tuned model <code>metro (10)</code>" in run.html


def test_windows_without_actual_values_have_no_scores(tmp_path):
    """A backtest of missing values gives a report without numbers, not an error or a nan."""
    run = make_run(tmp_path, errors={"metro": 0.1, "naive": 0.2}, windows=2, horizon=6)
    for table in ("summary", "scores", "steps"):
        path = tmp_path / "backtest" / f"{table}.parquet"
        pd.read_parquet(path).assign(value=np.nan).to_parquet(path)
    page = run.html
    assert "no actual values to score against" in page
    assert "nan" not in Text(page).text.replace("naive", "")
    assert {row["wql"] for row in score_table(run.inputs.backtest_folder)} == {None}


def test_candidate_that_was_not_scored_is_an_error(run):
    """A wrong name is refused with the names there are."""
    with pytest.raises(ValueError, match="no model 'metor'; it has metro"):
        report_markdown(run.changed(candidate="metor").inputs)


def test_many_series_stay_small_and_fast(tmp_path):
    """500 series give a page below one megabyte in seconds, with a handful of series drawn."""
    names = tuple(f"series-{number:03d}" for number in range(500))
    errors = {"metro": 0.1, "starter": 0.2, "seasonal_naive": 0.3}
    run = make_run(tmp_path, items=names, errors=errors, windows=3, horizon=24)
    started = time.perf_counter()
    page = run.html
    assert time.perf_counter() - started < 30
    assert len(page) < 1_000_000
    assert len({*re.findall(r"series-\d{3}", page)}) <= 4


def test_report_is_written_whole_or_not_at_all(run, tmp_path):
    """A failure leaves an older report untouched."""
    path = tmp_path / "deep" / "report.html"
    path.parent.mkdir()
    path.write_text("old")
    broken = run.changed(loss_path=str(tmp_path / "missing.parquet"))
    with pytest.raises(FileNotFoundError):
        write_report(broken.inputs, path)
    assert [file.read_text() for file in path.parent.iterdir()] == ["old"]


def test_markdown_table_keeps_its_shape(tmp_path):
    """Names with pipes and markup neither break the table nor turn into markup."""
    run = make_run(tmp_path, errors={"a|b*c*<i>": 0.1, "naive": 0.2}, windows=2, horizon=6)
    text = report_markdown(run.changed(candidate=None).inputs)
    row = next(line for line in text.splitlines() if line.startswith(r"| a\|b"))
    assert row.startswith(r"| a\|b\*c\*\<i\> | ")
    assert len(re.findall(r"(?<!\\)\|", row)) == 7


def test_publishing_writes_the_file_and_its_artifacts(run, monkeypatch):
    """The task returns the path of the report in the workspace; artifacts have keys Prefect accepts."""
    made = {}

    def keep(data, *, key, description):
        made[key] = ArtifactCreate(key=key, data=data, description=description)

    for name in ("create_markdown_artifact", "create_table_artifact"):
        monkeypatch.setattr(artifacts, name, keep)
    job = run.inputs.job.model_copy(update={"name": "metro_i-94_"})
    path = Path(report.publish_report.fn(run.changed(job=job).inputs))
    assert path.parent == job.workspace_path / "reports"
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    prefix = "metro-i-94-run-"
    assert {key.removeprefix(prefix) for key in made} == {"report", "checks", "quarantine", "changes", "scores"}
    assert str(path) in made[f"{prefix}report"].data
    assert made[f"{prefix}scores"].data[0]["model"] == "metro"
    assert made[f"{prefix}scores"].description.endswith(", of metro")
    assert made[f"{prefix}checks"].description == "Data checks: 1 of 2 failed (1 warning)"


def test_long_lists_are_cut_with_a_count(run):
    """Of 80 series left out the page shows 50 and the Markdown 5, each with how many there are more."""
    many = [Quarantine(item_id=f"old-{n}", rule="stale", why="No news.", first_rows=[n]) for n in range(1, 81)]
    cut = run.changed(findings=Findings(quarantined=many))
    text = Text(cut.html).text
    assert "old-50" in text
    assert "old-51" not in text
    assert "… and 30 more." in text
    short = report_markdown(cut.inputs)
    assert "- **left out** old-5: No news. (line 5)" in short
    assert "old-6" not in short
    assert "… and 75 more" in short


@pytest.fixture(scope="module")
def segmented(tmp_path_factory):
    """A run of four series with static columns: two regions, one missing, and a column without a choice."""
    folder = tmp_path_factory.mktemp("segmented")
    made = make_run(folder, items=("a", "b", "c", "d"), windows=2, horizon=6)
    static = pd.DataFrame({"item_id": list("abcd"), "region": ["north", "north", "south", None], "kind": "x"})
    frame = pd.read_parquet(made.inputs.panel.path)
    return made.changed(panel=write_panel(frame, folder, stage="clean", static=static))


def test_segments_are_the_values_of_static_columns(segmented):
    """One row per value with its series, and the candidate beside the best baseline."""
    html = segmented.html
    rows = {row[0]: row[1:] for row in cells(html) if len(row) == 7 and row[0] in ("north", "south", "(missing)")}
    assert [rows[name][:2] for name in ("north", "south", "(missing)")] == [["2", "4"], ["1", "2"], ["1", "2"]]
    scores = pd.read_parquet(segmented.folder / "backtest" / "scores.parquet")
    mine = scores[(scores["model_name"] == "metro") & scores["item_id"].isin(["a", "b"])]
    sums = mine.groupby("metric")["value"].sum()
    assert rows["north"][2] == f"{sums['quantile_loss_sum'] / sums['abs_target_sum']:.3f}"
    assert "kind has 1 value; segments are shown for 2 to 12." in Text(html).text
    assert "weekly seasonal naive" in html[html.index("By segment") :]


def test_without_static_columns_there_is_no_word_of_segments(html):
    """The section is only there where it says something."""
    assert "By segment" not in html
