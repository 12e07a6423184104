# One image for all functions; the argument chooses: `docker run agent-functions agent`.
# Any Debian-based image with Python 3.11 or later and pip will do.
ARG PYTHON_IMAGE=python:3.12-slim

FROM ${PYTHON_IMAGE} AS builder
WORKDIR /build
# wheels/ is optional; where it is there, nothing is fetched (docs/knative.md).
COPY pyproject.toml constraints.txt wheel[s]* wheels/
# An index of your own comes as a secret: it is there for this step, and in no layer.
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
# Bytecode that is never compared with its source's time: a builder that sets times anew would make all of it stale,
# and nothing can write it again where the root file system is read-only.
RUN python -m compileall -q -f --invalidation-mode unchecked-hash /packages /app

FROM ${PYTHON_IMAGE}
# Official images come without the standard library's bytecode, and compiling it at each start is a fifth of a cold start.
# pip, and the copy of it in ensurepip, have nothing to do here.
RUN stdlib="$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && rm -rf "$stdlib"/ensurepip "$stdlib"/site-packages/* "$(dirname "$(command -v python)")"/pip* \
    && python -m compileall -q -f --invalidation-mode unchecked-hash \
        -x '/(test|tests|idlelib|lib2to3|turtledemo)/' "$stdlib"
COPY --from=builder /packages /packages
COPY --from=builder /app /app
WORKDIR /app
ENV PATH=/packages/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1
# A number, so that Kubernetes can see that it is not root.
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
