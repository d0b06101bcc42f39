"""Forecast throughput of the three families beside the reference implementation, same weights, same series.

python -m benchmarks.models PEER_PYTHON [CASE ...]      all cases without names; `list` prints them

PEER_PYTHON is the interpreter of an environment with uni2ts 2.0.0 (docs/benchmarks.md has its recipe). Weights are
random in the published small configurations. Ours goes from a long data frame to a forecast frame, the reference from a
GluonTS data set to its forecasts. Each measurement is a process of its own; both sides alternate, the better of two
rounds counts. Prints a table, then the same figures as one line of JSON.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROUNDS = 2
REPEATS = 5  # products that the peak is measured with
BATCHES = {"moirai1": 32, "moirai_moe": 8, "moirai2": 32}  # series per pass of the reference
OUR_BATCHES = {"moirai1": 256, "moirai_moe": 8, "moirai2": 32}  # of ours: quantiles of mixtures gain from many
PATHS = {"moirai1": 1, "moirai_moe": 100, "moirai2": 9}  # rows of a series in a roll-out
ONE_PASS = 64  # steps that Moirai 2.0 forecasts at once
PUBLISHED = {
    "moirai1": "moirai-1.1-R-small",
    "moirai_moe": "moirai-moe-1.0-R-small",
    "moirai2": "moirai-2.0-R-small",
}
CONFIGS = Path(__file__).parents[1] / "tests" / "parity" / "published"
PEER = Path(__file__).with_name("peer_side.py")


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is forecast, and how."""

    name: str
    family: str
    context: int
    series: int
    horizon: int = 96
    patch_size: int | str | None = None
    samples: int = 100
    decoding: str = "exact"
    precision: str = "fp32"
    peer: bool = True  # timed on the other side as well; variants of a case share its figure


def cases() -> list[Case]:
    """The cases of the table, at both contexts."""
    made = []
    for context, series, auto, experts in ((512, 256, 256, 8), (2048, 256, 32, 4)):
        masked = {"family": "moirai1", "context": context}
        causal = {"family": "moirai2", "context": context, "series": series}
        moe = {"family": "moirai_moe", "context": context, "series": experts, "patch_size": 16}
        made += [
            Case(name=f"moirai1 patch 32 @{context}", **masked, series=series, patch_size=32),
            Case(name=f"moirai1 auto @{context}", **masked, series=auto, patch_size="auto"),
            Case(name=f"moirai2 horizon 48 @{context}", **causal, horizon=48),
            Case(name=f"moirai2 @{context}", **causal),
            Case(name=f"moirai2 cached @{context}", **causal, decoding="cached", peer=False),
            Case(name=f"moe @{context}", **moe),
            Case(name=f"moe cached @{context}", **moe, decoding="cached", peer=False),
        ]
    halved = [replace(one, name=one.name.replace(" @", " bf16 @"), precision="bf16", peer=False) for one in made]
    return made + [one for one in halved if "horizon" not in one.name]


def checkpoint(family: str, folder: Path) -> Path:
    """Random weights in the published small configuration of a family."""
    import torch  # noqa: PLC0415 - torch waits until needed

    from moirai.config import config_from_dict  # noqa: PLC0415 - see above
    from moirai.hub import MODULES  # noqa: PLC0415 - see above

    place = folder / family
    if not place.is_dir():
        torch.manual_seed(0)
        settings = json.loads((CONFIGS / PUBLISHED[family] / "config.json").read_text(encoding="utf-8"))
        config = config_from_dict(settings)
        module = MODULES[type(config)](config)
        for name, buffer in module.named_buffers():
            if name.endswith("centroid"):  # a constructor leaves it open
                buffer.normal_()
        module.save_pretrained(place)
    return place


def values_of(case: Case) -> np.ndarray:
    """Hourly series with a day's season, as long as the context and the choice of a patch size need."""
    rng = np.random.default_rng(0)
    steps = np.arange(case.context + case.horizon)
    level = rng.uniform(10, 100, (case.series, 1))
    wave = np.sin(2 * np.pi * (steps + rng.integers(24, size=(case.series, 1))) / 24)
    return (level * (1 + 0.3 * wave + 0.1 * rng.normal(size=wave.shape))).astype(np.float32)


