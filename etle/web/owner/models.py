"""What a bank reports, and what it is answered."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class BankReportIn(BaseModel):
    """One payment."""

    model_config = ConfigDict(extra="forbid")

    reference: Annotated[str, Field(min_length=1, max_length=128, description="The bank's own number of the payment.")]
    account: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[0-9]+$", examples=["98810123456789"])]
    amount_idr: Annotated[int, Field(gt=0, le=10**12, examples=[500000])]
    paid_at: Annotated[datetime, Field(description="With offset.", examples=["2026-11-27T10:00:00+07:00"])]


class ReceiptOut(BaseModel):
    """What became of it."""

    outcome: Annotated[str, Field(examples=["settled", "partial", "surplus"])]
    repeated: Annotated[bool, Field(description="It was known already; nothing changed.")]
    open_idr: Annotated[int, Field(description="What is still owed.")]
