#!/usr/bin/env bash
# The main job on real audio: `make run`, or `make run AUDIO=path` for a file or a folder of yours.
set -euo pipefail
cd "$(dirname "$0")/.."
out=out/features

inputs=()
if [[ -n ${AUDIO:-} ]]; then
  [[ -e $AUDIO ]] || { echo "make run: AUDIO=$AUDIO: no such file or folder" >&2; exit 1; }
  inputs=("$AUDIO")
else
  tools/setup.sh samples || echo "make run: no sample recordings could be installed" >&2
  for name in amen breakbeat compus garzul tabla; do
    file=/usr/share/sonic-pi/samples/loop_$name.flac
    [[ -r $file ]] && inputs+=("$file")
  done
  if ((${#inputs[@]} == 0)); then
    mkdir -p out
    .venv/bin/python tools/make_tone.py out/example.wav
    inputs=(out/example.wav)
  fi
fi

status=0
.venv/bin/melisma features "${inputs[@]}" -o "$out" --preset madmom --plot || status=$?
if [[ -d $out ]]; then
  echo
  echo "Features (.npy) and pictures (.png) lie in $PWD/$out:"
  find "$out" -name '*.png' -printf '  %p\n' 2>/dev/null | sort || find "$out" -name '*.png' | sort
fi
exit $status
