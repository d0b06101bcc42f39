"""One case of `benchmarks.training` with the reference implementation; runs in an environment of its own, without ours.

PEER_PYTHON benchmarks/peer_training.py CASE.json      prints {"seconds": ...}, a median step
"""

import json
import statistics
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch

warnings.filterwarnings("ignore")

WARM_UP = 1  # steps
LEAST_STEPS, LEAST_SECONDS = 3, 4.0  # of a measurement
FIELDS = ("target", "observed_mask", "sample_id", "time_id", "variate_id", "prediction_mask", "patch_size")
SCORED = ("target", "prediction_mask", "observed_mask", "sample_id", "variate_id")


def model_step(case: dict, arrays: dict):  # noqa: ANN201 - a function
    """Forward, loss, backward and AdamW with the reference's parameter groups."""
    from uni2ts.loss.packed import PackedNLLLoss  # noqa: PLC0415 - one kind of case per run
    from uni2ts.model.moirai import MoiraiModule, MoiraiPretrain  # noqa: PLC0415

    module = MoiraiModule.from_pretrained(case["checkpoint"]).train()
    learner = MoiraiPretrain(
        module=module,
        min_patches=2,
        min_mask_ratio=0.15,
        max_mask_ratio=0.5,
        max_dim=128,
        num_training_steps=1000,
        num_warmup_steps=0,
        lr=1e-6,
        loss_func=PackedNLLLoss(),
    )
    optimizer = learner.configure_optimizers()["optimizer"]
    batch = {name: arrays[name] for name in FIELDS}

    def step():  # noqa: ANN202 - a tensor
        optimizer.zero_grad()
        law = module(**batch)
        loss = learner.hparams.loss_func(pred=law, **{name: batch[name] for name in SCORED})
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def layer_step(case: dict, arrays: dict):  # noqa: ANN201 - a function
    """The reference's own layer, forward or with backward."""
    from uni2ts.module.ffn import MoEFeedForward  # noqa: PLC0415 - one kind of case per run

    hidden, dim = arrays["fc1"].shape[1:]
    layer = MoEFeedForward(case["experts"], 2, dim, hidden_dim=hidden, bias=False)
    for name in ("fc1", "fc_gate", "fc2"):
        for expert, weight in zip(layer.experts, arrays[name], strict=True):
            getattr(expert, name).weight.data = weight
    tokens = arrays["tokens"]
    if case["kind"] == "layer":
        return lambda: layer(tokens, centroid=arrays["centroid"])
    tokens.requires_grad_()

    def forward_and_backward():  # noqa: ANN202 - a tensor
        layer.zero_grad()
        out = layer(tokens, centroid=arrays["centroid"])
        out.square().mean().backward()
        return out.detach()

    return forward_and_backward


def main(path: str) -> None:
    """Time steps after a warm-up, keep what the first one made."""
    case = json.loads(Path(path).read_text(encoding="utf-8"))
    arrays = {name: torch.from_numpy(array) for name, array in np.load(case["data"]).items()}
    step = model_step(case, arrays) if case["kind"] == "model" else layer_step(case, arrays)
    seconds, first = [], None
    is_forward = case["kind"] == "layer"
    with (
        torch.autocast("cpu", torch.bfloat16, enabled=case["precision"] == "bf16"),
        torch.inference_mode(mode=is_forward),
    ):
        while len(seconds) < LEAST_STEPS + WARM_UP or sum(seconds[WARM_UP:]) < LEAST_SECONDS:
            clock = time.perf_counter()
            made = step()
            seconds.append(time.perf_counter() - clock)
            first = made if first is None else first
    np.save(case["output"], first.float().numpy())
    print(json.dumps({"seconds": statistics.median(seconds[WARM_UP:])}))


if __name__ == "__main__":
    main(sys.argv[1])
