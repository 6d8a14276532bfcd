"""The sections of a report: what is said, drawn and tabulated of a search."""

import math
from typing import NamedTuple

import numpy as np

from bnao_jax import ranking
from launch.plots import cells as cell_pictures
from launch.plots import style
from launch.report import plots_of_controller, plots_of_scores, plots_of_training
from launch.report.damaged_json import BAD_VALUE, text
from launch.report.facts import chosen, draws_from_space, expected, limits, percent
from launch.report.questions import answers
from launch.report.tables import Table, compared, config_of, machine_of, rates, seconds_of

MOST_BALANCES = 6  # rounds whose training is drawn
MOST_CELLS = 5  # architectures that are drawn
CELL_SCALES = (0.8, 1.3)  # of a drawn cell, whose letters are small
# How each sampler draws the architecture of a step.
DRAWN = {
    "proportional": (
        "drawn from those of the round in proportion to its size, as in Eq. 3 of Balanced NAO: the "
        "larger, the more often"
    ),
    "uniform": "all of the round alike",
    "stratified": "all depths among those of the round alike",
    "whole_space": "drawn from the whole space, not from those that are scored",
    "constrained": (
        "drawn from the whole space within an interval of multiply-adds, not from those that are "
        "scored"
    ),
}


class Cell(NamedTuple):
    """An architecture to show: its text form with a button to copy it, and its cells drawn."""

    id: str
    title: str
    description: str
    text: str
    pictures: list


class Section(NamedTuple):
    """A part of the page."""

    id: str
    title: str
    text: list = []
    answers: list = []
    cells: list = []
    commands: list = []
    pictures: list = []
    tables: list = []


def sections(run, others, truth, folder):
    """Yields the sections for which the folder has data.

    Args:
      run: the search.
      others: searches it is compared with.
      truth: known accuracies float64[P] of its pool, or None.
      folder: of the pictures.
    """

    def drawn(name, title, plot, **look):
        return [] if plot is None else [style.write(folder, name, plot[0], title, plot[1], **look)]

    yield Section("summary", "In short", answers=answers(run))
    if pictures := drawn("against-random", "Against random", plots_of_scores.against_random(run)):
        yield Section("against-random", "Is it better than random?", pictures=pictures)
    if others:
        yield _compared([run, *others], drawn)
    yield _cells(run, drawn)
    yield from _scores(run, truth, drawn)
    yield from _training(run, others, drawn)
    yield from _controller(run, drawn)
    yield _machine(run, drawn)


def _compared(runs, drawn):
    pictures = drawn("comparison", "Accuracy of the best so far", plots_of_scores.comparison(runs))
    words = [
        "Searches of a kind differ in their seed alone, or in what changes no result; the spread "
        "is the standard deviation over those that are finished."
    ]
    tables = compared(runs)
    return Section("comparison", "Searches compared", words, pictures=pictures, tables=tables)


def _cells(run, drawn):
    cells = []
    for place, candidate in enumerate(chosen(run)[:MOST_CELLS]):
        name, title = f"cell-{place + 1}", f"Place {place + 1}"
        unit, standalone = run.unit, ""
        if math.isfinite(candidate.standalone):
            standalone = f"trained alone {percent(candidate.standalone)}, "
        scored = f"{unit.axis.capitalize()}: {unit.format(candidate.score)}. "
        scored = "" if unit.kind == "accuracy" else scored
        description = (
            f"Validation accuracy: {standalone}with shared weights {percent(candidate.accuracy)}. "
            f"{scored}"
            f"{candidate.params:,} parameters, {candidate.macs:,} multiply-adds for one image."
        )
        pictures = _drawn_cells(run, candidate.text, name, drawn)
        cells.append(Cell(name, title, description, candidate.text, pictures))
    words = [] if cells else ["No architecture is scored yet."]
    return Section("cells", "The best architectures", words, cells=cells)


