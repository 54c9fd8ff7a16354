"""What can go wrong with people's accounts."""

from __future__ import annotations

from apps.core.errors import Conflict, Forbidden, InvalidInput, RateLimited


class EmailTaken(Conflict):
    code = "email_taken"
    message = "A user with this e-mail address exists already."


class PasswordRefused(InvalidInput):
    """`details["fields"]["password"]`: what the password rules say."""

    code = "password_refused"
    message = "This password cannot be used."


class PasswordWrong(Forbidden):
    code = "password_wrong"
    message = "The present password is not correct."


class OperatorsOnly(Forbidden):
    code = "operators_only"
    message = "Only an operator of this platform may do that."


class LoginThrottled(RateLimited):
    """`details["retry_after"]`: seconds."""

    code = "login_throttled"
    message = "Too many attempts to log in. Try again later."
