"""Writes tests/golden/torchaudio/torchaudio.npz: torchaudio's results, signatures and state dicts.

    python tools/torchaudio_goldens.py [OUTPUT.npz]

Runs under any PyTorch with its torchaudio, on the CPU whether or not there is a GPU; the versions are recorded. What is
computed stands in tests/torch_audio/cases.py. Each case is stored in float64 (`<case>`) and in float32 (`<case>/32`), with the
buffers that it was computed from (`<case>/state/<buffer>`): their last digits depend on the machine's vector library.
"""

from __future__ import annotations

import inspect
import json
import pathlib
import sys
import warnings
from typing import Any

import numpy as np
import torch
import torchaudio

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from torch_audio import cases  # noqa: E402

LIMIT_BYTES = 300_000


def parameters(function: Any) -> list[list[Any]]:
    """Name and default of each; a default that JSON lacks is given by its name."""
    found = []
    for parameter in inspect.signature(function).parameters.values():
        default = parameter.default
        if default is inspect.Parameter.empty:
            found.append([parameter.name])
        else:
            found.append([parameter.name, getattr(default, "__name__", default)])
    return found


def describe(module: torch.nn.Module) -> dict[str, Any]:
    """What a module shows from outside."""
    plain = (bool, int, float, str, type(None))
    return {
        "state": {name: [list(value.shape), str(value.dtype)] for name, value in module.state_dict().items()},
        "attributes": {
            name: value
            for name, value in vars(module).items()
            if not name.startswith("_") and name != "training" and isinstance(value, plain)
        },
        "repr": repr(module),
    }


def main() -> None:
    path = ROOT / "tests/golden/torchaudio/torchaudio.npz"
    if len(sys.argv) > 1:
        path = pathlib.Path(sys.argv[1])
    warnings.simplefilter("ignore")  # of empty mel bands
    arrays: dict[str, np.ndarray] = {}
    modules: dict[str, Any] = {}
    for case in cases.CASES:
        for dtype, suffix in ((torch.float64, ""), (torch.float32, "/32")):
            result = cases.run(case, torchaudio.transforms, torchaudio.functional, dtype)
            arrays[case.name + suffix] = result.detach().contiguous().numpy()
        if not case.functional:
            module = getattr(torchaudio.transforms, case.target)(**case.kwargs)
            modules[case.name] = describe(module)
            for name, value in module.state_dict().items():
                arrays[f"{case.name}/state/{name}"] = value.numpy()
    targets = {case.target: case.functional for case in cases.CASES}
    names = [name for name, functional in targets.items() if not functional]
    record = {
        "torch": torch.__version__,
        "torchaudio": torchaudio.__version__,
        "numpy": np.__version__,
        "constructors": {name: parameters(getattr(torchaudio.transforms, name)) for name in names},
        "forwards": {name: parameters(getattr(torchaudio.transforms, name).forward)[1:] for name in names},
        "constants": {name: getattr(torchaudio.transforms, name).__dict__.get("__constants__") for name in names},
        "functions": {name: parameters(getattr(torchaudio.functional, name)) for name in cases.FUNCTIONS},
        "modules": modules,
    }
    arrays["record"] = np.frombuffer(json.dumps(record).encode(), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)
    size = path.stat().st_size
    print(f"{path}: {len(cases.CASES)} cases, {size} bytes, torchaudio {torchaudio.__version__}")
    if size > LIMIT_BYTES:
        raise SystemExit(f"more than {LIMIT_BYTES} bytes: make the inputs in cases.py smaller")


if __name__ == "__main__":
    main()
