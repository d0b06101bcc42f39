"""Fine-tuning on several devices: processes of their own, one result."""

import json
import subprocess
import sys

SCRIPT = """
import json, os, sys
import numpy as np, torch
torch.set_num_threads(1)
from moirai import Moirai2Config, Moirai2Module
from moirai.training.finetune import FinetuneSettings, finetune

torch.manual_seed(3)
module = Moirai2Module(Moirai2Config(d_model=64, d_ff=32, num_layers=1, patch_size=8, num_predict_token=2))
rng = np.random.default_rng(0)
series = [np.arange(200) % 8 + rng.normal(0, 0.1, 200) for _ in range(3)]
settings = FinetuneSettings(horizon=8, context=32, max_steps=4, validate_every=2, batch_size=4, learning_rate=3e-3)
result = finetune(module, series, settings, accelerator="cpu", devices=2)
found = {
    "losses": [point.validation_loss for point in result.curve],
    "trained": [point.train_loss for point in result.curve[1:]],
    "weight": float(module.in_proj.hidden_layer.weight.detach().sum()),
}
with open(f"{sys.argv[1]}/{os.environ.get('LOCAL_RANK', '0')}.json", "w") as file:
    json.dump(found, file)
"""


def test_two_processes_train_one_model(tmp_path):
    """Each has batches of its own; weights and validation losses of both are the same."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, script, tmp_path], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert first["weight"] == second["weight"]
    assert first["losses"] == second["losses"]
    assert first["trained"] != second["trained"]
    assert len(first["losses"]) == 3
