#!/usr/bin/env bash
# What two tasks (or two models' tasks) make of the same regions: where they differ most comes first.
#
#   compare.sh GENOME.fa REGIONS.bed TASK_A TASK_B
#
# Writes the regions' columns, then the score of A, of B, and B - A. Regions that either cannot
# score are left out and counted on stderr.
set -euo pipefail

case ${1-} in
-h | --help)
    sed -n '2,/^[^#]/ s/^# \{0,1\}//p' "$0" # the comment above
    exit
    ;;
esac
if (($# != 4)); then
    sed -n '4p' "$0" | cut -c 5- >&2
    exit 2
fi
command -v dnatk >/dev/null || { echo "$0: needs dnatk, which is not in the PATH" >&2; exit 1; }
genome=$1 regions=$2 a=$3 b=$4
[[ -f $regions ]] || { echo "$0: $regions: is no file (it is read twice)" >&2; exit 1; }

# A row out for each row in, in its order: the two tables can be pasted side by side.
score() {
    dnatk predict --task "$1" "$regions" --genome "$genome" --format bed --no-header --no-provenance
}

scores=$(mktemp)
trap 'rm -f "$scores"' EXIT
score "$b" | awk -F '\t' '{ print $(NF - 1) }' > "$scores"
score "$a" | paste - "$scores" |
    awk -F '\t' -v OFS='\t' '
        { a = $(NF - 2); b = $NF }
        a == "NA" || b == "NA" { left_out++; next }
        { NF -= 4; print (b > a ? b - a : a - b), $0, a, b, b - a }
        END { if (left_out) print left_out " regions without a score left out" > "/dev/stderr" }' |
    sort -t "$(printf '\t')" -s -k1,1gr |
    cut -f 2-
