"""Settings: one file, read from the environment by `env.py`; defaults are the embedded stack."""

from __future__ import annotations

import os
import secrets as _secrets
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

from corsheaders.defaults import default_headers

from apps.console.unfold import UNFOLD  # noqa: F401  (unfold reads it here)
from polymux import env
from polymux.embedded.sockets import socket_folder

BASE_DIR = Path(__file__).resolve().parent.parent
VERSION = "0.1.0"

# --- Where data lives -------------------------------------------------------------------------
DATA_DIR = Path(env.text("POLYMUX_DATA_DIR") or BASE_DIR / "var").resolve()


def _kept_secret(name: str) -> str:
    """The setting, else a random one made once and kept in the data folder, mode 0600."""
    if value := env.text(name):
        return value
    path = DATA_DIR / "secrets" / name.lower()
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:  # another process of this installation was first
        return path.read_text(encoding="utf-8").strip()
    with os.fdopen(handle, "w") as file:
        file.write(_secrets.token_urlsafe(48))
    return path.read_text(encoding="utf-8").strip()


# --- Security ---------------------------------------------------------------------------------
DEBUG = env.flag("POLYMUX_DEBUG")
SECRET_KEY = _kept_secret("POLYMUX_SECRET_KEY")
# Key ring of the vault: `id:base64key,…`, the first seals, all open. Empty: one key kept in DATA_DIR.
ENCRYPTION_KEYS = env.text("POLYMUX_ENCRYPTION_KEYS")
ENCRYPTION_FALLBACK = "" if ENCRYPTION_KEYS else _kept_secret("POLYMUX_ENCRYPTION_SECRET")
PUBLIC_URL = env.text("POLYMUX_PUBLIC_URL")  # https://agents.example.org: what clients are told
BEHIND_TLS = PUBLIC_URL.startswith("https://")
ALLOWED_HOSTS = env.words("POLYMUX_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
if PUBLIC_URL and (host := urlsplit(PUBLIC_URL).hostname):
    ALLOWED_HOSTS.append(host)
TRUSTED_PROXIES = env.number("POLYMUX_TRUSTED_PROXIES", 0, high=10)
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL] if PUBLIC_URL else []
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_TLS
SESSION_COOKIE_HTTPONLY = True
SECURE_HSTS_SECONDS = 31_536_000 if BEHIND_TLS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = BEHIND_TLS
SECURE_SSL_REDIRECT = False  # the proxy in front redirects; health probes arrive in plain HTTP
SILENCED_SYSTEM_CHECKS = ["security.W008"]  # that redirect
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if BEHIND_TLS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
ADMIN_TOKEN = env.text("ADMIN_TOKEN")  # molecule's bootstrap secret
AUTH_SECRET = env.text("AUTH_SECRET")  # polyant's Auth.js secret
AUTH_INTERNAL_SECRET = env.text("AUTH_INTERNAL_SECRET")
CORS_ALLOWED_ORIGINS = env.words("CORS_ORIGINS", "http://localhost:3000,http://localhost:3001")
CORS_ALLOW_CREDENTIALS = True
CORS_EXPOSE_HEADERS = ["x-session-id", "x-request-id", "request_id"]
# Beside the usual ones: what clients of our surfaces send from a page.
CORS_ALLOW_HEADERS = (*default_headers, "x-session-id", "x-api-key", "idempotency-key")
METRICS_OPEN = env.flag("POLYMUX_METRICS_OPEN")
# Hosts (name or network) that outbound HTTP may reach although they are private; providers too.
OUTBOUND_ALLOW = env.words("POLYMUX_OUTBOUND_ALLOW")

