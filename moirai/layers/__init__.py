"""Building blocks shared by the variants."""
