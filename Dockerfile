# The image of deployctl. It runs as user 1001 on a read-only root file system.
# BASE is an image with Python 3.11 or newer, pip and venv. A newer Python reads newer flows.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
WORKDIR /src
RUN python3 -m venv /opt/deployctl
COPY requirements-dev.txt pyproject.toml README.md LICENSE ./
COPY deployctl deployctl
RUN /opt/deployctl/bin/python -m pip wheel --no-cache-dir --no-deps --wheel-dir dist . \
 && /opt/deployctl/bin/python -m pip install --no-cache-dir --compile \
    --constraint requirements-dev.txt dist/*.whl

FROM ${BASE}
COPY --from=build /opt/deployctl /opt/deployctl
ENV PATH=/opt/deployctl/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 1001:1001
WORKDIR /project
# deployctl worker --with-healthcheck serves /health, /ready and /metrics.
EXPOSE 8080
ENTRYPOINT ["deployctl"]
