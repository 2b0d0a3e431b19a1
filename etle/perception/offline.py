"""Importing the inference libraries without their telemetry, downloads and writes into the user's home.

All three report usage by default, and each has to be told not to before it is imported:

* ONNX Runtime (Linux builds since 2026) sends events to Microsoft and keeps a device identifier under
  ``~/.cache/Microsoft``; ``ORT_DISABLE_TELEMETRY`` or, in other versions, ``ORT_TELEMETRY_DISABLED`` is its full
  opt-out (microsoft/onnxruntime pull requests 27379 and 29843).
* ``import openvino`` sends an event to Google Analytics and keeps an identifier under ``~/intel``, the opt-in question
  switched off (``openvino/tools/ovc/__init__.py``); with ``openvino_telemetry`` hidden it uses its own stub.
* Ultralytics writes ``~/.config/Ultralytics``, reports usage to Google Analytics, looks for its own updates, installs
  packages by pip and downloads weights it does not find.
"""

from __future__ import annotations

import logging
import os
import sys
from types import ModuleType

import platformdirs

from etle.errors import MissingExtraError


def switch_off_telemetry() -> None:
    """Tell the inference libraries to keep quiet; to be called before any of them is imported, as often as one likes.

    Acts on this process and those it starts. Settings of the user that are already stricter stay as they are.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    os.environ["ORT_TELEMETRY_DISABLED"] = "1"
    if "openvino_telemetry" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # Python's way to say "not there"
    os.environ["YOLO_OFFLINE"] = "1"
    os.environ["YOLO_AUTOINSTALL"] = "false"
    os.environ.setdefault("ULTRALYTICS_SAFE_LOAD", "1")  # a checkpoint's pickle may build known classes only
    os.environ.setdefault("YOLO_VERBOSE", "false")
    os.environ.setdefault("YOLO_CONFIG_DIR", str(platformdirs.user_cache_path("etle")))


def import_onnxruntime() -> ModuleType:
    """Import ONNX Runtime.

    Raises:
        MissingExtraError: It is not installed.
    """
    switch_off_telemetry()
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(
            "ONNX Runtime is not installed", remedy="Install it with: pip install onnxruntime"
        ) from error
    return onnxruntime  # type: ignore[no-any-return, unused-ignore]


def import_openvino() -> ModuleType:
    """Import OpenVINO.

    Raises:
        MissingExtraError: It is not installed.
    """
    switch_off_telemetry()
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError("OpenVINO is not installed", remedy="Install it with: pip install openvino") from error
    return openvino  # type: ignore[no-any-return, unused-ignore]


def import_ultralytics() -> ModuleType:
    """Import Ultralytics.

    Raises:
        MissingExtraError: Ultralytics or PyTorch is not installed.
    """
    switch_off_telemetry()
    threads_before = os.environ.get("OMP_NUM_THREADS")
    try:
        import ultralytics
        from ultralytics.utils import events
    except ImportError as error:
        raise MissingExtraError(
            "Ultralytics or PyTorch is not installed", remedy="Install them with: pip install 'etle[torch]'"
        ) from error
    finally:
        if threads_before is None:  # Ultralytics sets it to 1 for the whole process
            os.environ.pop("OMP_NUM_THREADS", None)
    events.events.enabled = False  # also where somebody else imported Ultralytics first
    logging.getLogger("ultralytics").setLevel(logging.ERROR)
    return ultralytics  # type: ignore[no-any-return, unused-ignore]
