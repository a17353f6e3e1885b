"""The check of Metal sources must refuse what Metal refuses: each case is a kernel with one fault."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
CLANG = shutil.which("clang") or ""

pytestmark = pytest.mark.skipif(not CLANG, reason="the Metal sources are checked with clang")

KERNEL = """
struct Scale {{
  struct Inner {{
    float factor;
    MEL_FN float twice() const {{ return 2 * factor; }}
  }};
  struct Args {{
    MEL_GLOBAL(const float) x;
    MEL_GLOBAL(Complex<float>) y;
    Inner inner;
  }};
  static constexpr int kThreads = 64;
  {members}
  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char) shared) {{
    MEL_SHARED(Complex<float>) staged = MEL_SHARED_CAST(Complex<float>, shared);
    const Inner inner = args.inner;
    staged[t.thread()] = Complex<float>{{args.x[t.thread()] * inner.factor, mel_half_bits_to_float(15360)}};
    t.sync();
    const Complex<float> other = staged[kThreads - 1 - t.thread()];
    args.y[t.thread()] = other;
    {statements}
  }}
}};
"""

FAULTS = {
    "a pointer without a space": ("MEL_FN static float first(const float* x) { return x[0]; }", "first(nullptr);"),
    "a reference without a space": ("MEL_FN static float of(const Inner& x) { return x.factor; }", "of(inner);"),
    "another space": ("MEL_FN static float first(MEL_SHARED(float) x) { return x[0]; }", "first(args.x);"),
    "a cast to another space": ("", "MEL_SHARED_CAST(float, args.y)[0] = 1;"),
    "a member of what lies in arguments": ("", "staged[0].re = args.inner.twice();"),
    "a member of what lies in shared memory": ("", "MEL_SHARED_CAST(Inner, shared)->twice();"),
    "double": ("", "double sum = 0; staged[0].re = sum;"),
    "recursion": (
        "MEL_FN static int down(int i) { return i > 0 ? down(i - 1) : 0; }",
        "staged[down(t.lane())].re = 0;",
    ),
    "a lambda": ("", "auto f = [](float v) { return v; }; staged[0].re = f(1.0f);"),
    "if constexpr": ("", "if constexpr (kThreads == 64) staged[0].re = 0;"),
    "a structured binding": ("", "auto [re, im] = other; staged[0].re = re + im;"),
    "a word of Metal": ("", "int device = 1; staged[device].re = 0;"),
    "new": ("", "float v = *new float; staged[0].re = v;"),
    "a virtual function": ("struct V { virtual int f() { return 1; } };", "V v; staged[v.f()].re = 0;"),
    "goto": ("", "goto end; end: return;"),
    "a shuffle of 64 bits": ("", "t.shuffle_xor(static_cast<std::int64_t>(1), 1);"),
}


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("metal_source", ROOT / "tools" / "metal_source.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check(tool: ModuleType, folder: Path, members: str, statements: str, floats: int = 1) -> list[str]:
    text = KERNEL.format(members=members, statements=statements)
    text = text.replace("Inner inner;\n", f"Inner inner;\n    float more[{floats}];\n", 1)
    header = folder / "kernel.h"
    header.write_text(
        f'#include "runtime/gpu/dialect.h"\nnamespace melisma::gpu {{\n{text}\n}}  // namespace melisma::gpu\n'
    )
    path = folder / "kernel.metal"
    path.write_text(tool.emit_file(str(header), [("scale", "Scale")]))
    faults: list[str] = tool.check_file(path, CLANG)
    return faults


def test_a_sound_kernel_passes(tool: ModuleType, tmp_path: Path) -> None:
    assert check(tool, tmp_path, "", "") == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(tool: ModuleType, tmp_path: Path, fault: str) -> None:
    assert check(tool, tmp_path, *FAULTS[fault]) != []


def test_arguments_beyond_4096_bytes(tool: ModuleType, tmp_path: Path) -> None:
    assert check(tool, tmp_path, "", "", floats=1025) != []


def test_emitted_files_are_complete(tool: ModuleType) -> None:
    for name, header, entries in tool.sections(ROOT / "src" / "blocks" / "gpu" / "metal_kernels.txt"):
        text = tool.emit_file(header, entries)
        assert '#include "' not in text
        assert "std::" not in text
        for entry, _ in entries:
            assert text.count(f"kernel void {entry}(") == 1, name
