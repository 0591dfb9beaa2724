#!/usr/bin/env bash
# Places of a genome that look like what a task knows, from a scan of overlapping windows.
#
#   scan.sh GENOME.fa [TASK [WINDOW [STEP [SCORE]]]]
#
# Both strands are averaged, windows of SCORE (0.9) or more that touch are made one, with the best
# score of them: BED5. WINDOW (300) should be the task's length. Wants bedtools.
set -euo pipefail

case ${1-} in
-h | --help)
    sed -n '2,/^[^#]/ s/^# \{0,1\}//p' "$0" # the comment above
    exit
    ;;
esac
if (($# < 1 || $# > 5)); then
    sed -n '4p' "$0" | cut -c 5- >&2
    exit 2
fi
for program in bedtools dnatk; do
    command -v "$program" >/dev/null || { echo "$0: needs $program, which is not in the PATH" >&2; exit 1; }
done
genome=$1 task=${2:-promoter} window=${3:-300} step=${4:-100} score=${5:-0.9}

sizes=$(mktemp)
trap 'rm -f "$sizes"' EXIT
"$(dirname "$0")/sizes.sh" "$genome" > "$sizes"

# chrom start end label score note, since the windows have three columns
bedtools makewindows -g "$sizes" -w "$window" -s "$step" |
    dnatk predict --task "$task" - --genome "$genome" --rc average --no-header --no-provenance |
    awk -v OFS='\t' -v score="$score" '$5 != "NA" && $5 >= score { print $1, $2, $3, ".", $5 }' |
    bedtools merge -i - -c 4,5 -o first,max
