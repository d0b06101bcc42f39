"""The figures in README and docs, computed anew: one script per table."""
