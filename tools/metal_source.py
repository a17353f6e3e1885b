"""Makes Metal sources of the kernels, and checks them without Apple's compiler.

``emit`` bundles kernel headers, the Metal dialect and entry points into complete `.metal` files, one for each section of
a list (src/blocks/gpu/metal_kernels.txt). ``check`` compiles such files with clang against src/runtime/metal/shim, twice:
as C++14, which is Metal's language, and as OpenCL C++, which has Metal's address spaces; see `check_file` for what is
refused.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"
SHIM = SOURCE / "runtime" / "metal" / "shim"
DIALECT = "runtime/gpu/dialect.h"
PARTS_OF_DIALECT = ("runtime/gpu/dialect_metal.h", "runtime/gpu/dialect_common.h")
MOST_ARGUMENT_BYTES = 4096  # of setBytes

COMMON = ["-I", str(SHIM), "-D__METAL_VERSION__=310", "-DMELISMA_METAL_SHIM", "-Werror", "-Wall", "-Wno-unused"]
PLAIN = ["-x", "c++", "-std=c++14", "-pedantic-errors", "-nostdinc", "-fno-exceptions", "-fno-rtti", "-fsyntax-only"]
SPACES = ["-x", "clcpp", "-cl-std=clc++2021", "-target", "spir64-unknown-unknown", "-cl-single-precision-constant"]
SPACES += ["-Xclang", "-cl-ext=-cl_khr_fp64,-__opencl_c_fp64,+cl_khr_fp16"]

# What a kernel's text spells as C++20 does and Metal otherwise.
SPELLINGS = [
    (re.compile(r"\bstd::(u?int(?:8|16|32|64)_t)\b"), r"\1"),
    (re.compile(r"^namespace (\w+)::(\w+) \{", re.MULTILINE), r"namespace \1 {\nnamespace \2 {"),
    (re.compile(r"^\}  // namespace (\w+)::(\w+)", re.MULTILINE), r"}  // namespace \2\n}  // namespace \1"),
    # Variables outside functions lie in the constant address space.
    (re.compile(r"\binline constexpr\b"), "constant constexpr"),
    (re.compile(r"\bstatic constexpr (?=\w+ k[A-Z]\w*(?:\[\w*\])? =)"), "static constant constexpr "),
    # The handle's thread() is named as an address space.
    (re.compile(r"(?<=\.)thread\(\)|(?<=int )thread\(\)"), "thread_index()"),
]

ENTRY = """
namespace melisma {{
namespace gpu {{
using {name}_kernel = {kernel};
static_assert(sizeof({name}_kernel::Args) <= {argument_bytes}, "the arguments of {name} are too long");
static_assert({name}_kernel::kThreads % 32 == 0 && {name}_kernel::kThreads <= 1024, "the threadgroup of {name}");
}}  // namespace gpu
}}  // namespace melisma
kernel void {name}(MEL_ARGS(melisma::gpu::{name}_kernel::Args) args [[buffer(0)]],
                   threadgroup char* shared [[threadgroup(0)]],
                   uint32_t index [[thread_index_in_threadgroup]], uint32_t threads [[threads_per_threadgroup]],
                   uint32_t block [[threadgroup_position_in_grid]], uint32_t blocks [[threadgroups_per_grid]]) {{
  const melisma::gpu::Thread t = {{index, threads, block, blocks}};
  melisma::gpu::{name}_kernel::run(t, args, shared);
}}
"""


def sections(listing: Path) -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
    """Yield (file name, header, [(entry point, kernel), ...]) of the list."""
    text = re.sub(r"#.*", "", listing.read_text(encoding="utf-8"))
    for name, header, body in re.findall(r"^\[(\w+)\] (\S+)\n((?:[^\[\n].*\n|\n)*)", text, flags=re.MULTILINE):
        yield name, header, re.findall(r"^(\w+) +(\S.*?) *$", body, flags=re.MULTILINE)


def bundle(header: str, seen: set[str]) -> str:
    """Return the text of `header`, each file that it includes in its place, once."""
    if header == DIALECT:
        return "".join(bundle(part, seen) for part in PARTS_OF_DIALECT)
    if header in seen:
        return ""
    seen.add(header)
    lines = []
    for line in (SOURCE / header).read_text(encoding="utf-8").splitlines(keepends=True):
        include = re.match(r'#include "(.*)"', line)
        if include:
            lines.append(bundle(include[1], seen))
        elif not line.startswith("#pragma once"):
            lines.append(line if header in PARTS_OF_DIALECT else without_words_of_metal(line))
    return "".join(lines)


def without_words_of_metal(line: str) -> str:
    """Return the line of a kernel with names that are types in Metal written otherwise, comments left alone."""
    code, comment, rest = line.partition("//")
    return re.sub(r"\bhalf\b", "half_", code) + comment + rest


def emit_file(header: str, entries: list[tuple[str, str]]) -> str:
    """Return the complete source of one .metal file."""
    text = bundle(header, set())
    for pattern, replacement in SPELLINGS:
        text = pattern.sub(replacement, text)
    text = re.sub(r"\n{3,}", "\n\n", text)
    head = f"// Made by tools/metal_source.py of {header}. Compile with safe mathematics (-fno-fast-math).\n\n"
    kernels = (ENTRY.format(name=name, kernel=kernel, argument_bytes=MOST_ARGUMENT_BYTES) for name, kernel in entries)
    return head + text + "".join(kernels)


class Refused(Exception):
    """Raised with the compiler's messages."""


