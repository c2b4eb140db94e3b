"""Writes optuna_importance.json: answers of Optuna 5.0.0 that the tests of `src/importance` compare with.

usage: python3 optuna_importance.py > optuna_importance.json      (needs optuna==5.0.0, scikit-learn)

`ped_anova` holds studies with all their trials, and the importances (not normalized) by
`PedAnovaImportanceEvaluator` under several options. `fanova` holds, per problem and parameter, mean, least and
greatest importance (not normalized) by `FanovaImportanceEvaluator` over the seeds 0..19; the trials of a problem are
made from a generator of 64 bits, here and in the tests, so the file need not hold them. `log_cells` holds the number
of grid cells of logarithmic ranges of integers. Observations come from Python's own generator with fixed seeds.
"""
import json
import math
import random
import warnings

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator
from optuna.trial import TrialState, create_trial

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.simplefilter("ignore")

KINDS = {
    "float": dict(kind="float", low=-2.0, high=7.5),
    "log_float": dict(kind="float", low=1e-5, high=0.3, log=True),
    "stepped_float": dict(kind="float", low=0.1, high=1.5, step=0.1),
    "fine_float": dict(kind="float", low=0.0, high=12.3, step=0.125),
    "int": dict(kind="int", low=5, high=200),
    "few_int": dict(kind="int", low=0, high=1),
    "stepped_int": dict(kind="int", low=4, high=63, step=7),
    "tied_int": dict(kind="int", low=0, high=98),
    "wide_int": dict(kind="int", low=-3000, high=9007199254740992),
    "log_int": dict(kind="int", low=3, high=1000, log=True),
    "power_int": dict(kind="int", low=1, high=1024, log=True),
    "two_log_int": dict(kind="int", low=1, high=2, log=True),
    "categorical": dict(kind="categorical", choices=5),
    "many_choices": dict(kind="categorical", choices=70),
    "one_int": dict(kind="int", low=7, high=7),
    "one_choice": dict(kind="categorical", choices=1),
}
OPTIONS = [(0.1, 1.0, True), (0.1, 1.0, False), (0.25, 0.6, True), (0.05, 0.5, True), (0.33, 0.9, False)]


def distribution(spec):
    if spec["kind"] == "categorical":
        return CategoricalDistribution(list(range(spec["choices"])))
    if spec["kind"] == "int":
        return IntDistribution(spec["low"], spec["high"], log=spec.get("log", False), step=spec.get("step", 1))
    return FloatDistribution(spec["low"], spec["high"], log=spec.get("log", False), step=spec.get("step"))


def draw(rng, spec):
    """A value and its part of the range, more often near the lower end; the ends included."""
    part = rng.choice([0.0, 1.0]) if rng.random() < 0.05 else rng.random() ** 1.5
    if spec["kind"] == "categorical":
        return min(int(part * spec["choices"]), spec["choices"] - 1), part
    low, high, step = spec["low"], spec["high"], spec.get("step", 1 if spec["kind"] == "int" else None)
    if step is not None and not spec.get("log"):
        last = math.floor((high - low) / step + 1e-9)
        return min(low + round(part * last) * step, high), part
    value = low * (high / low) ** part if spec.get("log") else low + part * (high - low)
    return (round(value) if spec["kind"] == "int" else min(max(float(f"{value:.6g}"), low), high)), part


def trials_of(rng, space, count, conditional, places, ends):
    trials = []
    for number in range(count):
        drawn = {p: draw(rng, spec) for p, spec in space.items()}
        if rng.random() < 0.4:
            drawn = {p: d for p, d in drawn.items() if p not in conditional}
        value = sum((i % 3) * (part - 0.3) ** 2 for i, (_, part) in enumerate(drawn.values()))
        value = round(value + 0.05 * rng.gauss(0, 1), places)
        end = rng.choices(["completed", "pruned", "failed", "infinite"], ends)[0]
        trials.append([end, str(rng.choice([math.inf, -math.inf])) if end == "infinite" else value,
                       [drawn[p][0] if p in drawn else None for p in sorted(space)]])
    return trials


