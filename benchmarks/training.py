"""Training throughput beside the reference implementation: same weights, same packed batches.

    python -m benchmarks.training PEER_PYTHON [CASE ...]   all cases without names; `list` prints them
    python -m benchmarks.training profile CASE             what ours spends its time on

PEER_PYTHON is the interpreter of an environment with uni2ts 2.0.0 (docs/benchmarks.md has its recipe). A step is
forward, loss, backward and AdamW on one packed batch of synthetic series in the published small configuration of
Moirai 1.x, weights random; bf16 is autocast on both sides. The cases of the mixture of experts are one layer, forward
alone and with backward. Each measurement is a process of its own, both sides alternate, the better of two rounds counts
(in it the median step). Prints a table, then the same figures as one line of JSON, and fails where first losses or
outputs differ.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.models import checkpoint

ROUNDS = 2
WARM_UP = 1  # steps
LEAST_STEPS, LEAST_SECONDS = 3, 4.0  # of a measurement
DIM, HIDDEN, EXPERTS = 384, 512, 32  # of a layer of the published small Moirai-MoE
TOLERANCE = {"fp32": 1e-3, "bf16": 5e-2}  # relative; of the first loss, and of a layer's output
FIELDS = ("target", "observed_mask", "sample_id", "time_id", "variate_id", "prediction_mask")
PEER = Path(__file__).with_name("peer_training.py")


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is trained."""

    name: str
    kind: str  # model, layer (forward) or layer-backward
    tokens: int
    precision: str = "fp32"
    rows: int = 1


CASES = (
    Case(name="moirai1 small 4 x 512", kind="model", rows=4, tokens=2048),
    Case(name="moirai1 small 4 x 512 bf16", kind="model", rows=4, tokens=2048, precision="bf16"),
    Case(name="moirai1 small 16 x 512", kind="model", rows=16, tokens=8192),
    Case(name="moirai1 small 16 x 512 bf16", kind="model", rows=16, tokens=8192, precision="bf16"),
    Case(name="experts 512", kind="layer", tokens=512),
    Case(name="experts 8192", kind="layer", tokens=8192),
    Case(name="experts 512 backward", kind="layer-backward", tokens=512),
    Case(name="experts 8192 backward", kind="layer-backward", tokens=8192),
)


def write_batch(case: Case, weights: Path, file: Path) -> float:
    """Packed synthetic series, as pretraining makes them; returns the share of tokens that are no padding."""
    from moirai.hub import resolve  # noqa: PLC0415 - torch waits until needed
    from moirai.training.data import PretrainData, PretrainDataSettings, sampling_for  # noqa: PLC0415 - see above

    settings = PretrainDataSettings(steps=1, rows=case.rows, sampling=sampling_for(resolve(weights).config))
    batch = PretrainData(settings)[0]
    arrays = {name: getattr(batch.tokens, name).numpy() for name in FIELDS}
    np.savez(file, patch_size=np.asarray(batch.patch_size), **arrays)
    return batch.fill


