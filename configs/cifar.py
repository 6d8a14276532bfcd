"""Balanced NAO on CIFAR-10, with the paper's numbers.

Luo, Qin, Chen, "Balanced One-shot Neural Architecture Optimization", 2020,
https://arxiv.org/abs/1909.10815, Algorithm 1 and section 5.

    python -m launch.search --config=configs/cifar.py --workdir=runs/cifar

The paper's search is 4 rounds of 50 epochs: 140,400 supernet steps of 64 images and 5,800 scorings
of 5,000 images. `configs/cifar.py:smoke` walks the same way with few images, steps and
architectures; it is for seeing that everything works, not for results.

Vary it from the command line, for example

    --config.search.max_params=600000          no architecture above 0.6 M parameters
    --config.supernet.batch_norm=sync          batch statistics over all devices
    --config.scoring.score=loss                learns from the validation loss, not the accuracy
    --config.network.dtype=bfloat16            faster on GPU and TPU
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from configs import cifar_train


def get_config(variant: str = "") -> ConfigDict:
    """The paper's search; variant "smoke" for minutes on two CPU cores."""
    config = ConfigDict()
    config.seed = 0  # of all random draws
    config.devices = 0  # devices of each process to use; 0: all
    config.compilation_cache = "~/.cache/bnao_jax"  # folder of compiled programs; "": none
    config.checkpoint_every_steps = 2_000  # training steps between two checkpoints
    config.checkpoint_every_seconds = 600  # the same for time, in every phase
    config.tensorboard = False  # event files beside metrics.jsonl, with the same figures

    config.data = data = ConfigDict()
    data.name = "cifar10"  # cifar10, cifar100, digits, arrays
    data.data_dir = ""  # where TFDS has prepared it; "": TFDS's default folder
    data.path = ""  # file of name=arrays
    data.train_examples = 45_000  # images that train the supernet; 0: all but the validation part
    data.valid_examples = 5_000  # images of the train split held out for scoring
    # which of them: random, drawn by the seed; nasbench201: of that benchmark's half of cifar10
    data.split = "random"
    data.shrink = 1  # divides the images' sides: each pixel becomes the mean of a square
    data.flip = True  # half of the images, left to right
    data.pad = 4  # pixels before a random crop
    data.cutout = 0  # side of the square cut out, pixels

    config.space = space = ConfigDict()
    space.name = "nao"  # nao, nasbench201, shufflenet
    space.operations = "small"  # of nao: small: 5 operations, middle: 10
    space.nodes = 5  # of nao: B, nodes of a cell
    space.channel_choice = False  # of shufflenet: whether the blocks' widths are searched, too

    config.network = network = ConfigDict()
    network.channels = 20  # C, width of the first stage
    network.cells = 3  # N, (normal) cells a stage
    network.stem = "cifar"  # cifar: full resolution, imagenet: an eighth
    network.dtype = "float32"  # float32, bfloat16; parameters are float32 always

    config.supernet = supernet = ConfigDict()
    supernet.epochs = 50  # a round
    # Every round begins with new weights and scores only its own architectures.
    supernet.from_scratch = False
    supernet.batch_size = 64  # over all devices
    # of the round's architectures: proportional (Eq. 3), uniform, of nasbench201 also stratified;
    # of the whole space: whole_space (all equally likely), of shufflenet also constrained (an
    # interval of macs_step between macs_least and macs_most, then an architecture within), in
    # launch.rank also strictly_fair
    supernet.sampler = "proportional"
    supernet.size_exponent = 1.0  # of proportional: P(x) ~ size ** size_exponent
    supernet.macs_least = placeholder(int)  # of constrained: beginning, multiply-adds
    supernet.macs_most = placeholder(int)  # the same, its end
    supernet.macs_step = placeholder(int)  # the same, size of an interval
    # cosine to learning_rate_end, exponential by rate_decay an epoch, linear to learning_rate_end
    # by the step, complexity: (1 - t/T) to a power that falls with the path's size (CaLR),
    # complexity_mean: the same mean rate for all
    supernet.schedule = "cosine"
    supernet.learning_rate = 0.025  # in the first epoch
    supernet.learning_rate_end = 0.001  # of cosine, after the last epoch
    supernet.rate_decay = 0.97  # of exponential: factor an epoch
    supernet.exponent_least = 0.25  # power of complexity for the largest path
    supernet.exponent_most = 4.0  # the same for the smallest
    supernet.momentum = 0.9  # of SGD
    supernet.nesterov = False  # Nesterov's momentum
    supernet.separate_momentum = False  # one for each operation of one random edge (nasbench201)
    supernet.weight_decay = 3e-4  # added to the gradient, times the weight
    supernet.decay_vectors = True  # weight decay of scales and offsets, too
    supernet.clip = 5.0  # global norm of the gradient; 0: none
    supernet.label_smoothing = 0.0  # share of the label spread over all classes
    supernet.drop_path_keep = 0.9  # at the last cell and the last step; 1: no drop path
    supernet.freeze_off_path = True  # no weight decay or momentum for weights off the path
    supernet.batch_norm = "local"  # statistics: local to a device, sync over all devices
    supernet.path_per_device = False  # every device draws its own architecture

    config.scoring = scoring = ConfigDict()
    scoring.images = 0  # the first so many of the validation part; 0: all
    scoring.batch_size = 500  # images, which share their statistics
    scoring.statistics = "batch"  # batch: of the validation batch, estimated: on training images
    scoring.calibration_images = 2_000  # training images for estimated
    scoring.per_dispatch = 8  # architectures between two reports of progress
    # what is learned from: accuracy, loss, accuracy_and_size, loss_and_size (both standardised)
    scoring.score = "accuracy"
    scoring.size_weight = 1.0  # of standardised log parameters in the last two

    config.search = search = ConfigDict()
    search.strategy = "nao"  # nao, evolution, bonas, random
    search.seeds = 1_000  # random architectures of round 1
    search.rounds = 4  # of training, scoring and proposing
    search.trained_rounds = 0  # first rounds that train; the others score what is new; 0: all
    search.proposals = 300  # new architectures of each later round
    search.max_params = placeholder(int)  # limit of the stand-alone network at `network`
    search.max_macs = placeholder(int)  # the same for multiply-adds of one image
    search.max_latency = placeholder(float)  # the same in seconds, of a batch of latency_batch
    search.latencies = ""  # file that launch.inspect --latency has printed, for max_latency
    search.latency_batch = 1  # images
    search.control = 100  # random architectures scored at the end, for comparison
    search.report = True  # report.html at the end

    config.nao = nao = ConfigDict()
    nao.seeds = 100  # K, best architectures moved uphill
    nao.exchanges = 10  # equivalent rewritings of each architecture to fit
    nao.held_out = 0.1  # share of the pool to test the controller on
    nao.epochs = 1_000  # of each fit
    nao.batch_size = 100  # rewritten architectures
    nao.learning_rate = 1e-3  # of Adam
    nao.trade_off = 0.8  # weight of the scores' error against the decoder's

    config.evolution = evolution = ConfigDict()
    evolution.parents = 10  # best so far, from which children come
    evolution.mutants = 0.5  # share of the proposals that are mutants; the others are crossed
    evolution.mutation_rate = 0.1  # probability that a decision of a mutant is redrawn

    config.bonas = bonas = ConfigDict()
    bonas.epochs = 100  # of the graph network's fit, from scratch each round
    bonas.batch_size = 128  # architectures
    bonas.learning_rate = 1e-3  # of Adam
    bonas.exploration = 0.5  # standard deviations added to the expected score
    bonas.population = 30  # architectures that evolve under that sum
    bonas.tournament = 10  # of them, those of which the best has a child
    bonas.generations = 50  # of as many children as the population has

    config.final = final = cifar_train.recipe()
    final.top = 5  # best architectures trained alone and ranked again; 0: none
    final.epochs, final.batch_size, final.weight_decay = 10, 64, 3e-4

    if variant == "smoke":
        return _smoke(config)
    if variant:
        raise ValueError(f"variant {variant!r} of configs/cifar.py is not 'smoke'")
    return config


def _smoke(config):
    config.data.train_examples, config.data.valid_examples = 2_560, 256
    config.network.channels, config.network.cells = 8, 1
    config.supernet.epochs = 3
    config.scoring.batch_size = 128
    config.search.seeds, config.search.rounds, config.search.proposals = 40, 3, 20
    config.search.control = 20
    config.nao.seeds, config.nao.epochs, config.nao.exchanges = 20, 40, 4
    config.final.top, config.final.epochs = 2, 1
    return config
