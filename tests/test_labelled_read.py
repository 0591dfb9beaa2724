"""Labelled files of every kind, and one line about each that cannot be used."""

import gzip
import re

import numpy as np
import pytest
from conftest import random_bases, write_fasta

from dnatk.errors import InputError, NoGenomeError
from dnatk.labelled.dataset import LabelledSet, LabelSpace
from dnatk.labelled.places import Spans
from dnatk.labelled.read import ReadOptions, content_kind, read_labelled


def write(path, text: str):
    path.write_bytes(text.encode())
    return path


def texts(data: LabelledSet) -> list[str]:
    return [sequence.tobytes().decode() for sequence in data.sequences]


def column(tmp_path, *labels: str, **options):
    """A table with these labels, read."""
    body = "".join(f"ACGT{'ACGT'[i % 4]},{label}\n" for i, label in enumerate(labels))
    path = write(tmp_path / "x.csv", f"sequence,label\n{body}")
    return read_labelled(path, ReadOptions(**options))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        "sequence,label\nacgt,0\nGGCC,1\n",
        "\ufeffSequence,Label\r\nACGT,0\r\n\r\nGGCC,1\r\n",
        "label\tother\tseq\n0\tx,y\tACGT\n1\tz\tGGCC",
        'id;sequence;target\na;"ACGT";0\nb;GGCC;1\n',
        "##dnatk 1\n#sequence\tlabel\nACGT\t0\nGGCC\t1\n",
        ";sequence;label\n0;ACGT;0\n1;GGCC;1\n",
    ],
)
def test_tables_of_every_dress_read_alike(tmp_path, text, packed):
    raw = text.encode()
    path = tmp_path / "data.anything"
    path.write_bytes(gzip.compress(raw) if packed else raw)
    data = read_labelled(path, ReadOptions())
    assert texts(data) == ["ACGT", "GGCC"]
    assert data.space == LabelSpace("binary", ("0", "1"))
    assert data.targets.tolist() == [0, 1]
    assert data.targets.dtype == np.int64
    assert data.regions is None
    lines = text.upper().splitlines()
    assert ["ACGT" in lines[data.lines[0] - 1], "GGCC" in lines[data.lines[1] - 1]] == [True, True]


def test_columns_by_name_and_regions(tmp_path):
    path = write(
        tmp_path / "x.tsv",
        "name\tchrom\tstart\tend\tstrand\tbases\ty\n"
        "a\tchr1\t10\t15\t-\tACGTA\tno\nb\tchr2\t0\t5\t+\tGGGGG\tyes\n",
    )
    data = read_labelled(path, ReadOptions(sequence="bases", labels=("y",)))
    assert data.space.classes == ("no", "yes")
    assert data.names == ["a", "b"]
    assert [(r.contig, r.start, r.end, r.strand) for r in data.regions] == [
        ("chr1", 10, 15, "-"),
        ("chr2", 0, 5, "+"),
    ]
    part = data.take([1])
    assert (len(part), part.names, part.lines, part.regions[0].contig) == (1, ["b"], [3], "chr2")
    assert data.take(np.array([False, True])).names == ["b"]


def test_a_table_of_regions_reads_its_bases_from_the_genome(tmp_path, genome, genome_sequences):
    text = "chrom,start,end,strand,label\nchr1,10,16,+,0\nchr1,10,16,-,1\n"
    data = read_labelled(write(tmp_path / "x.csv", text), ReadOptions(genome=str(genome)))
    bases = genome_sequences["chr1"][10:16]
    assert texts(data) == [bases, bases[::-1].translate(str.maketrans("ACGT", "TGCA"))]


