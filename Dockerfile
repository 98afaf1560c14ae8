# Installed apart, so that the image holds no sources and nothing that building leaves behind.
FROM python:3.13-slim AS build
WORKDIR /src
COPY . .
RUN python -m venv --without-pip /app \
    && pip --python /app/bin/python install --no-cache-dir '.[jwt]'

FROM python:3.13-slim
COPY --from=build /app /app
# A number: it needs no name, and who forbids root can see that it is none. It owns nothing and writes
# nothing, so the root filesystem may be read-only.
USER 10001:10001
WORKDIR /
# Inside a container loopback is nobody's: what is published to the host decides who reaches it.
ENV PATH=/app/bin:$PATH NOTIFIER_HOST=0.0.0.0 NOTIFIER_PORT=8888 NOTIFIER_LOG_FORMAT=json
EXPOSE 8888
# Not with urllib: that would ask the proxy which a container's environment may name.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["python", "-ISc", "import http.client, os; \
    node = http.client.HTTPConnection('127.0.0.1', int(os.environ['NOTIFIER_PORT']), timeout=2); \
    node.request('GET', '/health/ready'); \
    raise SystemExit(node.getresponse().status != 200)"]
# Clients are sent away over drain_seconds (10s): allow more than that, as docker-compose.yml does.
STOPSIGNAL SIGTERM
ENTRYPOINT ["notifier"]
CMD ["serve"]
