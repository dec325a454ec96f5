#!/usr/bin/env bash
# The suite `simulation`: the kept seeds, a fixed set, and fresh ones; 30 s in all. Options:
#   --seconds N          so long with fresh seeds, instead of 15 s
#   --seed N --trace …   only this, as the program itself takes it (simulation --help)
set -uo pipefail
cd "$(dirname "$0")"
program=${WEIR_BUILD:-../../build}/bin/simulation
seconds=15
if [ $# -gt 0 ]; then
  if [ "$1" = --seconds ] && [ $# -eq 2 ]; then
    seconds=$2
  else
    if "$program" "$@"; then echo "PASS simulation $*"; else echo "FAIL simulation $*"; exit 1; fi
    exit 0
  fi
fi
failed=0

# check NAME OPTION…: one run of the program is one test.
check() {
  local name=$1
  shift
  if "$program" "$@"; then
    echo "PASS $name"
  else
    echo "FAIL $name: see the line that begins with BROKEN, and the one to replay it"
    failed=1
  fi
}

while read -r options; do
  case $options in '' | '#'*) continue ;; esac
  # shellcheck disable=SC2086  # options are words
  check "kept_seed $options" --quiet $options
done < <(sed 's/ *#.*//' seeds)
check every_run_can_be_repeated --quiet --twice --seeds 1-40
check fixed_seeds --seeds 1-4000 --pairs 310   # 314 when this was written: a fault or a state that no longer comes is missed
# Fresh with each commit, and the same for everybody who looks at that commit.
from=()
if commit=$(git rev-parse HEAD 2>/dev/null); then from=(--from "$((16#${commit:0:12}))"); fi
check fresh_seeds --seconds "$seconds" "${from[@]}"
exit $failed
