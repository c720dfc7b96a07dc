# Any image with Python 3.11 or newer and venv. For production name one by digest: --build-arg BASE=python@sha256:...
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
# For a site that reaches packages only through a mirror, or from a folder; pip reads these by itself.
ARG PIP_INDEX_URL
ARG PIP_NO_INDEX
ARG PIP_FIND_LINKS
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements.lock requirements-build.lock ./
RUN python3 -m venv /build \
 && /build/bin/pip install --require-hashes --only-binary=:all: -r requirements-build.lock \
 && python3 -m venv --without-pip /opt/coding-assist \
 && /build/bin/pip --python /opt/coding-assist/bin/python3 install --require-hashes --only-binary=:all: -r requirements.lock
COPY . .
RUN /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . \
 && /build/bin/pip --python /opt/coding-assist/bin/python3 install --no-deps --no-index /wheel/*.whl
# Without a C compiler (and apt to get one) the image works all the same; an answer takes about 1.5 times as long.
# hadolint ignore=DL3008 # which release of gcc there is, the base decides
RUN { command -v cc || { apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev; } || true; } \
 && PYTHONPATH="$(echo /opt/coding-assist/lib/python3*/site-packages)" /build/bin/python3 -m service.cli compile \
 || echo "The core stays uncompiled."

FROM ${BASE}
RUN groupadd --gid 10001 coding-assist \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin coding-assist \
 && install -d -o 10001 -g 10001 -m 0700 /var/lib/coding-assist
COPY --from=build /opt/coding-assist /opt/coding-assist
# /dev/shm: a worker's heartbeat on a slow disk looks like a hung worker. The control socket would need a home folder.
ENV PATH=/opt/coding-assist/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    GUNICORN_CMD_ARGS="--worker-tmp-dir /dev/shm --no-control-socket" \
    CODING_ASSIST_DATABASE_URL=sqlite:////var/lib/coding-assist/coding-assist.db
# A number, so that Kubernetes' runAsNonRoot can tell.
USER 10001:10001
WORKDIR /var/lib/coding-assist
VOLUME ["/var/lib/coding-assist"]
EXPOSE 8080
STOPSIGNAL SIGTERM
# http.client, because urllib would ask the proxy of the environment.
HEALTHCHECK --interval=30s --timeout=3s --start-period=10s --retries=3 CMD ["python3", "-c", "\
import http.client, sys; \
service = http.client.HTTPConnection('127.0.0.1', 8080, timeout=2); \
service.request('GET', '/healthz'); \
sys.exit(service.getresponse().status != 200)"]
ENTRYPOINT ["coding-assist", "serve", "--host", "0.0.0.0", "--port", "8080"]
