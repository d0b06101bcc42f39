"""The job file: one pydantic model, every setting with its meaning, default and check.

    setting.py    what every block has in common
    source.py     where the rows come from
    columns.py    what the columns are
    checking.py   what is checked, and how defects are mended
    modelling.py  backtests and fine-tuning
    promotion.py  when a fine-tuned version may serve
    schedule.py   when forecasts are due
    job.py        the whole job; `load_job`
    problems.py   what is wrong with a job file, in words
    reference.py  the page docs/job-file.md, and commented job files

Defaults live here and nowhere else; tasks receive values.
"""

from tasks.job.checking import RULES, Range, Severity
from tasks.job.columns import PANEL_NAMES, Columns
from tasks.job.job import Job, job_from_settings, load_job
from tasks.job.modelling import Finetune
from tasks.job.promotion import Promotion
from tasks.job.schedule import Schedule
from tasks.job.setting import Setting
from tasks.job.source import Source

__all__ = [
    "PANEL_NAMES",
    "RULES",
    "Columns",
    "Finetune",
    "Job",
    "Promotion",
    "Range",
    "Schedule",
    "Setting",
    "Severity",
    "Source",
    "job_from_settings",
    "load_job",
]
