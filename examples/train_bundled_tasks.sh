#!/usr/bin/env bash
# Trains the tasks that come with dnatk, as LoRA adapters on the model that comes with it. A new
# model means running this again.
#
#   examples/train_bundled_tasks.sh DATA OUT [TASK...]
#   python examples/bundle_tasks.py OUT dnatk/tasks/bundled
#
# DATA holds the public files of docs/data.md. Without TASK all are trained; those that OUT holds
# already are left alone. The steps are what two laptop cores do in two hours; STEPS gives all tasks as many.
set -euo pipefail

case ${1-} in
-h | --help)
    sed -n '2,/^[^#]/ s/^# \{0,1\}//p' "$0" # the comment above
    exit
    ;;
esac
if (($# < 2)); then
    sed -n '5p' "$0" | cut -c 5- >&2
    exit 2
fi
for program in python dnatk; do
    command -v "$program" >/dev/null || { echo "$0: needs $program, which is not in the PATH" >&2; exit 1; }
done
data=$1 out=$2
shift 2
wanted=${*:-promoter core-promoter yeast-promoter splice-site tf-0 tf-1 tf-2}
gue=$data/gue
mkdir -p "$out"

train() {
    local name=$1 steps=${STEPS:-$2}
    shift 2
    [ -d "$out/$name" ] || dnatk finetune "$@" -o "$out/$name" --method lora --token-counts --lr 1e-3 \
        --epochs 20 --max-steps "$steps" --seed 1
}

there() {
    for file in "$@"; do
        [ -f "$file" ] || { echo "$0: $file: is missing (docs/data.md says where it comes from)" >&2; exit 1; }
    done
}

# Tables of one header, one after another.
together() {
    zcat "$1" | sed -n 1p  # head would break the pipe
    for file in "$@"; do zcat "$file" | tail -n +2; done
}

for task in $wanted; do
    case $task in
    promoter)
        tables=("$gue"/prom/prom_300_{all,notata,tata}/dev.csv.gz "$gue"/prom/prom_300_tata/train.csv.gz
            "$gue"/LPD/prom_300/dev.csv.gz)
        there "${tables[@]}"
        together "${tables[@]}" >"$out/promoter.csv"
        train promoter 480 "$out/promoter.csv" --pool positions --dev-share 0.03 --test-share 0.1 \
            --class-names other,promoter --fit tile --combine max --stranded \
            --description "Human promoters, -249..+50 round the TSS, against random and shuffled-in-part sequences"
        ;;
    core-promoter)
        train core-promoter 600 "$gue"/prom/prom_core_all/train.csv.gz --pool positions \
            --dev "$gue"/prom/prom_core_all/dev.csv.gz \
            --test "$gue"/prom/prom_core_all/test.csv.gz --class-names other,core-promoter \
            --fit tile --combine max --stranded --description "Human core promoters, 70 bp round the TSS (GUE prom_core_all)"
        ;;
    yeast-promoter)
        # Windows are moved by up to 50 bp: at a fixed distance from the start codon, its ATG alone
        # would give the label away.
        python "$(dirname "$0")/shift_regions.py" "$data"/yeast/promoters_geneStart_m250_p50.bed \
            "$data"/yeast/sacCer3.fa.gz 50 >"$out/yeast-promoter.bed"
        train yeast-promoter 250 "$out/yeast-promoter.bed" --pool all \
            --genome "$data"/yeast/sacCer3.fa.gz --positive promoter --dev-contig chrVIII --test-contig chrXIV --test-contig chrXVI \
            --class-names other,promoter --fit tile --combine max --stranded \
            --description "Yeast promoters, -250..+50 round the start codon, against places of like GC content"
        ;;
    splice-site)
        train splice-site 400 "$gue"/splice/reconstructed/dev.csv.gz --pool positions \
            --class-names acceptor,donor,neither --fit center --stranded --description "Human splice sites at the middle of 400 bp (GUE splice)"
        ;;
    tf-[012])
        n=${task#tf-}
        train "$task" 400 "$gue/tf/$n/train.csv.gz" --pool all --rc-augment --rc average \
            --dev "$gue/tf/$n/dev.csv.gz" --test "$gue/tf/$n/test.csv.gz" \
            --class-names other,bound --fit tile --combine max \
            --description "Human transcription factor binding, 101 bp (GUE tf/$n, from ENCODE ChIP-seq)"
        ;;
    *)
        echo "no task '$task'" >&2
        exit 2
        ;;
    esac
done
