# The bases: pretrained backbones that experiments start from, unless they start from nothing. Each has a
# folder at every size at which experiments see images.


# The check is short, and what it refuses should not wait in a queue.
localrules:
    check_experiments,


if STUDY.pretrainings:

    rule pretrain_base:
        input:
            store=lambda wildcards: expand(
                "data/{dataset}/store/{file}",
                dataset=STUDY.pretrainings[wildcards.base].dataset,
                file=STORE_FILES,
            ),
            assignments=lambda wildcards: (
                f"<results>/{STUDY.pretrainings[wildcards.base].splits}/assignments.csv"
            ),
        output:
            weights="<results>/{base}/pretraining/weights.safetensors",
            card="<results>/{base}/pretraining/card.json",
            history="<results>/{base}/pretraining/history.csv",
        log:
            "<logs>/pretrain_base/{base}.log",
        wildcard_constraints:
            base=any_of(STUDY.pretrainings),
        conda:
            FULL_ENV
        threads: COMPUTE["threads"]
        resources:
            gpu=COMPUTE["gpu"],
            # What the script compares its grant with. Resources, for a changed one retrains nothing.
            gpu_asked=COMPUTE["gpu"],
            cpu_processes=COMPUTE["cpu_processes"],
            mem_mb=growing(COMPUTE["mem_mb"]),
            runtime=growing(COMPUTE["runtime"]),
        params:
            settings=lambda wildcards: STUDY.pretrainings[wildcards.base].settings,
            base=lambda wildcards: STUDY.pretrainings[wildcards.base].settings["base"],
            batch_size=EVALUATION["batch_size"],
            workers=COMPUTE["loader_workers"],
            halve=Untracked(COMPUTE["on_memory_error"] == "halve"),
            digest=digest("pretrain_base", parts([PLAIN], "model", "objective")),
        script:
            "../scripts/pretrain_base.py"


if STUDY.based:

    # Published weights may be downloaded, which a cluster's nodes often cannot.
    localrules:
        export_base,

    rule export_base:
        input:
            pretrained=pretrained,
            checked=IMAGES_CHECKED,
        output:
            weights="<results>/{base}/weights.safetensors",
            card="<results>/{base}/card.json",
        log:
            "<logs>/export_base/{base}.log",
        wildcard_constraints:
            base=any_of(STUDY.bases),
        conda:
            FULL_ENV
        resources:
            mem_mb=4000,
            runtime=60,
        params:
            base=lambda wildcards: STUDY.bases[wildcards.base].settings,
            key=lambda wildcards: base_key(STUDY.bases[wildcards.base].name),
            # Settings of the run whose weights become this base; None where none does.
            pretraining=lambda wildcards: (
                (made := STUDY.pretraining_of(wildcards.base))
                and STUDY.pretrainings[made].settings
            ),
            # A weights file's state, so that a changed file is noticed wherever it lies.
            stamp=lambda wildcards: base_stamp(STUDY.bases[wildcards.base], STUDY.mirror),
            # What no training on this base could give is refused here, the first time.
            asked=lambda wildcards: Untracked(job_params.checked_experiments(STUDY, wildcards.base)),
            digest=digest("export_base"),
        script:
            "../scripts/export_base.py"


if STUDY.networks:

    # Published weights may be downloaded, which a cluster's nodes often cannot.
    localrules:
        export_network,

    # What networks of experiments begin with, in place of the base.
    rule export_network:
        output:
            weights="<results>/networks/{network}/weights.safetensors",
            card="<results>/networks/{network}/card.json",
        log:
            "<logs>/export_network/{network}.log",
        wildcard_constraints:
            network=any_of(STUDY.networks),
        conda:
            FULL_ENV
        resources:
            mem_mb=2000,
            runtime=60,
        params:
            weights=lambda wildcards: STUDY.networks[wildcards.network]["weights"],
            # A weights file's state, so that a changed file is noticed wherever it lies.
            stamp=lambda wildcards: weights_stamp(STUDY.networks[wildcards.network], STUDY.mirror),
            digest=digest("export_network"),
        script:
            "../scripts/export_network.py"


# Apart from the export: an edited schedule must not remake the base that every run starts from. First
# of all that can run: what it refuses should not be trained. No rule waits for it, or a changed target
# would train anew.
rule check_experiments:
    input:
        store=STORE,
        base=BASES,
    output:
        "<results>/base/experiment_checks.json",
    log:
        "<logs>/check_experiments.log",
    priority: 100
    conda:
        FULL_ENV
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        counted=job_params.counted_experiments(STUDY),
        experiments=job_params.checked_experiments(STUDY),
        digest=digest(
            "check_experiments",
            [
                *parts(STUDY.methods, "keys"),
                *parts(STUDY.methods, "model"),
                *parts([name for name in STUDY.methods if registry.has(name, "check")], "check"),
            ],
        ),
    script:
        "../scripts/check_experiments.py"
