# The gateway alone: Redis and Postgres are services of their own, named by QUOTAGATE_REDIS_URL and
# QUOTAGATE_DATABASE_URL, and callers need QUOTAGATE_API_KEY. compose.yaml beside this file sets all three.
ARG PYTHON_VERSION=3.13

FROM python:${PYTHON_VERSION}-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/quotagate
COPY pyproject.toml README.md LICENSE ./
COPY gateway ./gateway
COPY lua ./lua
COPY persistence ./persistence
RUN /opt/quotagate/bin/pip install .

FROM python:${PYTHON_VERSION}-slim
RUN groupadd --system --gid 10001 quotagate \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent \
       --shell /usr/sbin/nologin quotagate
# Same path and same base image as where it was built, so that the environment still fits.
COPY --from=build /opt/quotagate /opt/quotagate
ENV PATH=/opt/quotagate/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    QUOTAGATE_PORT=8080 \
    QUOTAGATE_LOG_FORMAT=json
# By number, so that an orchestrator can see that it is not root.
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['QUOTAGATE_PORT']), timeout=2); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["quotagate"]
CMD ["serve", "--host", "0.0.0.0"]