def _drawn_cells(run, text_form, name, drawn):
    """Pictures of the cells of an architecture; a line of what is missing where there are none."""
    try:
        graphs = run.space.wires(run.space.decisions.parse(text_form))
    except (*BAD_VALUE, AttributeError):
        run.missing.append(f"{name} is not drawn: its text or the search space cannot be read")
        return []
    pictures = []
    for kind, wires in graphs.items():
        if len(wires) > cell_pictures.MOST_WIRES:
            run.missing.append(f"{name} is not drawn: its cells are too large")
            return []
        label = cell_pictures.label_of
        stops = [
            [w.source, *([label(w.operation)] if w.operation else []), w.target] for w in wires
        ]
        description = "; ".join(" → ".join(names) for names in stops) + "."
        plot = cell_pictures.cells({kind: wires}), description
        title = cell_pictures.title_of(kind)
        pictures += drawn(f"{name}-{kind}", title, plot, scales=CELL_SCALES)
    return pictures


def _scores(run, truth, drawn):
    pictures = drawn("scores", "Scores by round", plots_of_scores.scores(run))
    pictures += drawn("measured", "Scores as measured", plots_of_scores.measured(run))
    for name, title in plots_of_scores.COSTS.items():
        pictures += drawn(name, f"Score against {title}", plots_of_scores.cost(run, name))
    tables = []
    if truth is not None:
        scored = np.isfinite(run.pool.score)
        by = {
            "score with shared weights": run.pool.score[scored],
            "parameters": run.pool.params[scored],
        }
        measures = [ranking.figures(values, truth[scored]) for values in by.values()]
        rows = [[name, *(f"{one[name]:.3f}" for one in measures)] for name in measures[0]]
        head = ["measure", *(f"by {name}" for name in by)]
        tables.append(
            Table(f"Ranking of {scored.sum()} architectures of known accuracy", head, rows)
        )
        plot = plots_of_scores.truth(run, truth)
        pictures += drawn("truth", "Score against known accuracy", plot)
    if pictures:
        words = [line for line in [limits(run)] if line]
        yield Section("scores", "Scores", words, pictures=pictures, tables=tables)


def _training(run, others, drawn):
    pictures = drawn("losses", "Training loss", plots_of_training.losses(run))
    rounds = np.unique(run.pool.round)[:MOST_BALANCES].tolist()
    shown = [(run, "", of_round) for of_round in rounds]
    shown += [(other, f"-compared-{n + 1}", 1) for n, other in enumerate(others)]
    for each, suffix, of_round in shown:
        if draws_from_space(each):
            continue  # what it has trained of a pool are chance hits
        plot = plots_of_training.balance(each, of_round, expected(each))
        title = f"{each.name}: training against size in round {of_round}"
        pictures += drawn(f"balance{suffix}-{of_round}", title, plot)
    if pictures:
        rule = DRAWN.get(run.field("supernet.sampler"))
        words = [f"Each step trains one architecture{f', {rule}' if rule else ''}."]
        tables = rates(run)
        yield Section(
            "training", "Training and its balance", words, pictures=pictures, tables=tables
        )


def _controller(run, drawn):
    plots = {
        "predictions": ("Predicted against measured ranks", plots_of_controller.predictions(run)),
        "pairs": ("Pairwise accuracy", plots_of_controller.pairs(run)),
        "ascent": ("New architectures", plots_of_controller.ascent(run)),
    }
    pictures = [picture for name, args in plots.items() for picture in drawn(name, *args)]
    if pictures:
        yield Section("controller", "The predictor and its proposals", pictures=pictures)


def _machine(run, drawn):
    pictures = drawn("times", "Time", plots_of_training.times(seconds_of(run)))
    command, words = text(run.machine, "command"), []
    if command is None:
        words = ["The command is not known; config.json holds every field of the config."]
    return Section(
        "machine",
        "How to repeat it, and what it took",
        words,
        commands=[command] if command else [],
        pictures=pictures,
        tables=[*machine_of(run), *config_of(run)],
    )