def measure(settings: dict[str, Any]) -> dict[str, float]:
    """Seconds of one pass of ours, from data frame to forecast frame, after a warm-up; and its share of the peak."""
    import torch  # noqa: PLC0415 - see above
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415 - see above

    from moirai import MoiraiForecast  # noqa: PLC0415 - see above

    model = MoiraiForecast.from_pretrained(
        settings["checkpoint"],
        prediction_length=settings["horizon"],
        context_length=settings["context"],
        batch_size=settings["batch"],
        precision=settings["precision"],
        patch_size=None if settings["family"] == "moirai2" else settings["patch_size"],
        decoding=settings["decoding"],
        num_samples=settings["samples"],
    )
    values = np.load(settings["values"])
    hours = pd.date_range("2020-01-01", periods=values.shape[1], freq="h")
    df = pd.DataFrame(
        {
            "item_id": np.repeat([f"s{n:05d}" for n in range(len(values))], values.shape[1]),
            "timestamp": np.tile(hours.to_numpy(), len(values)),
            "target": values.ravel(),
        }
    )
    model.predict_frame(df[: values.shape[1]], freq="h")
    clock = time.perf_counter()
    made = model.predict_frame(df, freq="h")
    seconds = time.perf_counter() - clock
    assert len(made) == len(values) * settings["horizon"]
    counted = min(len(values), OUR_BATCHES[settings["family"]])
    uncounted = {torch.ops.mkldnn._linear_pointwise: _linear_flops}  # noqa: SLF001 - it has no public name
    with FlopCounterMode(display=False, custom_mapping=uncounted) as counter:
        model.predict_frame(df[: counted * values.shape[1]], freq="h")
    rate = counter.get_total_flops() / counted * len(values) / seconds
    return {"seconds": seconds, "share": rate / matmul_peak(settings["precision"])}


def _linear_flops(
    x_shape: Sequence[int], weight_shape: Sequence[int], *_: Any, out_shape: Any = None, **__: Any
) -> int:
    """Operations of a product that oneDNN computes; torch does not know how to count them."""
    del out_shape
    return 2 * math.prod(x_shape) * weight_shape[0]


def matmul_peak(precision: str) -> float:
    """Operations per second of products of large square matrices, by the faster library."""
    import torch  # noqa: PLC0415 - see above

    from moirai.layers.linear import linear  # noqa: PLC0415 - see above

    matrix = torch.randn(2048, 2048).to(torch.bfloat16 if precision == "bf16" else torch.float32)
    linear(matrix, matrix)
    clock = time.perf_counter()
    for _ in range(REPEATS):
        linear(matrix, matrix)
    return REPEATS * 2 * 2048**3 / (time.perf_counter() - clock)


def run(case: Case, peer_python: str, folder: Path) -> dict[str, float | None]:
    """Series per second of both sides, the better of the rounds, and our share of the machine's matmul peak."""
    values = folder / f"{case.context}-{case.series}-{case.horizon}.npy"
    np.save(values, values_of(case))
    rows = PATHS[case.family] if case.horizon > ONE_PASS else 1
    settings = asdict(case) | {
        "values": str(values),
        "checkpoint": str(checkpoint(case.family, folder)),
        "batch": rows * OUR_BATCHES[case.family],
        "peer_batch": BATCHES[case.family],
    }
    file = folder / "case.json"
    file.write_text(json.dumps(settings), encoding="utf-8")
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(_measured([sys.executable, "-m", "benchmarks.models", "--child", str(file)]))
        if case.peer:
            theirs.append(_measured([peer_python, str(PEER), str(file)])["seconds"])
    best = min(ours, key=lambda one: one["seconds"])
    return {
        "ours": case.series / best["seconds"],
        "share": best["share"],
        "peer": case.series / min(theirs) if theirs else None,
    }


def _measured(command: list[str]) -> dict[str, float]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main(arguments: list[str]) -> int:
    """Measure the cases named, all without names."""
    if arguments[:1] == ["--child"]:
        print(json.dumps(measure(json.loads(Path(arguments[1]).read_text(encoding="utf-8")))))
        return 0
    if not arguments or arguments == ["list"]:
        print(__doc__ if not arguments else "\n".join(case.name for case in cases()))
        return 0 if arguments else 2
    chosen = [case for case in cases() if not arguments[1:] or case.name in arguments[1:]]
    found: dict[str, dict[str, float | None]] = {}
    peers: dict[tuple[str, int, int], float] = {}
    print(f"{'case':28} {'series':>6} {'ours /s':>9} {'of peak':>9} {'peer /s':>9} {'ratio':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for case in chosen:
            figures = run(case, arguments[0], Path(folder))
            key = (case.family, case.context, case.horizon)
            peer = figures["peer"] or peers.get(key)
            peers[key] = peer or 0.0
            columns = [figures["ours"], figures["share"], *([peer, figures["ours"] / peer] if peer else [])]
            print(f"{case.name:28} {case.series:6} {' '.join(f'{one:9.2f}' for one in columns)}", flush=True)
            found[case.name] = {**figures, "peer": peer}
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