@pytest.mark.parametrize(
    ("labels", "kind", "classes"),
    [
        (["0", "1"], "binary", ("0", "1")),
        (["1", "-1"], "binary", ("-1", "1")),
        (["promoter", "none"], "binary", ("none", "promoter")),
        (["True", "False"], "binary", ("False", "True")),
        (["yes", "zebra"], "binary", ("zebra", "yes")),
        (["10", "9", "2"], "multiclass", ("2", "9", "10")),
        (["b", "a", "c"], "multiclass", ("a", "b", "c")),
        (["1", "a", "0"], "multiclass", ("0", "1", "a")),
        (["0.5", "1", "2"], "regression", ("label",)),
        ([str(i) for i in range(101)], "regression", ("label",)),
        ([str(i) for i in range(100)], "multiclass", tuple(map(str, range(100)))),
        ([f"{i}.0" for i in range(11)], "regression", ("label",)),
    ],
)
def test_the_kind_is_told_by_the_labels(tmp_path, labels, kind, classes):
    data = column(tmp_path, *labels)
    assert data.space == LabelSpace(kind, classes)
    if kind == "regression":
        assert data.targets.dtype == np.float32
        assert data.targets[:, 0].tolist() == [float(x) for x in labels]
    else:
        assert [data.space.classes[t] for t in data.targets] == labels


def test_classes_that_a_table_has_as_decimals(tmp_path):
    """As pandas writes whole numbers beside gaps."""
    data = column(tmp_path, "0.0", "1.0", "1")
    assert data.space == LabelSpace("binary", ("0", "1"))
    assert data.targets.tolist() == [0, 1, 1]
    assert column(tmp_path, "0.0", "1.0", positive="0.0").space.classes == ("1", "0")
    assert column(tmp_path, "2.0", "0", "1.0").space == LabelSpace("multiclass", ("0", "1", "2"))
    assert column(tmp_path, "1.0", "0.0", "1.5").space.kind == "regression"
    earlier = LabelSpace("binary", ("0.0", "1.0"))  # a task of a version that called them so
    path = write(tmp_path / "y.csv", "sequence,label\nACGT,0.0\nACGG,1.0\n")
    assert read_labelled(path, ReadOptions(), earlier).targets.tolist() == [0, 1]
    path = write(tmp_path / "z.csv", "sequence,a,b\nACGT,0.0,1.0\nACGG,1.0,1\n")
    flags = read_labelled(path, ReadOptions(labels=("a", "b")))
    assert flags.space.kind == "multilabel"
    assert flags.targets.tolist() == [[0, 1], [1, 1]]


def test_values_that_are_taken_for_classes_are_told_of(tmp_path):
    space = column(tmp_path, "20", "22", "24").space
    path = write(tmp_path / "y.csv", "sequence,label\nACGT,43\n")
    with pytest.raises(InputError, match=r"unknown class '43' .*; for values train with"):
        read_labelled(path, ReadOptions(), space)


def test_the_positive_class_by_name(tmp_path):
    assert column(tmp_path, "0", "1", positive="0").space.classes == ("1", "0")
    with pytest.raises(InputError, match="no label 'x': they are 0, 1"):
        column(tmp_path, "0", "1", positive="x")
    with pytest.raises(InputError, match="these are multiclass"):
        column(tmp_path, "0", "1", "2", positive="1")


def test_several_columns_are_labels_or_targets(tmp_path):
    path = write(tmp_path / "x.csv", "sequence,a,b\nACGT,0,1\nACGG,1,1\n")
    flags = read_labelled(path, ReadOptions(labels=("a", "b")))
    assert flags.space == LabelSpace("multilabel", ("a", "b"))
    assert flags.targets.tolist() == [[0, 1], [1, 1]]
    values = read_labelled(path, ReadOptions(labels=("b", "a"), kind="multilabel"), flags.space)
    assert values.targets.tolist() == flags.targets.tolist()  # the known order
    assert read_labelled(path, ReadOptions(), flags.space).targets.tolist() == [[0, 1], [1, 1]]
    path = write(tmp_path / "y.csv", "sequence,a,b\nACGT,0.5,1\nACGG,-1e3,3\n")
    values = read_labelled(path, ReadOptions(labels=("a", "b")))
    assert values.space == LabelSpace("regression", ("a", "b"))
    assert values.targets.tolist() == [[0.5, 1], [-1000, 3]]


def test_label_lists_in_one_cell(tmp_path):
    data = column(tmp_path, "x; y", "", "y", kind="multilabel")
    assert data.space.classes == ("x", "y")
    assert data.targets.tolist() == [[1, 1], [0, 0], [0, 1]]


