"""The configuration of a pretraining: one pydantic model, every setting with its meaning, default and check.

    architecture.py  which network
    data.py          what it is shown
    run.py           how it is trained
    pretraining.py   the whole file; `load_pretraining`

Defaults live here; the library receives plain values (`moirai/training/plain_run.py`).
"""

from tasks.pretraining.pretraining import Pretraining, load_pretraining

__all__ = ["Pretraining", "load_pretraining"]
