#!/usr/bin/env bash
# Measure every table of times of the documentation, about forty minutes on two cores that do nothing else, and make the
# pages' tables anew. The most important come first; each keeps what it measured in docs/findings/benchmarks/ when it
# ends, most of them line by line, so that a run that was stopped goes on where it was. To measure anew, remove its file.
# What does not depend on how busy the machine is stands in benchmarks/accuracy.sh.
#
#     benchmarks/all.sh                # BLIMP=FOLDER takes BLiMP's JSON lines too
#
# What is not installed is left out: `pip install '.[language]'` brings lm-evaluation-harness, `pip install
# torch-pruning ray` Torch-Pruning and Ray. Minutes are estimates on two cores.
set -uo pipefail
cd "$(dirname "$0")/.."
out=docs/findings/benchmarks
failed=0

run() {
  local name=$1 script=$2
  shift 2
  echo "== $script $*"
  HF_HUB_OFFLINE=1 .venv/bin/python "benchmarks/$script.py" "$@" --json "$out/$name.jsonl" || failed=1
}

has() { .venv/bin/python -c "import $1" 2> /dev/null || { echo "== $1 is not installed, so its tables are left out"; return 1; }; }

run search search --sentences 200 --train-rows 1500 --repeats 3                     # 7 minutes
run training training --rows 500                                                    # 5
run shrinking shrinking --models minilm                                             # 2
if has lm_eval; then
  for pairs in ${BLIMP:+blimp blimp-shared} generated; do                           # 1 to 2 each
    case $pairs in
      blimp) run grammar grammar --rows 200 --pairs "$BLIMP" ;;
      blimp-shared) run grammar grammar --rows 200 --pairs "$BLIMP" --sharing 0.5 ;;
      generated) run grammar grammar --rows 200 ;;
    esac
  done
fi
run attention_patterns attention_patterns --maps 0                                  # 2
run weight_pruning weight_pruning                                                   # 2
has torch_pruning || true
run engines engines                                                                 # 1
run one_shot one_shot --epochs 1 --dev-rows 1000 --blocks 1 32 --repeats 5          # 6
run shrinking shrinking --models smollm2 --kinds heads+mlps --lengths 128           # 3
run streaming streaming --layers 8                                                  # 3, and 5 GB of disk

.venv/bin/python docs/findings/page.py || failed=1
exit $failed