def test_classes_called_by_numbers_are_no_bed(tmp_path):
    path = write(tmp_path / "x.tsv", "sequence\t0\t1\nACGT\t0\t1\nGG\t1\t1\n")
    data = read_labelled(path, ReadOptions(labels=("0", "1")))
    assert data.targets.tolist() == [[0, 1], [1, 1]]
    path = write(tmp_path / "y.tsv", "seq\t0\t1\nACGT\t0\t1\nGG\t1\t1\n")
    assert texts(read_labelled(path, ReadOptions(labels=("0", "1")))) == ["ACGT", "GG"]


def test_places_that_are_not_as_long_as_their_sequences_are_told_of(tmp_path, caplog):
    text = "sequence,label,chrom,start,end\nACGT,0,c,0,4\nACGG,1,c,5,8\nACGG,1,c,15,18\n"
    read_labelled(write(tmp_path / "x.csv", text), ReadOptions())
    (said,) = caplog.messages
    assert said.endswith(
        "x.csv:3: 4 bases, but start and end are 3 apart (so in 2 of 3 rows): are they 0-based, "
        "the end not included?"
    )


def test_a_label_for_each_base(tmp_path):
    text = 'sequence,label\nACGTA,EEIIN\nACG,"0 1 2"\nAC,"E,I"\n'
    data = read_labelled(write(tmp_path / "x.csv", text), ReadOptions(kind="per-base"))
    assert data.space == LabelSpace("per-base", ("0", "1", "2", "E", "I", "N"))
    assert [target.tolist() for target in data.targets] == [[3, 3, 4, 4, 5], [0, 1, 2], [3, 4]]
    short = read_labelled(tmp_path / "x.csv", ReadOptions(kind="per-base", length=2))
    assert texts(short) == ["CG", "AC", "AC"]
    assert [target.tolist() for target in short.targets] == [[3, 4], [0, 1], [3, 4]]
    assert short.class_counts().tolist() == [1, 1, 0, 2, 2, 0]


@pytest.mark.parametrize(
    ("headers", "options"),
    [
        ((">a label=0", ">b some label=1"), {}),
        ((">a|x|0", ">b|1"), {}),
        ((">a 0", ">b words before 1"), {}),
        ((">a|label=0|x", ">b|label=1"), {}),
        ((">a 5 y=0;z=3", ">b 6 z=3;y=1"), {"header_label": "y"}),
        ((">a y=0", ">b y=1"), {"labels": ("y",)}),
    ],
)
def test_fasta_headers_hold_labels(tmp_path, headers, options):
    path = write(tmp_path / "x", f"{headers[0]}\nAC\nGT\n\n{headers[1]}\nggcc\n")
    data = read_labelled(path, ReadOptions(**options))
    assert texts(data) == ["ACGT", "GGCC"]
    assert data.space.classes == ("0", "1")
    assert data.targets.tolist() == [0, 1]
    assert data.lines == [1, 5]


def test_fasta_with_a_side_table(tmp_path):
    path = write(tmp_path / "x.fa", ">a\nACGT\n>b\nGGCC\n")
    side = write(tmp_path / "x.csv", "gene,label\nb,1.5\na,0.25\nc,7\n")
    data = read_labelled(path, ReadOptions(side_labels=str(side), kind="regression"))
    assert data.targets[:, 0].tolist() == [0.25, 1.5]
    several = write(tmp_path / "fa", ">a p=1 q=0.5\nACGT\n>b p=2 q=0.5\nGG\n>c q=1 p=2\nA\n")
    data = read_labelled(several, ReadOptions(labels=("p", "q")))
    assert data.targets.tolist() == [[1, 0.5], [2, 0.5], [2, 1]]
    assert read_labelled(several, ReadOptions(), data.space).targets.shape == (3, 2)


@pytest.mark.parametrize(
    ("bed", "options"),
    [
        ("chr1\t10\t20\ta\t0\nchr2\t5\t15\tb\t1\n", {"labels": ("5",)}),
        ("#chrom start end kind\nchr1 10 20 0\nchr2 5 15 1\n", {"labels": ("kind",)}),
        ("track x\n#chrom\tstart\tend\tLabel\nchr1\t10\t20\t0\nchr2\t5\t15\t1\n", {}),
    ],
)
def test_bed_with_a_label_column(tmp_path, genome, genome_sequences, bed, options):
    data = read_labelled(write(tmp_path / "x", bed), ReadOptions(genome=str(genome), **options))
    assert data.targets.tolist() == [0, 1]
    assert texts(data) == [genome_sequences["chr1"][10:20], genome_sequences["chr2"][5:15]]
    assert [len(region) for region in data.regions] == [10, 10]


