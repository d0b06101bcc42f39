"""From series to weights: synthetic data, windows, packing, pretraining, fine-tuning."""
