"""Writes optuna_tpe.json: values of Optuna 5.0.0's TPE that the tests of `src/tpe` compare with.

usage: python3 optuna_tpe.py > optuna_tpe.json      (needs optuna==5.0.0)

Optuna is asked for three things, all without randomness: the density of a Parzen estimator at given points,
the division of trials into good and bad, and the score, ln good - ln bad, of given points. The
observations come from Python's own generator with fixed seeds.

One thing is changed: which of equal observations has which bandwidth depends in Optuna on numpy's
unstable sort, and so on the processor. Here it sorts stably, so the earliest trial comes first.
"""
import json
import math
import random

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.samplers._tpe.sampler import _split_trials, default_gamma
from optuna.trial import TrialState, create_trial

optuna.logging.set_verbosity(optuna.logging.ERROR)
unstable_argsort = np.argsort
np.argsort = lambda a, kind="stable": unstable_argsort(a, kind=kind)
COUNTS = [1, 2, 24, 25, 26, 60, 120]
SPACES = {
    "float": {"x": dict(kind="float", low=-2.0, high=7.5)},
    "log_float": {"x": dict(kind="float", low=1e-5, high=0.3, log=True)},
    "stepped_float": {"x": dict(kind="float", low=0.1, high=1.5, step=0.1)},
    "int": {"x": dict(kind="int", low=5, high=200)},
    "stepped_int": {"x": dict(kind="int", low=4, high=60, step=7)},
    "wide_int": {"x": dict(kind="int", low=-3000, high=90000)},
    "log_int": {"x": dict(kind="int", low=3, high=1000, log=True)},
    "categorical": {"x": dict(kind="categorical", choices=5)},
    "mixed": {
        "a": dict(kind="int", low=4, high=60, step=2),
        "b": dict(kind="int", low=10, high=1000, log=True),
        "c": dict(kind="float", low=0.001, high=0.1, log=True),
        "d": dict(kind="float", low=0.0, high=3.0),
        "e": dict(kind="float", low=0.05, high=0.5, step=0.05),
        "f": dict(kind="categorical", choices=4),
    },
}


def distribution(spec):
    if spec["kind"] == "categorical":
        return CategoricalDistribution(list(range(spec["choices"])))
    if spec["kind"] == "int":
        return IntDistribution(spec["low"], spec["high"], log=spec.get("log", False), step=spec.get("step", 1))
    return FloatDistribution(spec["low"], spec["high"], log=spec.get("log", False), step=spec.get("step"))


def draw(rng, spec):
    """A value, more often near the lower end; the ends and repetitions included."""
    part = rng.choice([0.0, 1.0]) if rng.random() < 0.05 else rng.random() ** 2
    if spec["kind"] == "categorical":
        return min(int(part * spec["choices"]), spec["choices"] - 1)
    low, high, step = spec["low"], spec["high"], spec.get("step", 1 if spec["kind"] == "int" else None)
    if step is not None and not spec.get("log"):
        last = math.floor((high - low) / step + 1e-9)
        value = low + round(part * last) * step
        return value if spec["kind"] == "int" else round(value, 9)
    value = low * (high / low) ** part if spec.get("log") else low + part * (high - low)
    return round(value) if spec["kind"] == "int" else min(max(float(f"{value:.6g}"), low), high)


def density_cases():
    for name, space in SPACES.items():
        rng = random.Random(name)
        rows = [[draw(rng, spec) for spec in space.values()] for _ in range(max(COUNTS))]
        points = [[draw(rng, spec) for spec in space.values()] for _ in range(7)] + rows[:2]
        dists = {p: distribution(spec) for p, spec in space.items()}
        parameters = TPESampler()._parzen_estimator_parameters
        as_columns = lambda rows: {p: np.array([dists[p].to_internal_repr(row[i]) for row in rows])
                                   for i, p in enumerate(space)}
        ln_density = {}
        for n in COUNTS:
            estimator = _ParzenEstimator(as_columns(rows[:n]), dists, parameters)
            ln_density[n] = estimator.log_pdf(as_columns(points)).tolist()
        yield dict(name=name, space=space, observed=rows, points=points, ln_density=ln_density)


def history(rng, count, space, inner=()):
    """Trials of every kind. Costs are rounded, so that some are equal."""
    out = []
    for number in range(count):
        kind = rng.choices(["completed", "pruned", "infeasible", "failed", "running"], [12, 3, 3, 1, 2])[0]
        params = {p: draw(rng, spec) for p, spec in space.items()}
        if number % 3 == 0:
            params = {p: v for p, v in params.items() if p not in inner}
        trial = dict(number=number, end=kind, params=params)
        if kind in ("completed", "infeasible"):
            trial["value"] = round(rng.gauss(0, 2), 1) if kind == "completed" else round(0.1 + rng.random(), 1)
        out.append(trial)
    return out