@pytest.mark.parametrize(
    ("above", "classes"),
    [
        ("#chrom start end label\n# converted on a Monday\n", ("0", "1")),
        ("# my peaks\n#Chr start end label more\n", ("0", "1")),
        ("# chr names are those of UCSC\n#seqnames start end label\n", ("0", "1")),
        ("# target regions of the kit\n", ("negative", "positive")),
        ("# label free peaks\n", ("negative", "positive")),
        ("# label free quantification of peaks\n", ("negative", "positive")),
    ],
)
def test_a_comment_of_a_bed_is_no_header(tmp_path, genome, above, classes):
    rows = "chr1 100 110 0\nchr1 200 210 1\nchr2 100 110 1\n"
    data = read_labelled(write(tmp_path / "x", above + rows), ReadOptions(genome=str(genome)))
    assert data.space.classes == classes


def test_bases_beside_coordinates_are_what_is_read(tmp_path, genome):
    """Of a table whose header has a #, as bedtools getfasta -tab users paste them together."""
    text = "#chrom\tstart\tend\tsequence\tlabel\nchr1\t100\t106\tACGTAC\t1\nchr1\t5\t9\tGGGG\t0\n"
    data = read_labelled(write(tmp_path / "x", text), ReadOptions(genome=str(genome)))
    assert texts(data) == ["ACGTAC", "GGGG"]
    above = write(tmp_path / "above", "# made by X\n" + text)
    assert texts(read_labelled(above, ReadOptions(genome=str(genome)))) == ["ACGTAC", "GGGG"]
    named = write(tmp_path / "named", text.replace("label", "bound"))
    assert content_kind(named) == "bed"
    assert content_kind(named, ["bound"]) == "table"
    data = read_labelled(named, ReadOptions(genome=str(genome), labels=("bound",)))
    assert texts(data) == ["ACGTAC", "GGGG"]


@pytest.mark.parametrize(
    ("above", "options", "classes"),
    [
        ("# sequence of peaks\n", {}, ("negative", "positive")),
        ("#chrom\tstart\tend\tsequence\tx\n", {}, ("negative", "positive")),
        ("#chrom\tstart\tend\tseq\tx\n", {"labels": ("5",)}, ("0", "1")),
        ("##fields\tseq\tlabel\n", {}, ("negative", "positive")),
    ],
)
def test_a_bed_of_motifs_stays_one(tmp_path, genome, above, options, classes):
    rows = "chr1\t100\t106\tACGTAC\t1\nchr1\t5\t9\tGGGG\t0\n"
    path = write(tmp_path / "x", above + rows)
    assert read_labelled(path, ReadOptions(genome=str(genome), **options)).space.classes == classes


def test_a_header_has_as_many_names_as_fields_also_empty_ones(tmp_path, genome):
    text = "#seqnames\tstart\tend\tlabel\tnote\nchr1\t100\t200\t1\t\nchr1\t300\t400\t0\tx\n"
    data = read_labelled(write(tmp_path / "x", text), ReadOptions(genome=str(genome)))
    assert data.space.classes == ("0", "1")


def test_bed_regions_are_brought_to_a_length(tmp_path, genome, genome_sequences):
    bed = "#chrom start end name score strand label\n"
    bed += "chr1 100 105 . . + a\nchr1 100 105 . . - b\nchr1 1 3 . . + a\nchr1 100 101 . . - b\n"
    options = ReadOptions(genome=str(genome), length=8)
    data = read_labelled(write(tmp_path / "x", bed), options)
    places = [(region.start, region.end) for region in data.regions]
    assert places == [(98, 106), (99, 107), (0, 6), (97, 105)]
    assert texts(data)[0] == genome_sequences["chr1"][98:106]


