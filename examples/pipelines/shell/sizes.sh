#!/usr/bin/env bash
# The name and the length of each contig of a FASTA (plain or gzip), as bedtools -g wants them.
#
#   sizes.sh GENOME.fa > genome.sizes
set -euo pipefail

case ${1-} in
-h | --help)
    sed -n '2,/^[^#]/ s/^# \{0,1\}//p' "$0" # the comment above
    exit
    ;;
esac
if (($# != 1)); then
    sed -n '4p' "$0" | cut -c 5- >&2
    exit 2
fi
gzip -cdf "$1" |
    awk '/^>/ { if (name) print name "\t" bases; name = substr($1, 2); bases = 0; next }
         { sub(/\r$/, ""); bases += length($0) }
         END { if (name) print name "\t" bases }'
