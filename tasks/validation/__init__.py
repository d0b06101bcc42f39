"""What `tasks/validate.py` is made of: one file per kind of check.

In: the frame of a raw panel and a job. Out: `Check` and `Quarantine` records. What fails is said in each file.

findings.py    an outcome of an expectation -> a record, with its first places in words
rows.py        checks of the rows of a raw panel
series.py      checks of the one-row-per-series profile; quarantine
steadiness.py  change of level and scale against a series' own history
horizon.py     covariates known in advance: are they there for the horizon
members.py     which series there are, against what earlier runs stored
user_suite.py  the suite that a job brings along
severity.py    how much a check weighs
"""
