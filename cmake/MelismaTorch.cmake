# MELISMA_TORCH_INCLUDE_DIR and MELISMA_TORCH_LIBRARY: of the PyTorch that the building interpreter has, 2.11 or later;
# empty for none.
#
# `pip install` builds in an environment of its own that hides the user's packages; the interpreter in isolated mode (-I)
# sees them.
set(_find_torch "
import importlib.util, pathlib, re
spec = importlib.util.find_spec('torch')
if spec is not None and spec.submodule_search_locations:
    root = pathlib.Path(spec.submodule_search_locations[0])
    version = re.match(r'(\\d+)\\.(\\d+)', next(root.parent.glob('torch-*.dist-info'), root / 'torch-0.0').name[6:])
    include = root / 'include'
    if version and (int(version[1]), int(version[2])) >= (2, 11) and (include / 'torch/csrc/stable/library.h').exists():
        print(include)
")
execute_process(COMMAND "${Python_EXECUTABLE}" -I -c "${_find_torch}" OUTPUT_VARIABLE MELISMA_TORCH_INCLUDE_DIR
                OUTPUT_STRIP_TRAILING_WHITESPACE)
if(MELISMA_TORCH_INCLUDE_DIR)
  find_library(MELISMA_TORCH_LIBRARY torch_cpu PATHS "${MELISMA_TORCH_INCLUDE_DIR}/../lib" NO_DEFAULT_PATH REQUIRED)
  message(STATUS "PyTorch's operators: built against ${MELISMA_TORCH_INCLUDE_DIR}")
else()
  message(STATUS "PyTorch's operators: not built, this Python has no PyTorch 2.11 or later")
endif()