def test_long_sequences_are_cut_to_their_middle(tmp_path):
    text = "sequence,label,chrom,start,end,strand\nAACGTT,0,c,10,16,-\nACG,1,c,20,23,+\n"
    path = write(tmp_path / "x.csv", text)
    data = read_labelled(path, ReadOptions(length=3))
    assert texts(data) == ["ACG", "ACG"]
    assert [(region.start, region.end) for region in data.regions] == [(12, 15), (20, 23)]


def test_a_known_space_is_kept(tmp_path):
    space = LabelSpace("binary", ("1", "0"))
    path = write(tmp_path / "x.csv", "sequence,label\nACGT,1\nACGG,1\n")
    assert read_labelled(path, ReadOptions(), space).targets.tolist() == [0, 0]
    path = write(tmp_path / "x.csv", "sequence,label\nACGT,1\nACGG,2\n")
    with pytest.raises(InputError, match=r"x.csv:3: unknown class '2' \(known: 1, 0\)"):
        read_labelled(path, ReadOptions(), space)


BAD = [
    ("sequence,label\nACGT,1\nACGA,\n", {}, ":3: no label in 'label'"),
    ("sequence,label\nACGT,1\nACGA,NaN\n", {}, ":3: the label is 'NaN'"),
    ("sequence,label\nACGT,1\nACGA,x\n", {"kind": "regression"}, ":3: 'x' in 'label' is no number"),
    ("sequence,label\nACGT,1.5\nACGA,x\nA,2\n", {}, ":3: 'x' in 'label' is no number"),
    ("sequence,label\nA,1.5\nA,inf\nA,2\n", {}, ":3: 'inf' in 'label' is no number"),
    ("sequence,label\nACGT,1\nACGA,1\n", {}, "every label is '1'"),
    ("sequence,label\nACGT,1\nA,1\n", {"kind": "regression"}, "every 'label' is 1: nothing"),
    ("sequence,label\n", {}, "has no rows"),
    ("", {}, "is empty"),
    ("sequence,label\nACGT,1\nACxT,0\n", {}, ":3: 'X' (letter 3 of the sequence)"),
    ("sequence,label\nACGT,1\nAC T,0\n", {}, ":3: ' ' (letter 3"),
    ("sequence,label\nACGT,1\n,0\n", {}, ":3: no sequence"),
    ("sequence,label\nACGT,1\nACGT\n", {}, ":3: 1 field(s) where the header has 2"),
    (
        "sequence,y\nACGT,1\n",
        {},
        ":1: no column 'label' or 'labels' or 'target' among: sequence, y",
    ),
    ("bases,label\nACGT,1\n", {}, ":1: no column 'sequence' or 'seq' among: bases, label"),
    ("ACGT,1\nAGGT,0\n", {}, "among: ACGT, 1"),
    ("sequence,label\nA,1\n", {"labels": ("z",)}, ":1: no column 'z' among: sequence, label"),
    ("sequence,label,label\nA,1,2\n", {}, ":1: 2 columns called 'label'"),
    ("sequence,label\nACGT,001\n", {"kind": "per-base"}, ":2: 3 label(s) for 4 bases"),
    ("sequence,label\nA,0\nA,1\nA,2\n", {"kind": "binary"}, "3 different labels (0, 1, 2)"),
    (
        "sequence,a,b\nA,0,2\nA,1,2\n",
        {"labels": ("a", "b"), "kind": "multilabel"},
        ":2: '2' in 'b'",
    ),
    ("sequence,a,b\nA,0,1\n", {"labels": ("a", "b"), "kind": "binary"}, "2 label columns make no"),
    ("sequence,label,chrom,start,end\nA,0,c,5,x\n", {}, ":2: end 'x' is no whole number"),
    ("sequence,label,chrom,start,end\nA,0,c,5,5\n", {}, ":2: end (5) <= start (5)"),
    ("sequence,label,chrom,start,end,strand\nA,0,c,5,6,x\n", {}, ":2: strand 'x'"),
    ("chrom,start,end,label\nc,5,6,1\n", {}, "or have the bases read from --genome"),
    (">a 1\nACGT\n>b\nGG\n", {}, ":3: no label in the header"),
    (">a label=1\nACGT\n>b 0\nGG\n", {}, ":3: no 'label=' in the header"),
    (">a 1\nACGT\n>b 0\n>c 1\nG\n", {}, ":3: no sequence"),
    (">a 1\nACGE\n", {}, ":1: 'E' (letter 4"),
    ("chr1\t1\t5\n", {}, "is BED, which has no bases (name its genome: --genome)"),
    ("a\0b,label\nA,0\n", {}, ":1: is not a text file"),
    ('sequence\tlabel\tnote\nA\t0\tx\nC\t1\t"see\nG\t0\tx\n', {}, ":3: is no table: unexpected"),
    ('sequence\tlabel\tnote\nA\t0\t"x" y\nC\t1\tx\n', {}, ":2: is no table: "),
    ('sequence,"label\nA,0\nC,1\n', {}, ":1: is no table: unexpected end"),
    ("sequence,label\rA,0\rC,1\r", {}, ":1: a carriage return inside the line"),
    ("sequence,label\nA,0\nC,1\rG,0\n", {}, ":3: a carriage return inside the line"),
    ("sequence,label\nA,1e39\nC,0.5\n", {"kind": "regression"}, ":2: '1e39' in 'label' is beyond"),
    ("sequence,label\nA,x;y\nC,NA\nG,x\n", {"kind": "multilabel"}, ":3: the label is 'NA'"),
    ("sequence,label\nA,x;y\nC,\nG,.\n", {"kind": "multilabel"}, ":4: the label is '.'"),
    (
        f"sequence,label,chrom,start,end\nA,0,c,{'9' * 5000},6\n",
        {},
        ":2: start 999999999999999999...",
    ),
    ("sequence,label,chrom,start,end\nA,0,,5,6\n", {}, ":2: an empty contig name"),
]