# --- Applications -----------------------------------------------------------------------------
INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "corsheaders",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "channels",
    "django_celery_beat",
    "apps.accounts",
    "apps.workspaces",
    "apps.surfaces",
    "apps.events",
    "apps.engine",
    "apps.formations",
    "apps.knowledge",
    "apps.approvals",
    "apps.runs",
    "apps.conversations",
    "apps.tasks",
    "apps.missions",
    "apps.plugins",
    "apps.webhooks",
    "apps.console",
    "polymux.embedded",
]
MIDDLEWARE = [
    "apps.surfaces.formation_urls.FormationUrls",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "apps.console.csp.ContentSecurityPolicy",
    "corsheaders.middleware.CorsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "apps.console.own_password.OwnPasswordFirst",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "polymux.urls"
FORMATION_URLCONF = "polymux.urls.muxi_formation"  # at a formation's own address
WSGI_APPLICATION = "polymux.wsgi.application"
ASGI_APPLICATION = "polymux.asgi.application"
APPEND_SLASH = False
AUTH_USER_MODEL = "accounts.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTHENTICATION_BACKENDS = ["apps.accounts.backends.EmailBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 10},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# --- Database ---------------------------------------------------------------------------------
DATABASE_URL = env.text("DATABASE_URL")
DB_THREADS = env.number("POLYMUX_DB_THREADS", 8, low=1, high=64)  # for consumers and the engine
WEB_THREADS = env.number("POLYMUX_WEB_THREADS", 8, low=1, high=64)  # for Django's own requests
WORKER_THREADS = env.number("POLYMUX_WORKER_THREADS", 4, low=1, high=64)  # for Celery jobs

LEASE_SECONDS = env.number("POLYMUX_LEASE_SECONDS", 10, low=2, high=3600)
# A process that froze inside a transaction holds its rows: shorter than a lease, so that who takes its
# runs over does not wait for them. No transaction of ours waits for anything but the database.
IDLE_IN_TRANSACTION_MS = 1000 * min(30, max(5, LEASE_SECONDS // 2))


def _database(url: str) -> dict[str, object]:
    """Django's settings for `postgresql://user:password@host:port/name?option=value`.

    Without a URL: the socket of the PostgreSQL that `serve` keeps below DATA_DIR.
    """
    if not url:
        url = (
            f"postgresql://polymux@/polymux?host={quote(str(socket_folder(DATA_DIR / 'postgres')))}"
        )
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise env.BadSetting("DATABASE_URL", "must begin with postgresql://")
    query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    try:
        port = parts.port
    except ValueError:
        raise env.BadSetting("DATABASE_URL", "the port is not a number") from None
    return {
        "ENGINE": "polymux.postgres",
        "NAME": unquote(parts.path.lstrip("/")) or "polymux",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or "") or env.text("POSTGRES_PASSWORD"),
        "HOST": query.pop("host", None) or parts.hostname or "",
        "PORT": str(port or ""),
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": False,  # `polymux.postgres` looks without asking
        "OPTIONS": {
            "pool": {
                "min_size": 0,
                "max_size": DB_THREADS + WEB_THREADS + WORKER_THREADS + 4,
                "timeout": 5,
                "max_idle": 60,
            },
            "connect_timeout": 5,
            "options": "-c statement_timeout=30000 "
            f"-c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_MS}",
            **query,
        },
    }


DATABASES = {"default": _database(DATABASE_URL)}

# --- Channel layer, broker, cache ---------------------------------------------------------------
REDIS_URL = env.text("REDIS_URL")
if REDIS_URL:
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {
                "hosts": [{"address": REDIS_URL, "socket_connect_timeout": 2}],
                "prefix": "polymux",
            },
        }
    }
else:
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

CELERY_BROKER_URL = REDIS_URL or "memory://"
CELERY_BROKER_TRANSPORT_OPTIONS = {} if REDIS_URL else {"polling_interval": 0.02}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_POOL = "threads"
CELERY_WORKER_CONCURRENCY = WORKER_THREADS
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_TASK_DEFAULT_QUEUE = "polymux"

