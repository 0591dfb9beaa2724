process DNATK_PREDICT {
    tag "$meta.id"
    label 'process_high'

    conda "${moduleDir}/environment.yml"
    container "${ workflow.containerEngine in ['singularity', 'apptainer'] ? params.dnatk_sif : params.dnatk_image }"

    input:
    tuple val(meta), path(regions)
    tuple val(meta2), path(fasta)
    val task_name

    output:
    tuple val(meta), path("*.scored.bed"), emit: bed
    path "versions.yml"                  , emit: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    def prefix = task.ext.prefix ?: meta.id
    """
    dnatk predict \\
        --task ${task_name} \\
        ${regions} \\
        --genome ${fasta} \\
        ${args} \\
        --threads ${task.cpus} \\
        -o ${prefix}.scored.bed

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        dnatk: \$(dnatk --version | sed 's/.* //')
    END_VERSIONS
    """

    stub:
    def prefix = task.ext.prefix ?: meta.id
    """
    touch ${prefix}.scored.bed

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        dnatk: \$(dnatk --version | sed 's/.* //')
    END_VERSIONS
    """
}
