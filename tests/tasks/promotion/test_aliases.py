"""Aliases move together: forward, back, back again; whatever interrupts them, there is a champion."""

import pytest
from mlflow import MlflowClient

from tasks.errors import TrackingError
from tasks.model_reference import registered_model, resolve_model
from tasks.promotion.aliases import last_move, roll_back
from tasks.promotion.contest import find_contest


class Cut(BaseException):
    """Stands for a process that ends in the middle."""


@pytest.fixture(params=["previous", "champion"])
def cut(request, monkeypatch):
    """Call it to let the next attempt to set one of the two aliases end the process."""
    set_alias = MlflowClient.set_registered_model_alias

    def set_or_end(self, name, asked, version):
        if asked == request.param:
            monkeypatch.setattr(MlflowClient, "set_registered_model_alias", set_alias)
            raise Cut
        set_alias(self, name, asked, version)

    return lambda: monkeypatch.setattr(MlflowClient, "set_registered_model_alias", set_or_end)


def test_the_champion_becomes_previous_and_comes_back(add, promote, aliases, job, client):
    """A second rollback undoes the first; both leave time and reason with the versions."""
    for seed in (1, 2, 3):
        add(seed)
        promote(f"run {seed}")
    assert aliases() == ["3", "2", "3"]
    made = roll_back(job, run_id="back", reason="too low on Sundays")
    assert aliases() == ["2", "3", "3"]
    assert (made.champion, made.previous) == ("2", "3")
    tags = client.get_model_version("shop", "3").tags
    assert (tags["rolled_back_at"], tags["rolled_back_reason"]) == (made.at, "too low on Sundays")
    assert client.get_model_version("shop", "2").tags["restored_reason"] == "too low on Sundays"
    roll_back(job, run_id="forward")
    assert aliases() == ["3", "2", "3"]
    tags = client.get_model_version("shop", "3").tags
    assert "rolled_back_at" not in tags
    assert tags["restored_reason"] == "`moirai rollback` went back to version 3"


def test_a_retry_of_a_rollback_goes_back_once(add, promote, aliases, job):
    """A connection that breaks after the aliases moved must not move them again."""
    for seed in (1, 2):
        add(seed)
        promote(f"run {seed}")
    for _ in range(2):
        roll_back(job, run_id="back")
        assert aliases() == ["1", "2", "2"]


def test_a_promotion_cut_short_loses_no_champion_and_is_finished_by_the_next(cut, add, promote, aliases, job):
    """Whichever alias it stood before; the one who comes next finds the challenger promoted."""
    add(1)
    promote("run 1")
    add(2)
    cut()
    with pytest.raises(Cut):
        promote("run 2")
    assert aliases()[0] == "1", "the old champion serves on"
    assert find_contest(job).is_over
    assert aliases() == ["2", "1", "2"]


def test_a_rollback_cut_short_is_finished_once(cut, add, promote, aliases, job):
    """The command that is given again goes on with it, instead of going forward again."""
    for seed in (1, 2):
        add(seed)
        promote(f"run {seed}")
    cut()
    with pytest.raises(Cut):
        roll_back(job, run_id="back", reason="bad")
    assert aliases()[0] == "2", "the old champion serves on"
    made = roll_back(job, run_id="once more")
    assert aliases() == ["1", "2", "2"]
    assert made.reason == "bad"


def test_there_is_nothing_to_go_back_to(add, promote, aliases, job):
    """Without a model, without a champion, and with the first champion; each says what helps."""
    with pytest.raises(TrackingError, match=r"no registered model 'shop': nothing was promoted yet; `moirai finetune`"):
        roll_back(job, run_id="back")
    add(1)
    with pytest.raises(TrackingError, match=r"has no `previous`.*no champion either; versions there are: 1"):
        roll_back(job, run_id="back")
    promote()
    with pytest.raises(TrackingError, match=r"has no `previous` to go back to: its champion is version 1"):
        roll_back(job, run_id="back")
    assert aliases() == ["1", None, "1"]


def test_a_previous_version_that_was_deleted_cannot_come_back(add, promote, aliases, job, client):
    """The error names it and the versions there are; the champion stays."""
    for seed in (1, 2):
        add(seed)
        promote(f"run {seed}")
    client.delete_model_version("shop", "1")
    with pytest.raises(
        TrackingError, match=r"`previous` of model 'shop', version 1, was deleted; versions there are: 2"
    ):
        roll_back(job, run_id="back")
    assert aliases() == ["2", None, "2"]


def test_a_champion_that_was_deleted_gives_way_to_previous(add, promote, aliases, job, client):
    """The forecast names the rollback as the mend, and it works; there is nothing behind the new champion then."""
    for seed in (1, 2):
        add(seed)
        promote(f"run {seed}")
    client.delete_model_version("shop", "2")
    message = r"the champion, version 2, was deleted \(there: previous is version 1\); `moirai rollback` goes back"
    with pytest.raises(TrackingError, match=message):
        resolve_model(job, "models:/shop@champion")
    roll_back(job, run_id="back")
    assert aliases() == ["1", None, None]
    assert resolve_model(job, "models:/shop@champion").version == "1"


def test_an_alias_that_was_moved_by_hand_stays_where_it_is(add, promote, aliases, job, client):
    """Only a move that was begun is finished; who moves an alias in MLflow means it."""
    for seed in (1, 2):
        add(seed)
        promote(f"run {seed}")
    client.set_registered_model_alias("shop", "champion", "1")
    client.set_registered_model_alias("shop", "previous", "2")
    add(3)
    promote("run 3")
    assert aliases() == ["3", "1", "3"]
    assert last_move(registered_model(job, client, "shop")).left == "1"
