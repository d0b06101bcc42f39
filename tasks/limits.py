"""Limits that runs on one Prefect server share: who writes a DuckDB warehouse, who trains on a GPU.

In: what is written, or how is trained. Out: nothing; the block holds one place of a global concurrency limit of Prefect
while it runs. Only runs that come from a deployment hold one: there may be many of them, on several machines. A command
holds none; whoever gives it sees what else runs, and DuckDB waits for its file anyway. A limit that does not exist is
an error, not a warning: fails with `OrchestrationError`, which has the command that makes it.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext

from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.context import FlowRunContext

from tasks.errors import OrchestrationError

WRITER, GPU = "warehouse-writer", "gpu"
LIMITS = {WRITER: 1, GPU: 1}
"""Each limit, with the places that it begins with."""
LEASE = 60  # seconds after which the place of a run that was killed is free again; Prefect takes no less


@contextmanager
def writing(url: str) -> Iterator[None]:
    """Be the one writer of warehouses in DuckDB while the block runs; PostgreSQL takes many at once.

    Args:
        url: of the warehouse that is written.
    """
    with _place(WRITER) if url.startswith("duckdb") else nullcontext():
        yield


@contextmanager
def training(accelerator: str) -> Iterator[None]:
    """Have a GPU for oneself while the block runs, where the training takes one.

    Args:
        accelerator: of the training: cpu, gpu or cuda, or auto: a GPU where there is one.
    """
    with _place(GPU) if _is_gpu(accelerator) else nullcontext():
        yield


def is_from_deployment() -> bool:
    """Whether the present flow run was started by a worker or by `moirai serve`."""
    context = FlowRunContext.get()
    return context is not None and context.flow_run is not None and context.flow_run.deployment_id is not None


def _is_gpu(accelerator: str) -> bool:
    if accelerator == "auto":
        from torch import cuda  # noqa: PLC0415 - torch waits until needed

        return cuda.is_available()
    return accelerator in {"gpu", "cuda"}


@contextmanager
def _place(limit: str) -> Iterator[None]:
    """Hold a place of a limit; a lease that cannot be renewed for a while, as the server restarts, ends no work."""
    with ExitStack() as stack:
        if is_from_deployment():
            held = concurrency(limit, strict=True, lease_duration=LEASE, raise_on_lease_renewal_failure=False)
            try:
                stack.enter_context(held)
            except ConcurrencySlotAcquisitionError as error:
                raise OrchestrationError(_problem(limit, error)) from error
        yield


def _problem(limit: str, error: Exception) -> str:
    if "must be created" in str(error):
        command = f"prefect gcl create {limit} --limit {LIMITS[limit]}"
        return f"Prefect has no concurrency limit {limit}, which the runs of deployments share; make it: {command}"
    return f"Prefect gives no place of the concurrency limit {limit}: {error}"
