"""Lightning without its banners and its advice."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

ADVICE = (
    ".*does not have many workers.*",
    ".*LeafSpec.*",
    ".*overridden `transfer_batch_to_device`.*",  # as is meant
    ".*is not resumable.*",  # ours begins at the right batch
    ".*find_unused_parameters=True was specified.*",  # a step may use all of them, another one not
    ".*GPU available but not used.*",
    ".*Trainer already configured with model summary.*",
)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's banners and its advice; everything else stays."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for text in ADVICE:
                warnings.filterwarnings("ignore", text)
            yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)
