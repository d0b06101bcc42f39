"""One case of `benchmarks.models` with the reference implementation; runs in an environment of its own, without ours.

PEER_PYTHON benchmarks/peer_side.py CASE.json      prints {"seconds": ...}, one measured pass over all series
"""

import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch

warnings.filterwarnings("ignore")


def predictor(case: dict):  # noqa: ANN201 - of GluonTS
    """The reference's predictor for a case."""
    asked = {
        "prediction_length": case["horizon"],
        "context_length": case["context"],
        "target_dim": 1,
        "feat_dynamic_real_dim": 0,
        "past_feat_dynamic_real_dim": 0,
    }
    if case["family"] == "moirai2":
        from uni2ts.model.moirai2 import Moirai2Forecast, Moirai2Module  # noqa: PLC0415 - one family per run

        forecast = Moirai2Forecast(module=Moirai2Module.from_pretrained(case["checkpoint"]), **asked)
    elif case["family"] == "moirai1":
        from uni2ts.model.moirai import MoiraiForecast, MoiraiModule  # noqa: PLC0415

        forecast = MoiraiForecast(
            module=MoiraiModule.from_pretrained(case["checkpoint"]),
            patch_size=case["patch_size"],
            num_samples=case["samples"],
            **asked,
        )
    else:
        from uni2ts.model.moirai_moe import MoiraiMoEForecast, MoiraiMoEModule  # noqa: PLC0415

        forecast = MoiraiMoEForecast(
            module=MoiraiMoEModule.from_pretrained(case["checkpoint"]),
            patch_size=case["patch_size"],
            num_samples=case["samples"],
            **asked,
        )
    return forecast.create_predictor(batch_size=case["peer_batch"], device="cpu")


def main(path: str) -> None:
    """Time one pass after a warm-up on the first series."""
    case = json.loads(Path(path).read_text(encoding="utf-8"))
    values = np.load(case["values"])
    start = pd.Period("2020-01-01 00:00", "H")
    entries = [{"item_id": str(n), "start": start, "target": row} for n, row in enumerate(values)]
    made = predictor(case)
    with torch.no_grad():
        list(made.predict(entries[:1]))
        clock = time.perf_counter()
        forecasts = list(made.predict(entries))
        seconds = time.perf_counter() - clock
    assert len(forecasts) == len(entries)
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main(sys.argv[1])