def study_of(space, trials, direction):
    study = optuna.create_study(direction=direction)
    dists = {p: distribution(space[p]) for p in sorted(space)}
    sign = -1.0 if direction == "maximize" else 1.0
    states = dict(completed=TrialState.COMPLETE, infinite=TrialState.COMPLETE, pruned=TrialState.PRUNED,
                  failed=TrialState.FAIL)
    for end, value, row in trials:
        params = {p: v for p, v in zip(dists, row) if v is not None}
        study.add_trial(create_trial(
            state=states[end], value=sign * float(value) if states[end] == TrialState.COMPLETE else None,
            params=params, distributions={p: dists[p] for p in params}))
    return study


def ped_anova_cases():
    numbers = [k for k in KINDS if "choice" not in k and k != "categorical"]
    mostly, all_kinds = [20, 1, 1, 1], list(KINDS)
    cases = [
        ("every kind", all_kinds, 150, (), 6, mostly, "minimize"),
        ("every kind, few trials", all_kinds, 20, (), 6, [1, 0, 0, 0], "minimize"),
        ("maximized", all_kinds, 60, (), 6, mostly, "maximize"),
        ("equal values", ["float", "tied_int", "categorical"], 120, (), 1, mostly, "minimize"),
        ("conditional", ["float", "log_int", "categorical", "tied_int", "few_int"], 140,
         ("log_int", "categorical", "few_int"), 6, mostly, "minimize"),
        ("numbers", numbers, 70, ("int",), 2, mostly, "minimize"),
    ]
    for name, kinds, count, conditional, places, ends, direction in cases:
        rng = random.Random(name)
        space = {k: KINDS[k] for k in kinds}
        trials = trials_of(rng, space, count, conditional, places, ends)
        study = study_of(space, trials, direction)
        answers = []
        for target, region, local in OPTIONS:
            evaluator = PedAnovaImportanceEvaluator(
                target_quantile=target, region_quantile=region, evaluate_on_local=local)
            answer = evaluator.evaluate(study)
            answers.append([target, region, local, {p: answer[p] for p in sorted(space)}])
        yield dict(name=name, space=space, trials=trials, answers=answers)


class Generator:
    """SplitMix64 (Steele, Lea and Flood, 2014); the tests have the same."""

    def __init__(self, seed):
        self.state = seed

    def unit(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) % 2**64
        z = self.state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return ((z ^ (z >> 31)) >> 11) * 2.0**-53


def ishigami(u):
    x, y, z = (math.pi * (2 * v - 1) for v in u)
    return math.sin(x) + 7 * math.sin(y) ** 2 + 0.1 * z**4 * math.sin(x)


def additive(u):
    return 4 * u[0] + 2 * u[1] ** 2 + math.sin(6 * u[2]) + 0.1 * u[3]


def noisy(u):
    """A third is noise, of three parameters that nobody sees."""
    return u[0] + u[1] * u[2] + 0.6 * (u[4] + u[5] + u[6] - 1.5)


FANOVA = [
    ("ishigami", ishigami, 3, 3, 200),
    ("additive", additive, 4, 4, 150),
    ("noisy", noisy, 7, 4, 120),
    ("few trials", additive, 4, 4, 60),
]


def fanova_cases():
    for name, function, drawn, shown, count in FANOVA:
        generator = Generator(count)
        study = optuna.create_study()
        names = [f"x{i}" for i in range(shown)]
        dist = FloatDistribution(0.0, 1.0)
        for _ in range(count):
            u = [generator.unit() for _ in range(drawn)]
            study.add_trial(create_trial(value=function(u), params=dict(zip(names, u)),
                                         distributions={n: dist for n in names}))
        seeds = [FanovaImportanceEvaluator(seed=seed).evaluate(study) for seed in range(20)]
        answer = {n: [float(np.mean(v)), min(v), max(v)] for n in names for v in [[s[n] for s in seeds]]}
        yield dict(name=name, trials=count, answer=answer)


def log_cells():
    from optuna.importance._ped_anova.scott_parzen_estimator import _count_numerical_param_in_grid
    for bits in range(1, 54):
        for high in {2**bits - 1, 2**bits, 2**bits + 1} - {1}:
            if high <= 2**53:
                dist = IntDistribution(1, high, log=True)
                yield [high, len(_count_numerical_param_in_grid("", dist, [], 50))]


def main():
    for title, cases in (("ped_anova", ped_anova_cases()), ("fanova", fanova_cases()), ("log_cells", log_cells())):
        lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
        print("{" if title == "ped_anova" else ",", f'"{title}": [\n{lines}\n]', sep="")
    print("}")


main()