# --- Files --------------------------------------------------------------------------------------
S3_BUCKET = env.text("POLYMUX_S3_BUCKET")
STORAGES = {
    "default": (
        {
            "BACKEND": "storages.backends.s3.S3Storage",
            "OPTIONS": {
                "bucket_name": S3_BUCKET,
                "endpoint_url": env.text("POLYMUX_S3_ENDPOINT") or None,
            },
        }
        if S3_BUCKET
        else {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": DATA_DIR / "files", "file_permissions_mode": 0o600},
        }
    ),
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # whitenoise warns about a missing one
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

# --- Limits -------------------------------------------------------------------------------------
MAX_BODY_BYTES = env.number("POLYMUX_MAX_BODY_BYTES", 5 * 1024 * 1024, low=1024)  # JSON bodies
MAX_UPLOAD_BYTES = env.number("POLYMUX_MAX_UPLOAD_BYTES", 100 * 1024 * 1024, low=1024)
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES
RATE_READ_PER_MIN = env.number("POLYMUX_RATE_READ", 60, low=1)
RATE_WRITE_PER_MIN = env.number("POLYMUX_RATE_WRITE", 30, low=1)
RATE_POLPO_PER_MIN = env.number("POLYMUX_RATE_POLPO", 200, low=1)
RATE_MOLECULE_PER_MIN = env.number("RATE_LIMIT", 600, low=1)
# Where rate windows are counted without Redis: `memory` (one process) or `postgres` (several).
RATE_STORE = env.text("POLYMUX_RATE_STORE", "memory")
RATE_CHAT_PER_MIN = env.number("POLYMUX_RATE_CHAT", 600, low=1)
MAX_ACTIVE_SESSIONS = env.number("POLYMUX_MAX_ACTIVE_SESSIONS", 10, low=1)
SESSION_IDLE_MINUTES = env.number("POLYMUX_SESSION_IDLE_MINUTES", 30, low=1)
EVENT_RETENTION_DAYS = env.number("POLYMUX_EVENT_RETENTION_DAYS", 30, low=1)
MAX_CONCURRENT_RUNS = env.number("POLYMUX_MAX_CONCURRENT_RUNS", 500, low=1)

# --- Commands -----------------------------------------------------------------------------------
# Commands of agents and checks: in bubblewrap's sandbox, not at all, or with this server's own rights.
COMMANDS = env.choice("POLYMUX_COMMANDS", "sandboxed", "off", "unconfined")
# Seconds one check of a task's result may take: a test, a script, the command of a metric.
CHECK_SECONDS = env.number("POLYMUX_CHECK_SECONDS", 120, low=1, high=3600)

# --- Formations ---------------------------------------------------------------------------------
# First and last of the ports that formations answer on.
FORMATION_PORTS = env.span("POLYMUX_FORMATION_PORTS", "8000-8999", low=1024, high=65_535)
# Folders below which `POST /rpc/dev/run` may take a formation from its path; none: from drafts only.
FORMATION_DEV_FOLDERS = env.words("POLYMUX_FORMATION_DEV_FOLDERS")
SERVER_LOG_DAYS = env.number("POLYMUX_SERVER_LOG_DAYS", 30, low=1)

# --- Models -------------------------------------------------------------------------------------
AUDIO_MODEL = env.text("POLYMUX_AUDIO_MODEL")  # `openai/whisper-1`: speech to text
DEFAULT_MODEL = env.text("POLYMUX_MODEL")  # `openai/gpt-4.1`, `ollama/llama3.2`, `local/smollm2`
# Further OpenAI-compatible endpoints: `name=https://host/v1,…`; key in POLYMUX_<NAME>_API_KEY.
MODEL_ENDPOINTS = env.words("POLYMUX_MODEL_ENDPOINTS")

# --- The rest -----------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,
}
# Each surface has a document of its own (`apps.surfaces.openapi`), with its choices written where they
# stand; the check of settings looks at all of them as one, where names like `status` meet.
SPECTACULAR_SETTINGS: dict[str, object] = {"POSTPROCESSING_HOOKS": []}
LOG_LEVEL = env.text("POLYMUX_LOG_LEVEL", "INFO").upper()
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname:7} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "polymux": {"level": LOG_LEVEL},
        "apps": {"level": LOG_LEVEL},
        "django.request": {"level": "ERROR"},  # a 404 is an answer, not news
    },
}
