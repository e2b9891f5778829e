# The image of deployctl: for workers, CI, and hooks of pods. It runs as user 1001 on a read-only
# root file system. deployctl has a virtual environment of its own, so that
# `COPY --from=deployctl /opt/deployctl /opt/deployctl` adds it to an image of flows with the same
# Python.
#
# BASE is an image with Python 3.11 or newer, with venv. A newer Python reads newer flows.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
WORKDIR /src
COPY image/requirements.txt image/build-requirements.txt ./
RUN python3 -m venv /opt/deployctl \
 && /opt/deployctl/bin/python -m pip install --no-cache-dir --compile --require-hashes \
    --requirement requirements.txt \
 && python3 -m venv /opt/build \
 && /opt/build/bin/python -m pip install --no-cache-dir --require-hashes \
    --requirement build-requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY deployctl deployctl
RUN /opt/build/bin/python -m pip wheel --no-cache-dir --no-deps --no-build-isolation \
    --wheel-dir dist . \
 && /opt/deployctl/bin/python -m pip install --no-cache-dir --no-deps --no-index --compile \
    dist/*.whl \
 && /opt/deployctl/bin/python -m pip uninstall --yes setuptools pip \
 # Neither PYTHONPATH of an image of flows nor its modules replace those of deployctl.
 && sed -i '1s/$/ -E/' /opt/deployctl/bin/deployctl \
 # Of the Kubernetes client, deployctl needs no asynchronous API and no models: 126 MB become 35 MB.
 && cd /opt/deployctl/lib/python3*/site-packages/kubernetes \
 && rm -rf aio client/*/__pycache__
COPY image/prefect image/tini /opt/deployctl/shims/

FROM ${BASE}
COPY --from=build /opt/deployctl /opt/deployctl
# What the official Helm chart calls; a tini of the base image stays.
COPY image/entrypoint.sh /opt/prefect/entrypoint.sh
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