@pytest.mark.parametrize(("text", "options", "message"), BAD)
def test_one_line_for_each_bad_file(tmp_path, text, options, message):
    path = write(tmp_path / "data", text)
    with pytest.raises(InputError, match=re.escape(message)) as error:
        read_labelled(path, ReadOptions(**options))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("command", ["finetune", "evaluate", "inspect"])
def test_a_bed_without_a_genome_is_a_matter_of_the_command_line(
    tmp_path, clean_home, run, tiny_model, task_of, command
):
    bed = write(tmp_path / "r.bed", "chr1\t1\t50\n")
    with pytest.raises(NoGenomeError):
        read_labelled(bed)
    typed = {
        "finetune": (bed, "--model", tiny_model, "-o", tmp_path / "o"),
        "evaluate": (task_of("binary"), bed),
        "inspect": (tiny_model, "--labelled", bed, "--window", "40", "-o", tmp_path / "o"),
    }[command]
    result = run("-q", command, *typed, "--device", "cpu")
    assert (result.code, result.out) == (2, "")
    (line,) = result.err.splitlines()
    assert line.endswith(f"{bed}: is BED, which has no bases (name its genome: --genome)")


@pytest.mark.parametrize(
    ("bed", "options", "message"),
    [
        ("1\t1\t5\t0\n", {"labels": ("4",)}, ":1: no contig '1' in"),
        ("1\t1\t5\t0\n", {}, "did you mean 'chr1'?"),
        ("chr3\t150\t201\t0\n", {}, ":1: chr3:150-201 (0-based) is outside the contig of 200"),
        ("chr1\t1\t5\nchr1\t9\t10\n", {"labels": ("4",)}, ":1: has 3 columns, the label"),
        ("chr1\t1\t5\t.\n", {"labels": ("4",)}, ":1: the label is '.'"),
        ("chr1\t1\t5\t1\n", {"labels": ("y",)}, "no column 'y' among: no '#' header"),
        ("chr1\t9\t5\n", {}, ":1: end (5) <= start (9)"),
        ("chr1\t-9\t5\n", {}, ":1: start -9 is negative"),
        (
            "chr1\t1\t5\n",
            {"kind": "regression"},
            "has no label column, and the labels are regression",
        ),
        ("chr1\t1\t5\n", {"kind": "per-base"}, "has no label column, and the labels are per-base"),
    ],
)
def test_one_line_for_each_bad_bed(tmp_path, genome, bed, options, message):
    path = write(tmp_path / "data.bed", bed)
    with pytest.raises(InputError, match=re.escape(message)):
        read_labelled(path, ReadOptions(genome=str(genome), **options))


