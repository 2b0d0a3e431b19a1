"""The reader's network: a small CRNN with CTC, and a second head that says whether there is a plate to read at all.

Convolutions reduce a grey 64 x 192 crop to 48 columns, a bidirectional GRU looks along them, and each column gives
probabilities of blank, ten digits and 26 letters (Graves et al. 2006, "Connectionist temporal classification"; Shi,
Bai and Yao 2015, "An end-to-end trainable neural network for image-based sequence recognition"). The same features,
pooled over the columns, give the probability that the crop shows a readable plate. The crop's brightness and contrast
are taken out first, so that light-on-dark and dark-on-light, day and night look alike.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

HEIGHT, WIDTH, COLUMNS = 64, 192, 48
CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""Class 0 is CTC's blank; character ``k`` of this string is class ``k + 1``."""


def _block(
    inputs: int, outputs: int, kernel: int | tuple[int, int] = 3, stride: int | tuple[int, int] = 1
) -> nn.Module:
    padding = kernel // 2 if isinstance(kernel, int) else 0
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.a = _block(channels, channels)
        self.b = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.b(self.a(x)))


class PlateNet(nn.Module):
    """``(n, 1, 64, 192)`` grey in 0..1 -> logits of the characters ``(n, 48, 37)`` and of legibility ``(n,)``."""

    def __init__(self, channels: tuple[int, int, int, int] = (24, 32, 80, 128), hidden: int = 128) -> None:
        super().__init__()
        a, b, c, d = channels
        self.stem = _block(1, a, 5, 2)  # 32 x 96
        self.s1 = nn.Sequential(_block(a, b, 3, (2, 1)), _Residual(b))  # 16 x 96
        self.s2 = nn.Sequential(_block(b, c, 3, 2), _Residual(c), _Residual(c))  # 8 x 48
        self.s3 = nn.Sequential(_block(c, d, 3, (2, 1)), _Residual(d))  # 4 x 48
        self.col = _block(d, 192, (4, 1))  # 1 x 48
        self.rnn = nn.GRU(192, hidden, 1, batch_first=True, bidirectional=True)
        self.drop = nn.Dropout(0.1)
        self.out = nn.Linear(2 * hidden, len(CHARACTERS) + 1)
        self.legible = nn.Linear(4 * hidden, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of a batch."""
        mean = x.mean((2, 3), keepdim=True)
        spread = (x - mean).pow(2).mean((2, 3), keepdim=True).add(1e-3).sqrt()
        x = (x - mean) / spread
        x = self.col(self.s3(self.s2(self.s1(self.stem(x))))).squeeze(2).transpose(1, 2)
        x, _ = self.rnn(x)
        x = self.drop(x)
        pooled = torch.cat([x.mean(1), x.amax(1)], dim=1)
        return self.out(x), self.legible(pooled).squeeze(1)


class Exported(nn.Module):
    """What the ONNX file computes: ``(n, 64, 192)`` uint8 -> probabilities ``(n, 48, 37)`` and legibility ``(n,)``."""

    def __init__(self, net: PlateNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities of a batch."""
        characters, legible = self.net(x.unsqueeze(1).float() / 255.0)
        return torch.softmax(characters, dim=2), torch.sigmoid(legible)


def load(path: Path, *, key: str = "ema") -> PlateNet:
    """The network of a checkpoint.

    Weights of the earlier form (48 x 160, three rows where there are four now, no second head) are taken over: the
    kernel over the rows is stretched, the rest fits as it is.
    """
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)[key]
    net = PlateNet()
    rows = state["col.0.weight"]
    if rows.shape[2] == 3:
        stretched = functional.interpolate(rows.flatten(0, 1).squeeze(2)[:, None], 4, mode="linear", align_corners=True)
        state["col.0.weight"] = stretched.reshape(*rows.shape[:2], 4, 1) * 0.75
    missing, unexpected = net.load_state_dict(state, strict=False)
    if unexpected or any(not name.startswith("legible.") for name in missing):
        raise ValueError(f"{path} is not a checkpoint of this network: {unexpected or missing}")
    return net


def encode(texts: list[str]) -> tuple[Tensor, Tensor]:
    """Targets for CTC: all class numbers in a row, and the length of each text."""
    numbers = [CHARACTERS.index(c) + 1 for text in texts for c in text]
    return torch.tensor(numbers, dtype=torch.long), torch.tensor([len(text) for text in texts])


def greedy(logits: Tensor) -> list[str]:
    """The likeliest class of each column, repeats and blanks removed; ``logits`` is ``(n, 48, 37)``."""
    texts = []
    for row in logits.argmax(2).tolist():
        kept = [k for i, k in enumerate(row) if k and (i == 0 or row[i - 1] != k)]
        texts.append("".join(CHARACTERS[k - 1] for k in kept))
    return texts