def write_layer(case: Case, file: Path) -> None:
    """Tokens, centroids and the weights of 32 experts."""
    rng = np.random.default_rng(0)

    def weight(*shape: int) -> np.ndarray:
        return (rng.normal(size=(EXPERTS, *shape)) / shape[-1] ** 0.5).astype(np.float32)

    np.savez(
        file,
        tokens=rng.normal(size=(case.tokens // 512, 512, DIM)).astype(np.float32),
        centroid=rng.normal(size=(EXPERTS, DIM)).astype(np.float32),
        fc1=weight(HIDDEN, DIM),
        fc_gate=weight(HIDDEN, DIM),
        fc2=weight(DIM, HIDDEN),
    )


def step_of(settings: dict[str, Any]) -> tuple[Callable[[], Any], Callable[[], AbstractContextManager]]:
    """One step of ours, which returns its loss or output, and the context that it runs in."""
    import torch  # noqa: PLC0415 - see above

    arrays = {name: torch.from_numpy(array) for name, array in np.load(settings["data"]).items()}
    if settings["kind"] == "model":
        return _model_step(settings, arrays), lambda: torch.autocast(
            "cpu", torch.bfloat16, enabled=settings["precision"] == "bf16"
        )
    from moirai.layers.feed_forward import MixtureOfExperts  # noqa: PLC0415 - see above

    layer = MixtureOfExperts(DIM, HIDDEN, num_experts=EXPERTS)
    for name in ("fc1", "fc_gate", "fc2"):
        for expert, weight in zip(layer.experts, arrays[name], strict=True):
            getattr(expert, name).weight.data = weight
    if settings["kind"] == "layer":
        return lambda: layer(arrays["tokens"], arrays["centroid"]), torch.inference_mode
    tokens = arrays["tokens"].requires_grad_()

    def forward_and_backward() -> Any:
        layer.zero_grad()
        out = layer(tokens, arrays["centroid"])
        out.square().mean().backward()
        return out.detach()

    return forward_and_backward, nullcontext


def _model_step(settings: dict[str, Any], arrays: dict[str, Any]) -> Callable[[], Any]:
    from moirai import MoiraiModule  # noqa: PLC0415 - see above
    from moirai.tokens import PackedTokens  # noqa: PLC0415 - see above
    from moirai.training.batch import TrainingBatch  # noqa: PLC0415 - see above
    from moirai.training.objectives import training_loss  # noqa: PLC0415 - see above
    from moirai.training.optimizer import adamw  # noqa: PLC0415 - see above

    module = MoiraiModule.from_pretrained(settings["checkpoint"]).train()
    tokens = PackedTokens(**{name: arrays[name] for name in FIELDS})
    batch = TrainingBatch(tokens=tokens, patch_size=arrays["patch_size"])
    optimizer = adamw(module, learning_rate=1e-6)

    def step() -> Any:
        optimizer.zero_grad()
        loss = training_loss(module, batch)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def measure(settings: dict[str, Any], step: Callable[[], Any], context: Callable[[], AbstractContextManager]) -> None:
    """Print seconds of a median step and the first loss; write a layer's output beside the case."""
    seconds, first = [], None
    with context():
        while len(seconds) < LEAST_STEPS + WARM_UP or sum(seconds[WARM_UP:]) < LEAST_SECONDS:
            clock = time.perf_counter()
            made = step()
            seconds.append(time.perf_counter() - clock)
            first = made if first is None else first
    assert first is not None, "there is at least one step"
    np.save(settings["output"], first.float().numpy())
    print(json.dumps({"seconds": statistics.median(seconds[WARM_UP:])}))


def run(case: Case, peer_python: str, folder: Path) -> dict[str, float]:
    """Tokens per second of both sides, and how far first losses or outputs are apart, relative to their size."""
    data = folder / "data.npz"
    settings = asdict(case) | {"data": str(data), "experts": EXPERTS}
    figures = {}
    if case.kind == "model":
        weights = checkpoint("moirai1", folder)
        figures["fill"] = write_batch(case, weights, data)
        settings["checkpoint"] = str(weights)
    else:
        write_layer(case, data)
    commands = {"ours": [sys.executable, "-m", "benchmarks.training", "--child"], "peer": [peer_python, str(PEER)]}
    seconds: dict[str, list[float]] = {side: [] for side in commands}
    for _ in range(ROUNDS):
        for side, command in commands.items():
            file = folder / f"{side}.json"
            file.write_text(json.dumps(settings | {"output": str(folder / f"{side}.npy")}), encoding="utf-8")
            seconds[side].append(_measured([*command, str(file)])["seconds"])
    ours, peer = (np.load(folder / f"{side}.npy") for side in commands)
    figures |= {side: case.tokens / min(all_seconds) for side, all_seconds in seconds.items()}
    return figures | {"apart": float(np.abs(ours - peer).max() / np.abs(peer).max())}


def _measured(command: list[str]) -> dict[str, float]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def profile(case: Case) -> None:
    """Print the operations that ours spends most time on."""
    from torch.profiler import ProfilerActivity  # noqa: PLC0415 - see above
    from torch.profiler import profile as profiled  # noqa: PLC0415 - see above

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = asdict(case) | {"data": str(folder / "data.npz")}
        if case.kind == "model":
            weights = checkpoint("moirai1", folder)
            write_batch(case, weights, folder / "data.npz")
            settings["checkpoint"] = str(weights)
        else:
            write_layer(case, folder / "data.npz")
        step, context = step_of(settings)
        with context():
            step()
            with profiled(activities=[ProfilerActivity.CPU]) as found:
                step()
    print(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=20, max_name_column_width=50))


def main(arguments: list[str]) -> int:
    """Measure the cases named, all without names; fail where the sides do not agree."""
    if arguments[:1] == ["--child"]:
        settings = json.loads(Path(arguments[1]).read_text(encoding="utf-8"))
        measure(settings, *step_of(settings))
        return 0
    if not arguments or arguments == ["list"]:
        print(__doc__ if not arguments else "\n".join(case.name for case in CASES))
        return 0 if arguments else 2
    chosen = [case for case in CASES if not arguments[1:] or case.name in arguments[1:]]
    if arguments[0] == "profile":
        for case in chosen:
            profile(case)
        return 0
    found: dict[str, dict[str, float]] = {}
    print(f"{'case':28} {'ours tok/s':>12} {'peer tok/s':>12} {'ratio':>7} {'apart':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for case in chosen:
            one = found[case.name] = run(case, arguments[0], Path(folder))
            ratio = one["ours"] / one["peer"]
            print(
                f"{case.name:28} {one['ours']:12,.0f} {one['peer']:12,.0f} {ratio:7.2f} {one['apart']:9.1e}", flush=True
            )
    print(json.dumps(found))
    return int(any(found[case.name]["apart"] > TOLERANCE[case.precision] for case in chosen))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
