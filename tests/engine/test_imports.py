"""Start-up time is a feature: the engine's modules load nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HEAVY = ("openai", "pydantic_ai", "onnxruntime", "xllamacpp", "mcp", "genai_prices", "anthropic")
ROOT = Path(__file__).resolve().parents[2]
CODE = """
import os, pkgutil, sys, importlib
import django
os.environ["DJANGO_SETTINGS_MODULE"] = "polymux.settings"  # one of them reads the vault
django.setup()
import apps.engine
for module in pkgutil.walk_packages(apps.engine.__path__, "apps.engine."):
    if "migrations" not in module.name and "management" not in module.name:
        importlib.import_module(module.name)
print(",".join(name for name in {heavy} if name in sys.modules))
"""


def _run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_importing_the_engine_imports_no_heavy_library():
    assert _run(CODE.format(heavy=HEAVY)) == ""


def test_the_loop_knows_neither_django_nor_celery():
    names = "[n for n in ('django', 'celery') if n in sys.modules]"
    assert _run(f"import sys, apps.engine.loop; print({names})") == "[]"