def test_side_tables_that_do_not_fit(tmp_path):
    path = write(tmp_path / "x.fa", ">a\nACGT\n>b\nGGCC\n")
    for text, message in (
        ("name,label\na,1\n", "x.fa:3: no label for 'b' in"),
        ("name,label\na,1\na,2\n", "side:3: 'a' has two labels"),
        ("label\n1\n", "side:1: no column 'name' or 'id'"),
    ):
        side = write(tmp_path / "side", text)
        with pytest.raises(InputError, match=message):
            read_labelled(path, ReadOptions(side_labels=str(side)))


def test_what_is_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-").touch()  # "-" is standard input all the same
    with pytest.raises(InputError, match="no such file"):
        read_labelled(tmp_path / "none.csv", ReadOptions())
    for path in ("-", tmp_path):
        with pytest.raises(InputError, match="must be a file"):
            read_labelled(path, ReadOptions())
    for wrong in ({"kind": "x"}, {"negatives": "x"}, {"negative_ratio": 0}):
        with pytest.raises(InputError):
            ReadOptions(**wrong)
    for wrong in (("x", ("a", "b")), ("binary", ("a",)), ("multiclass", ("a", "a", "b"))):
        with pytest.raises(InputError):
            LabelSpace(*wrong)


def test_a_sequence_longer_than_csv_allows(tmp_path):
    long = random_bases(200_000, 1)
    data = column(tmp_path, "0", "1")
    path = write(tmp_path / "y.csv", f"sequence,label\n{long},0\nACGT,1\n")
    data = read_labelled(path, ReadOptions(length=150_000), data.space)
    assert data.lengths().tolist() == [150_000, 4]


def test_positives_only(tmp_path):
    bases = random_bases(6000, 5)
    sequences = {"c1": bases[:3000] + "N" * 200 + bases[3200:], "c2": random_bases(4000, 6)}
    genome = write_fasta(tmp_path / "genome.fa", sequences)
    lines = [
        f"c{1 + i % 2}\t{100 * i}\t{100 * i + 40}\tp{i}\t0\t{'+-'[i % 2]}\n" for i in range(30)
    ]
    path = write(tmp_path / "x.bed", "".join(lines))
    data = read_labelled(path, ReadOptions(genome=str(genome), negative_ratio=2))
    assert data.space == LabelSpace("binary", ("negative", "positive"))
    assert data.targets.tolist() == [1] * 30 + [0] * 60
    assert data.lines == [*range(1, 31), *(line for line in range(1, 31) for _ in range(2))]
    assert not any("N" in text for text in texts(data)[30:])
    again = read_labelled(path, ReadOptions(genome=str(genome), negative_ratio=2))
    assert texts(again) == texts(data)
    named = read_labelled(path, ReadOptions(genome=str(genome), positive="promoter"))
    assert named.space.classes == ("negative", "promoter")
    known = read_labelled(path, ReadOptions(genome=str(genome)), LabelSpace("binary", ("0", "1")))
    assert known.class_counts().tolist() == [30, 30]
    space = LabelSpace("multiclass", ("0", "1", "2"))
    with pytest.raises(InputError, match="has no label column, and the labels are multiclass"):
        read_labelled(path, ReadOptions(genome=str(genome)), space)
    free = known.regions[30:]
    other = read_labelled(path, ReadOptions(genome=str(genome), seed=1), avoid=free)
    assert not Spans(free).overlapping(other.regions[30:]).any()


def test_bases_of_a_bed_have_labels(tmp_path, genome, genome_sequences):
    text = "chr1\t100\t106\tEEEIII\t0\t-\nchr1\t100\t102\tEI\n"
    options = ReadOptions(genome=str(genome), labels=("4",), length=3)
    space = LabelSpace("per-base", ("E", "I"))
    data = read_labelled(write(tmp_path / "x.bed", text), options, space)
    assert [target.tolist() for target in data.targets] == [[0, 0, 1], [0, 1]]
    assert [(region.start, region.end) for region in data.regions] == [(102, 105), (100, 102)]
    turned = genome_sequences["chr1"][102:105][::-1].translate(str.maketrans("ACGT", "TGCA"))
    assert texts(data)[0] == turned
