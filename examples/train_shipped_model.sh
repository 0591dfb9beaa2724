#!/usr/bin/env bash
# Trains the model that ships with dnatk (dnatk-small), in five runs: short windows through all five
# RandomMask phases, full windows, twice windows of 256 tokens with a larger share of vertebrate
# sequence, and full windows at last, so that every position is trained.
#
#   examples/train_shipped_model.sh DATA OUT
#
# DATA holds the public files named below (docs/model-card.md says where they come from, with
# checksums); OUT receives OUT/short, OUT/full, OUT/more, OUT/longer and OUT/whole. A run that was cut off
# goes on when the same command is given again.
set -euo pipefail

case ${1-} in
-h | --help)
    sed -n '2,/^[^#]/ s/^# \{0,1\}//p' "$0" # the comment above
    exit
    ;;
esac
if (($# != 2)); then
    sed -n '6p' "$0" | cut -c 5- >&2
    exit 2
fi
command -v dnatk >/dev/null || { echo "$0: needs dnatk, which is not in the PATH" >&2; exit 1; }
data=$1 out=$2

inputs=(
    "$data"/yeast/sacCer3.fa.gz
    "$data"/pombe/Schizosaccharomyces_pombe.ASM294v2.dna.toplevel.fa.gz
    "$data"/slices/{E.coli_K12,A.thaliana,C.elegans,D.melanogaster}.fa.gz
    "$data"/human/{chr22_part,GRCh37_chr20_1to2Mb}.fa.gz
    "$data"/gue/prom/{prom_core_all,prom_300_tata}/train.csv.gz
    "$data"/gue/tf/{0,1,2}/train.csv.gz
    "$data"/gue/mouse/{0,2}/train.csv.gz
)
weights=35,10,5,4,4,4,14,4,6,4,2,2,2,2,2
more_vertebrate=27,6,3,3,3,4,18,6,6,6,4,4,4,4,2
holdout=(
    --holdout sacCer3.fa.gz:chrXIV --holdout sacCer3.fa.gz:chrXVI
    --holdout Schizosaccharomyces_pombe.ASM294v2.dna.toplevel.fa.gz:III
    --holdout C.elegans.fa.gz:V --holdout D.melanogaster.fa.gz:3R
)
common=("${holdout[@]}" --span uniform --corruption mask --batch-tokens 8192
    --seed 1 --save-steps 250 --resume)

dnatk pretrain "${inputs[@]}" -o "$out/short" "${common[@]}" --weights "$weights" \
    --preset small --window 131 --max-steps "${SHORT_STEPS:-3000}" --lr 5e-4 --warmup 0.02
dnatk pretrain "${inputs[@]}" -o "$out/full" "${common[@]}" --weights "$weights" \
    --init "$out/short" --order fixed --max-steps "${FULL_STEPS:-250}" --lr 2e-4 --warmup 0.05
dnatk pretrain "${inputs[@]}" -o "$out/more" "${common[@]}" --weights "$more_vertebrate" \
    --init "$out/full" --order fixed --window 261 --max-steps "${MORE_STEPS:-1600}" --lr 4e-4 --warmup 0.03
dnatk pretrain "${inputs[@]}" -o "$out/longer" "${common[@]}" --weights "$more_vertebrate" \
    --init "$out/more" --order fixed --window 261 --max-steps "${LONGER_STEPS:-4000}" --lr 5e-4 --warmup 0.02
dnatk pretrain "${inputs[@]}" -o "$out/whole" "${common[@]}" --weights "$more_vertebrate" \
    --init "$out/longer" --order fixed --max-steps "${WHOLE_STEPS:-600}" --lr 2e-4 --warmup 0.05
