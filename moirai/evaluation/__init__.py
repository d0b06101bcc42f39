"""Scoring of forecasts: seasons, rolling origins, metrics, statistical baselines."""
