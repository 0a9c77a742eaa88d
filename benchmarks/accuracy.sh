#!/usr/bin/env bash
# What benchmarks/all.sh leaves out: scores and sizes, which a busy machine only delays. Each goes on where it was, line
# by line, with the same number of threads. BLIMP=FOLDER and ZERO_SHOT=FOLDER (piqa.jsonl, arc_easy.jsonl,
# lambada_openai.jsonl) are data of the field that are not Tombola's. Hours of a core are estimates.
set -uo pipefail
cd "$(dirname "$0")/.."
out=docs/findings/benchmarks
export HF_HUB_OFFLINE=1
python=.venv/bin/python

$python benchmarks/attention_patterns.py --model '' --json $out/attention_maps.jsonl                      # 0.1
$python benchmarks/file_sizes.py --json $out/file_sizes.jsonl                                             # 0.1
if [[ -n ${BLIMP:-} && -n ${ZERO_SHOT:-} ]]; then
  $python benchmarks/language_methods.py --grammar "$BLIMP" --rows 340 --zero-shot-rows 150 --text-tokens 12000 \
    --calibration 16x512 --json $out/language_methods.jsonl \
    --zero-shot reasoning="$ZERO_SHOT/piqa.jsonl" reasoning="$ZERO_SHOT/arc_easy.jsonl" cloze="$ZERO_SHOT/lambada_openai.jsonl"  # 1
fi
for epochs in 4 16; do
  $python benchmarks/denoiser_rankings.py --epochs $epochs --json $out/denoiser_rankings_$epochs.jsonl     # 1, 4
done

# What training again brings back of a language model, by all weights and through adapters: an hour of a core each.
for rank in 0 8; do
  name=recovery$([[ $rank == 0 ]] || echo -lora)
  .venv/bin/tombola study --task understanding --methods wanda --sparsities 0.4,0.5,0.6 --threshold 0.5 --controls random \
    --recovery-tokens 32768 --batch-size 8 --lora-rank $rank --out "runs/$name" && $python docs/findings/collect.py runs/"$name"/*/ --as $name
done
$python docs/findings/page.py
