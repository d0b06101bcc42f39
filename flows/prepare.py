"""What every flow begins with: from the source to a clean panel."""

from dataclasses import dataclass

from flows.run import Run
from tasks.ingest import ingest
from tasks.panel import PanelRef
from tasks.recall import as_known
from tasks.transform import TransformResult, transform
from tasks.validate import ValidationResult, validate
from tasks.warehouse import known_items, store_observations, store_quarantine


@dataclass(frozen=True)
class Prepared:
    """A clean panel, and what was found and done on the way to it."""

    panel: PanelRef
    validation: ValidationResult
    transformed: TransformResult


def prepare(run: Run, *, forecasting: bool = False) -> Prepared:
    """Ingest, validate, transform; store what was observed and what was left out.

    A run that stands in the past files what nobody has seen so far, as known since now, and goes on with what was known
    then.

    Args:
        run: the attempt; it learns the digest of the panel and the moment it stands at.
        forecasting: whether forecasts follow, for which covariates known in advance must reach over the horizon.
    """
    raw = ingest(run.job, run.as_of)
    run.panel_digest = raw.digest
    known = known_items(run.job, run.known_until)
    validation = validate(run.job, raw, run.as_of, forecasting=forecasting, known_items=known)
    transformed = transform(run.job, raw, [one.item_id for one in validation.quarantined])
    panel = transformed.panel
    run.rows["observations"] = store_observations(run.job, panel, only_unknown=run.looks_back)
    if run.as_of is not None and run.looks_back:
        panel = as_known(run.job, panel, run.as_of)
    run.panel_digest, run.as_of = panel.digest, run.as_of or panel.end
    run.rows["quarantine"] = store_quarantine(
        run.job, validation.quarantined, as_of=run.as_of, panel_digest=panel.digest
    )
    return Prepared(panel, validation, transformed)
