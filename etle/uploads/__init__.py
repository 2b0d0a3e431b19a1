"""Files that people outside the office send: looked at without trust, and made anew from their pixels."""

from etle.uploads.clean import Cleaned, UploadError, clean, safe_name
from etle.uploads.limits import Limits

__all__ = ["Cleaned", "Limits", "UploadError", "clean", "safe_name"]
