#!/bin/sh
# The chart starts its worker as `/opt/prefect/entrypoint.sh prefect worker start …`.
exec "$@"
