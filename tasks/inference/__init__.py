"""What `moirai init` works out about an unknown file; `tasks/infer.py` is the door."""
