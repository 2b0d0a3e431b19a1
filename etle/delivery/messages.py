"""What goes out by e-mail and short message, and the errors of sending."""

from __future__ import annotations

import functools
from email.message import EmailMessage
from email.utils import format_datetime

from etle.cases.models import Delivery, Notice
from etle.documents.texts import Language, Texts, load_texts
from etle.errors import EtleError, InputError
from etle.settings import Settings


class DeliveryError(EtleError):
    """A notice could not be sent now; it stays in the outbox.

    ``permanent``: the address itself was refused, so that trying again is of no use.
    """

    permanent = False


@functools.cache
def delivery_texts() -> Texts:
    """Words of messages."""
    return load_texts("etle.delivery")


def owner_url(settings: Settings) -> str:
    """Where owners look up a notice."""
    return f"{settings.public_url.rstrip('/')}/owner"


def email_for(delivery: Delivery, notice: Notice, pdf: bytes, settings: Settings) -> EmailMessage:
    """The e-mail with the letter attached. Its Message-ID follows from the delivery: a repeated one can be told.

    Raises:
        InputError: The deployment has no sender's address.
    """
    if not settings.mail_from:
        raise InputError("no sender's address", where="ETLE_MAIL_FROM", remedy="Set it to the agency's address")
    texts, message = delivery_texts(), EmailMessage()
    message["From"] = settings.mail_from
    message["To"] = str(delivery.address["email"])
    message["Subject"] = texts.get(f"kind.{notice.kind}", "id")
    message["Date"] = format_datetime(notice.issued_at)
    domain = settings.mail_from.rpartition("@")[2].strip("<> ") or "etle.invalid"
    message["Message-ID"] = f"<{delivery.key[:32]}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    languages: tuple[Language, ...] = ("id", "en") if notice.language == "en" else ("id",)
    values = {
        "name": notice.addressee.get("name", ""),
        "agency": settings.agency,
        "number": notice.notice_number,
        "url": owner_url(settings),
        "contact": settings.agency_contact or settings.mail_from,
    }
    parts = [
        texts.get("email.body", language, kind=texts.get(f"kind.{notice.kind}", language), **values)
        for language in languages
    ]
    message.set_content("\n\n".join(parts))
    message.add_attachment(pdf, maintype="application", subtype="pdf", filename=f"{notice.notice_number}.pdf")
    return message


def short_text(notice: Notice, settings: Settings) -> str:
    """The text of an SMS or WhatsApp message."""
    texts: Texts = delivery_texts()
    language: Language = "en" if notice.language == "en" else "id"
    return texts.get(
        "message.text",
        language,
        agency=settings.agency,
        kind=texts.get(f"kind.{notice.kind}", language),
        number=notice.notice_number,
        url=owner_url(settings),
    )
