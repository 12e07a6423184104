# One image for all functions; the argument selects one: `docker run agent-functions assistant`.
# The base can be any Debian-based image with Python 3.11 or later and pip.
ARG PYTHON_IMAGE=python:3.12-slim

FROM ${PYTHON_IMAGE} AS builder
WORKDIR /build
# wheels/ is optional. If it exists, nothing is downloaded (docs/knative.md).
COPY pyproject.toml constraints.txt wheel[s]* wheels/
# Your own package index is passed as a secret: it exists during this step only, and is in no layer.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -c 'import tomllib; project = tomllib.load(open("wheels/pyproject.toml", "rb"))["project"]; \
        print(*project["dependencies"], sep="\n")' > requirements.txt \
    && python -m venv --without-pip /packages \
    && if ls wheels/*.whl > /dev/null 2>&1; then offline="--no-index --find-links wheels"; fi \
    && python -m pip --python /packages/bin/python --disable-pip-version-check --no-cache-dir install --quiet \
        --no-compile --only-binary :all: $offline -c wheels/constraints.txt -r requirements.txt
WORKDIR /app
COPY functions functions
COPY shared shared
# Python never compares this bytecode with the sources' times. Otherwise a builder that resets times would make it
# stale, and a process cannot write it again on a read-only file system.
RUN python -m compileall -q -f --invalidation-mode unchecked-hash /packages /app

FROM ${PYTHON_IMAGE}
# Official images have no bytecode of the standard library; compiling it at each start is a fifth of a cold start.
# pip, and its copy in ensurepip, are not needed here.
RUN stdlib="$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && rm -rf "$stdlib"/ensurepip "$stdlib"/site-packages/* "$(dirname "$(command -v python)")"/pip* \
    && python -m compileall -q -f --invalidation-mode unchecked-hash \
        -x '/(test|tests|idlelib|lib2to3|turtledemo)/' "$stdlib"
COPY --from=builder /packages /packages
COPY --from=builder /app /app
WORKDIR /app
ENV PATH=/packages/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1
# A number, so that Kubernetes can verify that it is not root.
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "functions"]
ARG VERSION=0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="agent-functions" \
    org.opencontainers.image.description="A Python agent backend for Supabase apps" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
