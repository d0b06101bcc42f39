"""Promotion: which version of a job's model serves, by evidence that people can read.

`contest.py` looks up who is judged, and what needs no scores; `weights.py` knows the settings that weights depend on.
`contenders.py`, `evidence.py`, `horizon_losses.py` and `interval.py` make evidence of a backtest. `decision.py` is the
rule, `judge.py` what leads to it. `aliases.py` and `carry_out.py` move the aliases, forward and back. `told.py`,
`figure.py` and `record.py` write the decision down. docs/promotion.md tells it all.
"""
