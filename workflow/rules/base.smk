# The base: the pretrained backbone that experiments start from, unless they start from nothing.


# The check is short, and what it refuses should not wait in a queue.
localrules:
    check_experiments,


if STUDY.pretraining:

    rule pretrain_base:
        input:
            store=expand(
                "data/{dataset}/store/{file}",
                dataset=STUDY.dataset_of("splits-pretrain"),
                file=STORE_FILES,
            ),
            assignments="<results>/splits-pretrain/assignments.csv",
        output:
            weights=PRETRAINED[0],
            card=PRETRAINED[1],
            history="<results>/base/pretraining/history.csv",
        log:
            "<logs>/pretrain_base.log",
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
            settings=STUDY.pretraining,
            base={key: BASE_CONFIG[key] for key in ("architecture", "image_size", "mean", "std")},
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
            pretrained=pretrained(),
            checked=IMAGES_CHECKED,
        output:
            weights=BASE[0],
            card=BASE[1],
        log:
            "<logs>/export_base.log",
        conda:
            FULL_ENV
        resources:
            mem_mb=4000,
            runtime=60,
        params:
            base=BASE_CONFIG,
            pretraining=STUDY.pretraining,
            # A weights file's state, so that a changed file is noticed wherever it lies.
            stamp=STUDY.base_stamp,
            # What no training on this base could give is refused here, the first time.
            asked=Untracked(job_params.checked_experiments(STUDY)),
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
        base=BASE,
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
