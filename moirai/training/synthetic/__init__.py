"""Synthetic series to pretrain on; `synthetic_series` draws them."""

from moirai.training.synthetic.series import synthetic_series

__all__ = ["synthetic_series"]
