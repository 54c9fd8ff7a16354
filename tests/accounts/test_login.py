from __future__ import annotations

from datetime import timedelta
from statistics import median
from time import perf_counter

import pytest
from django.contrib.auth import authenticate
from django.test import RequestFactory

from apps.accounts import services, throttle
from apps.accounts.backends import client_ip
from apps.accounts.models import LoginAttempt
from apps.accounts.selectors import operator_caller
from tests.support import thrift

pytestmark = pytest.mark.django_db

GOOD = "correct horse battery"


@pytest.fixture(autouse=True)
def _our_backend(settings):
    settings.AUTHENTICATION_BACKENDS = ["apps.accounts.backends.EmailBackend"]


@pytest.fixture
def ada():
    root = services.create_operator("root@example.org", GOOD)
    return services.create_user(operator_caller(root), "ada@example.org", GOOD)


def log_in(email, password, ip="192.0.2.1"):
    request = RequestFactory().post("/", REMOTE_ADDR=ip)
    return authenticate(request, username=email, password=password)


def test_the_right_password_logs_in_whatever_the_case_of_the_e_mail(ada):
    assert log_in("ADA@example.org ", GOOD) == ada


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("ada@example.org", "wrong"),
        ("nobody@example.org", GOOD),
        ("ada@example.org", ""),
        ("ada@example.org", "x" * 2000),
        ("a\x00da@example.org", GOOD),
        ("", GOOD),
    ],
)
def test_anything_else_does_not(ada, email, password):
    assert log_in(email, password) is None


def test_a_closed_account_does_not_log_in(ada):
    ada.is_active = False
    ada.save()
    assert log_in("ada@example.org", GOOD) is None


def test_guessing_at_one_account_ends_even_with_the_right_password(ada):
    for number in range(throttle.PER_ACCOUNT - 1):
        throttle.count_login("ada@example.org", f"192.0.2.{number}")
    assert log_in("ada@example.org", "wrong") is None
    assert log_in("ada@example.org", GOOD, ip="198.51.100.1") is None
    assert log_in("root@example.org", GOOD, ip="198.51.100.1") is not None


def test_guessing_from_one_address_ends_for_every_account(ada):
    for number in range(throttle.PER_ADDRESS - 1):
        throttle.count_login(f"user{number}@example.org", "192.0.2.1")
    assert log_in("somebody@example.org", "wrong") is None
    assert log_in("ada@example.org", GOOD) is None
    assert log_in("ada@example.org", GOOD, ip="198.51.100.1") == ada


def test_an_ipv6_customer_counts_as_one_address(ada):
    for number in range(throttle.PER_ADDRESS):
        throttle.count_login(f"user{number}@example.org", f"2001:db8:1:2::{number:x}")
    with pytest.raises(throttle.LoginThrottled):
        throttle.count_login("ada@example.org", "2001:db8:1:2:ffff::1")
    throttle.count_login("ada@example.org", "2001:db8:1:3::1")


def test_a_login_forgives_the_failures_before_it(ada):
    for _ in range(throttle.PER_ACCOUNT - 1):
        throttle.count_login("ada@example.org", "192.0.2.1")
    assert log_in("ada@example.org", GOOD) == ada
    assert log_in("ada@example.org", "wrong") is None
    assert log_in("ada@example.org", GOOD) == ada


def test_a_window_ends_and_old_rows_are_swept(ada):
    for number in range(throttle.PER_ACCOUNT):
        throttle.count_login("ada@example.org", f"192.0.2.{number}")
    assert log_in("ada@example.org", GOOD, ip="198.51.100.7") is None
    for row in LoginAttempt.objects.all():
        row.window_start -= throttle.WINDOW + timedelta(seconds=1)
        row.save()

    assert log_in("ada@example.org", GOOD, ip="198.51.100.7") == ada
    assert LoginAttempt.objects.filter(key__startswith="address:").count() == 1


def test_being_throttled_says_when_to_come_back(ada):
    for _ in range(throttle.PER_ACCOUNT):
        throttle.count_login("ada@example.org", "192.0.2.1")
    with pytest.raises(throttle.LoginThrottled) as refused:
        throttle.count_login("ada@example.org", "192.0.2.1")
    assert 890 <= refused.value.details["retry_after"] <= 900


def test_the_table_does_not_name_the_accounts_that_were_tried(ada):
    log_in("ada@example.org", "wrong")
    assert not LoginAttempt.objects.filter(key__contains="ada").exists()


@pytest.fixture
def dear(monkeypatch):
    thrift.hash_dearly(monkeypatch)


def test_an_unknown_account_takes_as_long_as_a_wrong_password(dear, ada, monkeypatch):
    monkeypatch.setattr(throttle, "PER_ACCOUNT", 1000)

    def took(email):
        start = perf_counter()
        log_in(email, "wrong horse battery")
        return perf_counter() - start

    pairs = [(took("ada@example.org"), took("nobody@example.org")) for _ in range(7)]
    known, unknown = (median(times) for times in zip(*pairs, strict=True))
    assert 0.5 < known / unknown < 2  # without the decoy hash the ratio is above 10


@pytest.mark.parametrize(
    ("proxies", "forwarded", "seen"),
    [
        (0, "203.0.113.9", "10.0.0.1"),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "1.1.1.1, 203.0.113.9", "203.0.113.9"),
        (2, "1.1.1.1, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        (1, "", "10.0.0.1"),
    ],
)
def test_a_header_moves_the_address_only_as_far_as_we_trust_proxies(
    settings, proxies, forwarded, seen
):
    settings.TRUSTED_PROXIES = proxies
    extra = {"HTTP_X_FORWARDED_FOR": forwarded} if forwarded else {}
    assert client_ip(RequestFactory().get("/", REMOTE_ADDR="10.0.0.1", **extra)) == seen
