"""Jobs on sources of sold pieces that the tests of readers and assembly write."""

from tasks.job import job_from_settings

COLUMNS = {"timestamp": "when", "target": ["sold"], "item_id": "shop"}


def make_job(folder, source="sales.csv", **settings):
    """A job on a source: its path, or the block `source`; columns and any other setting may be overridden."""
    return job_from_settings(
        {
            "name": "sales",
            "source": source if isinstance(source, dict) else {"path": source},
            "columns": COLUMNS | settings.pop("columns", {}),
            "frequency": "D",
            "horizon": 2,
            **settings,
        },
        folder=folder,
    )
