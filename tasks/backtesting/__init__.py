"""The parts of a backtest.

`windows.py` says which stretches of which series are forecast. `forecasters.py` makes of models and baselines what they
all are: windows in, quantiles out. `tables.py` writes forecasts and scores, forecaster by forecaster.
"""
