"""A long step shows how far it is."""

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from tasks.progress import progress


def bar(key):
    """What the one progress artifact of this key shows."""
    keyed = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
    with get_client(sync_client=True) as client:
        (found,) = client.read_artifacts(artifact_filter=keyed)
    return found.data


@pytest.mark.usefixtures("prefect_server")
def test_a_bar_follows_the_step_and_ends_full(small_job):
    """Steps that are no per cent are not sent; what is left at the end is."""
    seen = []

    @flow(name="steps")
    def steps():
        with progress(small_job(name="bar_of"), "long step") as report:
            for done in (1, 2, 500, 501):
                report(done, 1000)
                seen.append(bar("bar-of-long-step-progress"))

    steps()
    assert seen == [0, 0, 50, 50]
    assert bar("bar-of-long-step-progress") == 100


@pytest.mark.usefixtures("prefect_server")
def test_a_step_that_fails_leaves_its_bar_where_it_was(small_job):
    """A full bar would say that it went well."""

    @flow(name="steps")
    def steps():
        with progress(small_job(name="bar_stops"), "step") as report:
            report(1, 4)
            raise KeyError

    with pytest.raises(KeyError):
        steps()
    assert bar("bar-stops-step-progress") == 25
