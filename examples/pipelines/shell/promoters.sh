#!/usr/bin/env bash
# The genes whose upstream regions look most like promoters.
#
#   promoters.sh GENOME.fa GENES.bed [TASK [HOW_MANY]]
#
# GENES.bed is BED6. Each gene's 250 bases upstream and first 50 bases, on its strand, are scored;
# genes nearer than that to the end of their contig get what there is. Wants bedtools.
set -euo pipefail

case ${1-} in
-h | --help)
    sed -n '2,/^[^#]/ s/^# \{0,1\}//p' "$0" # the comment above
    exit
    ;;
esac
if (($# < 2 || $# > 4)); then
    sed -n '4p' "$0" | cut -c 5- >&2
    exit 2
fi
for program in bedtools dnatk; do
    command -v "$program" >/dev/null || { echo "$0: needs $program, which is not in the PATH" >&2; exit 1; }
done
genome=$1 genes=$2 task=${3:-yeast-promoter} n=${4:-10}

sizes=$(mktemp)
trap 'rm -f "$sizes"' EXIT
"$(dirname "$0")/sizes.sh" "$genome" > "$sizes"

# The first base of each gene, then 250 upstream of it and 49 downstream.
awk -F '\t' -v OFS='\t' '
    /^(#|track|browser)/ { next }
    { if ($6 == "-") $2 = $3 - 1; else $3 = $2 + 1; print $1, $2, $3, $4, 0, $6 }' "$genes" |
    bedtools slop -s -l 250 -r 49 -i - -g "$sizes" |
    dnatk predict --task "$task" - --genome "$genome" --no-header --no-provenance |
    awk -F '\t' '$8 != "NA"' |
    sort -t "$(printf '\t')" -k8,8gr -k1,1 -k2,2n |
    awk -v n="$n" 'NR <= n' # as head, which pipefail would take for a failure of sort
