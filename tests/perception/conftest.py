"""A network whose output is known exactly, so that everything around the network can be checked against it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

INPUT_HW = (96, 96)
BOXES = 12 * 12 + 6 * 6 + 3 * 3
NAMES = {0: "car", 1: "truck", 2: "person", 3: "boat"}

# centre x, centre y, width, height in the network's input; class, score
TRUTH = [
    (48.0, 32.0, 40.0, 20.0, 0, 0.90),
    (49.0, 32.0, 40.0, 20.0, 0, 0.80),  # overlaps the first by 0.95: suppressed, same class
    (48.0, 32.5, 40.0, 20.0, 1, 0.70),  # the same vehicle named a truck: merged
    (48.0, 32.0, 39.0, 20.0, 2, 0.60),  # a person stays
    (10.0, 20.0, 12.0, 8.0, 1, 0.50),
    (80.0, 20.0, 12.0, 8.0, 3, 0.95),  # a boat: no use for it
    (20.0, 50.0, 6.0, 6.0, 0, 0.05),  # too weak
]

MakeNetwork = Callable[..., Path]


@pytest.fixture(scope="session")
def make_network(tmp_path_factory: pytest.TempPathFactory) -> MakeNetwork:
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    def make(
        name: str = "exact",
        *,
        names: dict[int, str] | None = NAMES,
        boxes: int = BOXES,
        batch: int | str = "batch",
    ) -> Path:
        head = np.zeros((1, 4 + len(NAMES), boxes), dtype=np.float32)
        for column, (cx, cy, w, h, index, score) in enumerate(TRUTH):
            head[0, :4, column * 7] = cx, cy, w, h
            head[0, 4 + index, column * 7] = score
        # mean of each picture times nothing, plus the known head: batch size follows the input
        graph = helper.make_graph(
            [
                helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=1),
                helper.make_node("Mul", ["mean", "nought"], ["zero"]),
                helper.make_node("Squeeze", ["zero", "axis"], ["flat"]),
                helper.make_node("Add", ["flat", "head"], ["output0"]),
            ],
            "exact",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, *INPUT_HW])],
            [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [batch, *head.shape[1:]])],
            initializer=[
                numpy_helper.from_array(head, "head"),
                numpy_helper.from_array(np.zeros(1, dtype=np.float32), "nought"),
                numpy_helper.from_array(np.array([3], dtype=np.int64), "axis"),
            ],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9)
        stated = {"stride": "32", "task": "detect", "batch": "1", "imgsz": str(list(INPUT_HW)), "license": "CC0"}
        if names is not None:
            stated["names"] = str(names)
        helper.set_model_props(model, stated)
        path = tmp_path_factory.mktemp("network") / f"{name}.onnx"
        onnx.save(model, str(path))
        return path

    return make
