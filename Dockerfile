# The image of deployctl: for workers, CI, and hooks of pods. It runs as user 1001 on a read-only
# root file system. deployctl has a virtual environment of its own, so that
# `COPY --from=deployctl /opt/deployctl /opt/deployctl` adds it to an image of flows with the same
# Python.
#
# BASE is an image with Python 3.11 or newer, pip and venv. A newer Python reads newer flows.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
WORKDIR /src
RUN python3 -m venv /opt/deployctl
COPY requirements-dev.txt pyproject.toml README.md LICENSE ./
COPY deployctl deployctl
RUN /opt/deployctl/bin/python -m pip wheel --no-cache-dir --no-deps --wheel-dir dist . \
 && /opt/deployctl/bin/python -m pip install --no-cache-dir --compile \
    --constraint requirements-dev.txt dist/*.whl \
 && /opt/deployctl/bin/python -m pip uninstall --yes pip
COPY image/prefect /opt/deployctl/shims/prefect

FROM ${BASE}
COPY --from=build /opt/deployctl /opt/deployctl
# What the official Helm chart calls; a tini of the base image stays.
COPY image/entrypoint.sh /opt/prefect/entrypoint.sh
COPY image/tini /opt/deployctl/shims/tini
RUN [ -e /usr/bin/tini ] || ln -s /opt/deployctl/shims/tini /usr/bin/tini
ENV PATH=/opt/deployctl/bin:$PATH:/opt/deployctl/shims \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 1001:1001
WORKDIR /project
# deployctl worker --with-healthcheck serves /health, /ready and /metrics.
EXPOSE 8080
ENTRYPOINT ["deployctl"]
