#!/usr/bin/env nextflow
// Embed the regions of each BED file and score them with a task. See README.md.

include { DNATK_EMBED   } from './modules/dnatk/embed/main'
include { DNATK_PREDICT } from './modules/dnatk/predict/main'

workflow {
    genome = channel.value([[id: 'genome'], file(params.genome, checkIfExists: true)])
    regions = channel
        .fromPath(params.regions, checkIfExists: true)
        .map { bed -> [[id: bed.baseName], bed] }

    DNATK_EMBED(regions.combine(genome).map { meta, bed, _genome_meta, fasta -> [meta, fasta, bed] })
    DNATK_PREDICT(regions, genome, params.task)

    DNATK_EMBED.out.versions
        .mix(DNATK_PREDICT.out.versions)
        .unique { versions -> versions.text }
        .collectFile(name: 'versions.yml', storeDir: params.outdir)
}
