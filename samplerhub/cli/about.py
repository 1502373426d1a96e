"""What the help says of the commands."""

RUN = (
    "Make samples, measure them, and write them to a folder.\n\n"
    "With nothing but defaults it generates images with a trained network. Every component has options of its own: "
    "name it and ask for help, as in samplerhub run --sampler deis --help. The field --sampler.churn may be written "
    "--deis.churn, by the component's name, and --churn where no other component that is chosen has it."
)
BUDGET = (
    "Say how much of a run's error comes from the start, the score and the discretisation.\n\n"
    "The run is repeated with the prior, the score and the grid made exact in turn, eight runs of the same seed, and "
    "the metric's change is attributed to the three (Shapley values). It takes the options of samplerhub run, and one "
    "--metric."
)
LEARN_GRID = (
    "Find the grid with which a sampler makes the smallest error, for one model and number of steps.\n\n"
    "The nodes are optimised through the sampler, from the grid that is given, and written to a file that --grid FILE "
    "reads. The error is the RMS distance to the end of the exact flow; the gain is measured on starting states that "
    "were held out. It takes the options of samplerhub run."
)
SWEEP = (
    "Make every run of a comparison: each combination of the values given, each in a folder of its own.\n\n"
    "Any option of samplerhub run may have several values: separated by commas, given again, or as a range, "
    "linspace:0:1:5 or logspace:0.01:1:3, ends included. An option that only some components have applies to these; a "
    "combination that cannot be run is named beforehand and skipped. The same command goes on where it was stopped; "
    "another value adds only its runs. The same seed starts all runs from the same noise.\n\n"
    "Example: samplerhub sweep --sampler deis,heun,unipc --nfe 5,8,10 --seeds 5 --metric kl --target mixture --out "
    "runs/first"
)
RESULTS = (
    "Show what came out of a sweep: mean and standard error over the seeds, or every run.\n\n"
    "The columns are the options that were asked for, nfe (evaluations a sample that were allowed; nfe_spent, where "
    "these are others), and the metrics. What is the same for all is said once above. Failed runs are named below.\n\n"
    "--out and --json give every run unless --per group is asked for, with the columns key, one for each option, seed, "
    "nfe, nfe_spent, seconds, and for each metric its value and its standard error: kl, kl_stderr.\n\n"
    "Example: samplerhub results runs/first --where sampler=deis,heun --where 'nfe<=10' --best kl"
)
COMPARE = (
    "Show runs beside each other: what differs between them, NFE, seconds, and which is better by each metric.\n\n"
    "RUN is the folder of a run, runs/<8 hex> or that of one run of a sweep. Which is better is told from the "
    "standard errors of the figures (z-test, 5 %); runs that they do not tell apart are a tie. Figures of another "
    "target, or of a metric with other fields, are not compared.\n\n"
    "Example: samplerhub compare runs/1a2b3c4d runs/5e6f7a8b --picture beside.png"
)
TRAIN = (
    "Fit a model to a target, and write its weights to a file.\n\n"
    "A run that was killed is taken up again by the same command."
)
SHOW = (
    "Explain a component: its formula and options, where it comes from, how it looks over the noise level.\n\n"
    "A grid shows the nodes that it has in a run, and takes the options of that run; a process shows alpha, sigma and "
    "the noise level, a target its log-Sobolev constants. A component's fields are options here as they are in a run: "
    "samplerhub show grid edm --exponent 3 --steps 5 --process vp."
)
CONVERT = (
    "Write the weights of another project's checkpoint as safetensors.\n\n"
    "A checkpoint of torch.save that holds tensors and plain values is read as it is. Any other pickle, such as the "
    "network snapshots of EDM and StyleGAN, is a program, and is refused unless you say --trust-pickle; it is then "
    "read by an unpickler that builds tensors and calls nothing else. The class, its arguments, sigma_data and "
    "whatever else is plainly written there go into the file's header. The architecture does not: it is code, so that "
    "the weights are used with a model that has it, your own or a plugin's; the model `network` runs what "
    "`samplerhub train` wrote.\n\n"
    "Example: samplerhub convert edm-cifar10-32x32-uncond-vp.pkl --trust-pickle"
)
NEW_PLUGIN = (
    "Write a plugin to start from: a distribution with one component, its test, and all that pip needs.\n\n"
    "The component is a small, real example of its role that passes its tests as it is. NAME is the name of the "
    "distribution: lower case letters, digits and hyphens. The component is called the same, less a leading "
    "samplerhub-.\n\n"
    "Example: samplerhub new-plugin samplerhub-midpoint --role sampler"
)
CHECK = (
    "Measure what components promise: orders, evaluations, laws; exit code 1 where something does not hold.\n\n"
    "ROLE NAME checks one component, ROLE all of a role, --all every one. The documentation explains each check: what, "
    "why, and what usually breaks it."
)
