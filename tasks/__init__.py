"""Single steps, each around one outside system; flows compose them (docs/architecture.md)."""
