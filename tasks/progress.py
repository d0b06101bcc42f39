"""How far a long step is, as a progress bar in Prefect.

In: the job and the step. Out: a function that the step calls as it gets on. Fails as Prefect's client does.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from tasks.naming import Named, artifact_key

WHOLE = 100.0  # per cent


@contextmanager
def progress(job: Named, step: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar while a step runs; it ends full where the step ends well.

    Args:
        job: whose step it is; with the step it names the artifact, so that all runs share one.
        step: what is done, such as `fine-tuning`.

    Yields:
        A function of what is done and how much there is; the bar moves by whole per cents.
    """
    key, text = artifact_key(job, step, "progress"), f"{step} of {job.name}"
    bar = cast("UUID", create_progress_artifact(0.0, key=key, description=text))
    shown = 0

    def report(done: int, total: int) -> None:
        nonlocal shown
        if (percent := int(WHOLE * done / max(total, 1))) > shown:
            shown = percent
            update_progress_artifact(bar, progress=float(percent))

    yield report
    if shown < WHOLE:
        update_progress_artifact(bar, progress=WHOLE)