def run_clang(clang: str, arguments: list[str], text: str) -> str:
    """Return what clang writes for a source `text`."""
    done = subprocess.run([clang, *arguments, "-"], input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Refused(done.stderr)
    return done.stdout


def check_file(path: Path, clang: str) -> list[str]:
    """Return what Metal would refuse in the file.

    By clang's own errors: what C++14 has not, double, pointers to functions, virtual functions, exceptions, a pointer to
    one address space where another is asked for. By the tree that it prints: pointers and references without an address
    space, lambdas, goto, new. By the calls in what it generates: recursion.
    """
    # Where Metal's attributes stand, neither language has any.
    text = re.sub(r"\[\[\w+(?:\(\d+\))?\]\]", "", path.read_text(encoding="utf-8"))
    text = f'# 1 "{path}"\n{text}'
    try:
        run_clang(clang, [*PLAIN, *COMMON], text)
        tree = json.loads(run_clang(clang, [*SPACES, *COMMON, "-fsyntax-only", "-Xclang", "-ast-dump=json"], text))
        code = run_clang(clang, [*SPACES, *COMMON, "-O0", "-emit-llvm", "-S", "-o", "-"], text)
    except Refused as refused:
        return [str(refused)]
    return sorted(set(faults_of_tree(tree))) + recursions(code) + static_memory(code)


def faults_of_tree(tree: dict[str, Any]) -> Iterator[str]:
    """Yield what in clang's syntax tree Metal does not take, with its line."""
    place = {"line": 0}
    declarations = {"ParmVarDecl", "VarDecl", "FieldDecl"}
    refused = {"LambdaExpr": "a lambda", "GotoStmt": "goto", "CXXNewExpr": "new", "CXXTryStmt": "try"}

    def visit(node: dict[str, Any], parents: tuple[dict[str, Any], ...]) -> Iterator[str]:
        location = node.get("loc", {}) or {}
        location = location.get("expansionLoc", location)
        location = location if "line" in location else node.get("range", {}).get("begin", {})
        location = location.get("expansionLoc", location)
        if "line" in location:
            place["line"] = location.get("presumedLine", location["line"])
        kind = node.get("kind", "")
        if node.get("isImplicit") and kind != "ImplicitCastExpr":
            return
        line = f"line {place['line']}"
        if kind in refused:
            yield f"{line}: {refused[kind]}"
        if kind in declarations and "__generic" in node.get("type", {}).get("qualType", ""):
            yield f"{line}: {node.get('name', 'a parameter')} has no address space: {node['type']['qualType']}"
        if (
            node.get("castKind") == "AddressSpaceConversion"
            and kind == "ImplicitCastExpr"
            and not copies(node, parents)
        ):
            yield f"{line}: {source_type(node)} becomes {node['type']['qualType']}"
        for child in node.get("inner", []):
            yield from visit(child, (*parents[-3:], node))

    yield from visit(tree, ())


def source_type(node: dict[str, Any]) -> str:
    """Return the type of what a cast is of."""
    return str(node["inner"][0].get("type", {}).get("qualType", ""))


def copies(node: dict[str, Any], parents: tuple[dict[str, Any], ...]) -> bool:
    """Whether the conversion is one that Metal's own copying of structs, or a thread's own object, needs."""
    source = source_type(node)
    private = not any(space in source for space in ("__global", "__local", "__constant"))
    return private or parents[-1].get("kind") in {"CXXConstructExpr", "CXXOperatorCallExpr"}


def recursions(code: str) -> list[str]:
    """Return the functions of the generated code that come back to themselves."""
    calls: dict[str, set[str]] = {}
    current = ""
    for line in code.splitlines():
        defined = re.match(r'define .*?@("[^"]+"|[\w.$]+)\(', line)
        if defined:
            current = defined[1]
            calls[current] = set()
        elif current and "call " in line:
            calls[current].update(re.findall(r'@("[^"]+"|[\w.$]+)\(', line))
    found = []
    for start in calls:
        reached: set[str] = set()
        front = list(calls[start])
        while front:
            name = front.pop()
            if name not in reached:
                reached.add(name)
                front.extend(calls.get(name, ()))
        if start in reached:
            found.append(f"{start} is recursive")
    return found


def static_memory(code: str) -> list[str]:
    """Return complaints about threadgroup memory outside what a launch hands over, whose limit the host asserts."""
    names = re.findall(r"^(@[\w.$]+) = .*addrspace\(3\) global", code, re.MULTILINE)
    return [f"threadgroup variable {name}" for name in names]


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["emit", "check"])
    parser.add_argument("folder", type=Path, help="where the .metal files are")
    parser.add_argument("--list", type=Path, default=SOURCE / "blocks" / "gpu" / "metal_kernels.txt")
    parser.add_argument("--clang", default=shutil.which("clang") or shutil.which("clang-14") or "")
    options = parser.parse_args()
    if options.command == "emit":
        options.folder.mkdir(parents=True, exist_ok=True)
        for name, header, entries in sections(options.list):
            (options.folder / f"{name}.metal").write_text(emit_file(header, entries), encoding="utf-8")
        return
    if not options.clang:
        print("metal_source.py: no clang, the Metal sources are not checked")
        raise SystemExit(77)  # what ctest is told to take as skipped
    failed = False
    for path in sorted(options.folder.glob("*.metal")):
        for fault in check_file(path, options.clang):
            print(f"{path}: {fault}")
            failed = True
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
