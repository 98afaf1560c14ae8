# One wheel, built apart, so that the image holds no build tools and no sources.
FROM python:3.13-slim AS build
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --wheel-dir /wheels .

FROM python:3.13-slim
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels notifier \
    && useradd --system --no-create-home notifier
USER notifier
# Inside a container loopback is nobody's: what is published to the host decides who reaches it.
ENV NOTIFIER_HOST=0.0.0.0 NOTIFIER_LOG_FORMAT=json
EXPOSE 8888
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["python", "-c", \
    "import urllib.request as u; u.urlopen('http://127.0.0.1:8888/health/ready', timeout=2)"]
ENTRYPOINT ["notifier"]
CMD ["serve"]