STATES = dict(completed=TrialState.COMPLETE, infeasible=TrialState.COMPLETE, pruned=TrialState.PRUNED,
              failed=TrialState.FAIL, running=TrialState.RUNNING)


def study_of(trials, dists):
    study = optuna.create_study()
    for t in trials:
        infeasible = t["end"] == "infeasible"
        study.add_trial(create_trial(
            state=STATES[t["end"]],
            value={"completed": t.get("value"), "infeasible": -99.0}.get(t["end"]),
            params=t["params"], distributions={p: dists[p] for p in t["params"]},
            constraints=dict(c=t["value"], other=-5.0) if infeasible else dict(c=0.0),
            intermediate_values=dict(t.get("reports", [])),
        ))
    return study


def split_of(study):
    known = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
    trials = study.get_trials(states=known)
    n = sum(t.state != TrialState.RUNNING for t in trials)
    return _split_trials(study, trials, default_gamma(n))


def pruned_history(rng, count, far):
    """Hardly a completed trial among pruned ones: `far` of them got to step 3, the others to an earlier one or to none; every third
    last report has no value."""
    out = []
    for number in range(count):
        kind = "completed" if number == 7 else "infeasible" if number % 11 == 5 else "pruned"
        trial = dict(number=number, end=kind, params={})
        if kind == "pruned":
            steps = range(4 if number % (count // far) == 1 else rng.randrange(4))
            trial["reports"] = [(s, math.nan if rng.randrange(3) == 0 else round(rng.gauss(0, 1), 1)) for s in steps]
        else:
            trial["value"] = round(0.1 + rng.random(), 1)
        out.append(trial)
    return out


def split_cases():
    dists = {}
    few = lambda ends: [dict(number=i, end=e, params={}, **({"value": v} if v is not None else {}))
                        for i, (e, v) in enumerate(ends)]
    cases = {f"{count} trials": history(random.Random(count), count, {}) for count in (3, 14, 40, 90, 330)}
    cases["equal costs"] = few([("completed", 1.0)] * 15)
    cases["all infeasible"] = few([("infeasible", 2.0), ("infeasible", 0.5), ("infeasible", 0.5)] * 7)
    cases["all pruned"] = few([("pruned", None)] * 21)
    cases["infinite costs"] = few([("completed", math.inf), ("completed", -math.inf), ("completed", 0.0)] * 5)
    for count, far in ((20, 1), (60, 2), (150, 10), (240, 40)):
        cases[f"{count} trials, mostly pruned"] = pruned_history(random.Random(count), count, far)
    for trial in (few_reports := pruned_history(random.Random(1), 100, 2)):
        if trial["number"] % 30 != 1:
            trial.pop("reports", None)
    cases["hardly a report"] = few_reports
    for name, trials in cases.items():
        good, bad = split_of(study_of(trials, dists))
        last = lambda t: [[t["reports"][-1][0], str(t["reports"][-1][1])]] if t.get("reports") else []
        ends = [[t["end"], None if "value" not in t else str(t["value"]), *last(t)] for t in trials]
        yield dict(name=name, trials=ends, good=[t.number for t in good], bad=[t.number for t in bad])


def score_cases():
    mixed = SPACES["mixed"]
    for name, count, inner in (("mixed", 90, ()), ("a conditional group", 60, ("b", "c"))):
        rng = random.Random(name)
        trials = history(rng, count, mixed, inner)
        searched = {p: spec for p, spec in mixed.items() if not inner or p in inner}
        points = [{p: draw(rng, spec) for p, spec in searched.items()} for _ in range(12)]
        dists = {p: distribution(spec) for p, spec in mixed.items()}
        within = {p: dists[p] for p in searched}
        study, sampler = study_of(trials, dists), TPESampler()
        sets = split_of(study)
        good, bad = (sampler._build_parzen_estimator(study, within, s, handle_below=k == 0) for k, s in enumerate(sets))
        columns = {p: np.array([dists[p].to_internal_repr(x[p]) for x in points]) for p in within}
        score = sampler._compute_acquisition_func(columns, good, bad)
        yield dict(name=name, space=searched, trials=trials, points=points, score=score.tolist())


def main():
    for title, cases in (("density", density_cases()), ("split", split_cases()), ("score", score_cases())):
        lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
        print("{" if title == "density" else ",", f'"{title}": [\n{lines}\n]', sep="")
    print("}")


main()
