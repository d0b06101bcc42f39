#!/bin/sh
# Makes a work pool and the limits that runs share, unless they are there, and deploys a file of deployments. Running it
# again changes nothing.
#   deploy.sh POOL PREFECT_FILE      with PREFECT_API_URL and MOIRAI_JOB in the environment
# Run in the folder that holds deployments/: the image's working directory, or the root of the repository.
set -eu
pool=$1
file=$2

# Created first and looked for then, so that two of these at once do not stop each other.
prefect work-pool create "$pool" --type process || prefect work-pool inspect "$pool" > /dev/null
python -c 'from prefect.client.orchestration import get_client
from flows.serve import make_limits
with get_client(sync_client=True) as client:
    make_limits(client)'
prefect --no-prompt deploy --all --prefect-file "$file"
