"""What the store says of a faulty form, in the language of the page."""

from __future__ import annotations

from etle.cases.tokens import MAX_TOKEN_DAYS
from etle.cases.users import MAX_PASSWORD, MIN_PASSWORD
from etle.errors import InputError
from etle.web.i18n import N_, Words

_NUMBERS = {"least": MIN_PASSWORD, "most": MAX_PASSWORD, "days": MAX_TOKEN_DAYS}
_ERRORS = {
    message % _NUMBERS: message
    for message in (
        N_("a user name has 2 to 64 of a-z 0-9 . _ - and starts with a letter or digit"),
        N_("this user name is taken"),
        N_("the password is shorter than %(least)s characters"),
        N_("the password is longer than %(most)s characters"),
        N_("the password is little more than the user name"),
        N_("this code is not for this account"),
        N_("this account has a second factor already"),
        N_("there is no second factor to confirm"),
        N_("no scope"),
        N_("not between 1 and %(days)s days"),
        N_("a name has 1 to 100 characters"),
        N_("not an address"),
        N_("not an HTTPS address"),
        N_("no event"),
    )
}
_REMEDIES = {
    one: one
    for one in (
        N_("Choose another one"),
        N_("Take a longer one"),
        N_("Take a shorter one"),
        N_("Take another one"),
        N_("Type your own user name"),
        N_("An administrator can take it away"),
        N_("Begin to set one up"),
        N_("Name the program that will use it"),
        N_("Write it like https://example.org/etle-events"),
        N_("HTTP is for numeric addresses within ETLE_WEBHOOK_NETWORKS only"),
    )
}
_INSTEAD = {"no scope": N_("Tick what the program may do")}
"""Remedies for people at a form, where the store's are for programs."""


def told(error: InputError, words: Words) -> str:
    """An error of the store in words for people, translated where a form can bring it about."""
    known = words.gettext(_ERRORS[error.what], **_NUMBERS) if error.what in _ERRORS else error.what
    remedy = _INSTEAD.get(error.what, _REMEDIES.get(error.remedy))
    advice = error.remedy if remedy is None else words.gettext(remedy)
    text = known[:1].upper() + known[1:]
    return f"{text.rstrip('.')}." + (f" {advice.rstrip('.')}." if advice else "")
