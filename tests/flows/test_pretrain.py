"""`moirai pretrain`: the flow, its outcome, a request to stop, and what is said of a wrong file."""

import json
import shutil

import pytest
import yaml

from flows.cli import main

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def config(tmp_path, mlflow_template):
    """A pretraining of no time, in a folder of its own."""
    shutil.copy(mlflow_template, tmp_path / "mlflow.db")
    settings = {
        "name": "small",
        "architecture": {"family": "moirai", "d_model": 64, "num_layers": 1, "patch_sizes": [8], "max_seq_len": 24},
        "data": {"rows": 2, "sources": [{"kind": "synthetic", "lengths": [64, 128]}]},
        "optimizer": {"warmup": 1},
        "run": {"steps": 3, "log_every": 1, "accelerator": "cpu"},
    }
    path = tmp_path / "pretrain.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def run(*arguments):
    """The command line in this process; returns its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(["pretrain", *map(str, arguments)])
    return ended.value.code


def test_one_command_pretrains(config, capsys):
    """A person sees how it ended and where the checkpoint lies; a machine gets JSON; nothing is done twice."""
    assert run(config) == 0
    shown = capsys.readouterr().out
    assert "pretrained for 3 steps" in shown
    assert "tokens per second" in shown
    folder = config.parent / "moirai-work" / "pretrained" / "small"
    assert (folder / "model.safetensors").is_file()
    assert run(config, "--json") == 0
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["folders"] == [str(folder)]
    assert (outcome["step"], outcome["loss"]) == (3, None)


def test_stop_without_a_run_is_one_line(config, capsys):
    """Nothing is made, and no server is started."""
    assert run(config, "--stop") == 1
    (line,) = [one for one in capsys.readouterr().err.splitlines() if one]
    assert line.startswith("error: no pretraining of small is under way in ")


def test_a_mistake_in_the_file_is_one_line(config, capsys):
    """The line names the file and the key."""
    config.write_text(config.read_text().replace("warmup", "warmupp"), encoding="utf-8")
    assert run(config) == 1
    (line,) = [one for one in capsys.readouterr().err.splitlines() if one]
    assert line.startswith(f"error: {config}: optimizer.warmupp: unknown setting; known here: name, learning_rate")
