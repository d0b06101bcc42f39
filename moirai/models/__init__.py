"""One file per variant: what differs, and one forward pass."""
