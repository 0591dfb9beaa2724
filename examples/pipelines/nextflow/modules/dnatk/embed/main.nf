process DNATK_EMBED {
    tag "$meta.id"
    label 'process_high'

    conda "${moduleDir}/environment.yml"
    container "${ workflow.containerEngine in ['singularity', 'apptainer'] ? params.dnatk_sif : params.dnatk_image }"

    input:
    tuple val(meta), path(fasta), path(bed)

    output:
    tuple val(meta), path("*.h5"), emit: h5
    path "versions.yml"          , emit: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    def prefix = task.ext.prefix ?: meta.id
    def regions = bed ? "--bed ${bed}" : ''
    """
    dnatk embed \\
        ${fasta} \\
        ${regions} \\
        ${args} \\
        --threads ${task.cpus} \\
        -o ${prefix}.h5

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        dnatk: \$(dnatk --version | sed 's/.* //')
    END_VERSIONS
    """

    stub:
    def prefix = task.ext.prefix ?: meta.id
    """
    touch ${prefix}.h5

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        dnatk: \$(dnatk --version | sed 's/.* //')
    END_VERSIONS
    """
}
