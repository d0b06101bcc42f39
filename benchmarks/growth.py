"""How time and memory grow with the number of series, from a data frame to a forecast frame.

python -m benchmarks.growth [MODEL]      a model reference, `starter` by default

256, 2,560 and 25,600 series of 512 hours, 48 steps ahead, each count in a process of its own. Memory is what it
needs at its peak beyond the frame that it is given and the one that it returns.
"""

import resource
import subprocess
import sys
import time

import numpy as np
import pandas as pd

COUNTS = (256, 2_560, 25_600)
STEPS, HORIZON = 512, 48
MIB = 2**20


def long_frame(count: int) -> pd.DataFrame:
    """Hourly series with a day's season."""
    rng = np.random.default_rng(0)
    hours = pd.date_range("2026-01-01", periods=STEPS, freq="h")
    wave = 10 + np.sin(2 * np.pi * np.arange(STEPS) / 24) + 0.1 * rng.standard_normal((count, STEPS)).astype(np.float32)
    items = pd.Categorical.from_codes(np.repeat(np.arange(count), STEPS), [f"s{n:06d}" for n in range(count)])
    return pd.DataFrame({"item_id": items.astype(object), "timestamp": np.tile(hours, count), "target": wave.ravel()})


def measure(count: int, reference: str) -> tuple[float, float]:
    """Seconds, and MiB beyond both frames."""
    from moirai import MoiraiForecast  # noqa: PLC0415 - only children need torch

    model = MoiraiForecast.from_pretrained(reference, context_length=STEPS, prediction_length=HORIZON)
    df = long_frame(count)
    model.predict_frame(df[:STEPS], freq="h")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    clock = time.perf_counter()
    made = model.predict_frame(df, freq="h")
    seconds = time.perf_counter() - clock
    frames = made.memory_usage(index=False).sum()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return seconds, max(0.0, peak - before - frames) / MIB


def main(arguments: list[str]) -> int:
    """Print the table; one count after the other."""
    if arguments[:1] == ["--child"]:
        print(*measure(int(arguments[1]), arguments[2]))
        return 0
    reference = arguments[0] if arguments else "starter"
    print(f"{'series':>8} {'seconds':>8} {'series/s':>9} {'MiB more':>9}")
    for count in COUNTS:
        command = [sys.executable, "-m", "benchmarks.growth", "--child", str(count), reference]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds, extra = map(float, done.stdout.split())
        print(f"{count:8,} {seconds:8.1f} {count / seconds:9.1f} {extra:9.0f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
