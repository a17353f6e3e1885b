#!/usr/bin/env bash
# Parses each file given, without running it.
status=0
for file in "$@"; do bash -n "$file" || status=1; done
exit $status
