"""Where pretraining takes its series from: made up, panels as Parquet, LOTSA; and mixtures of real ones."""
