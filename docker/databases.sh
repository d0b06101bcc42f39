#!/bin/bash
# PostgreSQL runs this once, when its volume is empty: a database with an owner of its own for each part.
# In: POSTGRES_USER and the passwords, as environment variables. A password is changed later with ALTER ROLE.
set -euo pipefail

for name in prefect:PREFECT_DB_PASSWORD mlflow:MLFLOW_DB_PASSWORD warehouse:WAREHOUSE_PASSWORD; do
    psql --set ON_ERROR_STOP=1 --no-psqlrc --quiet --username "$POSTGRES_USER" --dbname postgres \
        --set name="${name%%:*}" --set variable="${name##*:}" << 'SQL'
\getenv password :variable
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
done
