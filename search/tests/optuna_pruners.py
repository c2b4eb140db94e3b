"""Writes optuna_pruners.json: decisions of Optuna 5.0.0 that the tests of `src/pruner` compare with.

usage: python3 optuna_pruners.py > optuna_pruners.json      (needs optuna==5.0.0, scipy==1.17.1)

`studies` holds studies as sequences of events, with several trials under way at a time: a report is
`[trial, step, cost, 1 if Optuna prunes]`, an end is `[trial, "completed" | "infeasible" | "pruned" | "failed", value]`.
A trial stops when Optuna prunes it. `p_values` holds differences and `scipy.stats.wilcoxon`'s p-value; `brackets` holds
Hyperband's weights for `[min_resource, max_resource, reduction_factor]`; `percentiles` holds `numpy.nanpercentile`.
Everything comes from Python's own generator with fixed seeds.
"""
import json
import math
import random
import warnings

import numpy as np
import optuna
from optuna.pruners import (HyperbandPruner, MedianPruner, PatientPruner, PercentilePruner, SuccessiveHalvingPruner,
                            ThresholdPruner, WilcoxonPruner)
from optuna.trial import TrialState
from scipy import stats

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.simplefilter("ignore")

MAKE = dict(median=MedianPruner, percentile=PercentilePruner, asha=SuccessiveHalvingPruner, hyperband=HyperbandPruner,
            threshold=ThresholdPruner, wilcoxon=WilcoxonPruner)
POWERS = [1, 2, 3, 4, 8, 10, 16, 32, 64, 128, 250]
NINTHS = [1, 2, 3, 5, 9, 12, 27, 40, 81]
EACH = list(range(16))


def made(spec):
    options = dict(spec["options"])
    if spec["kind"] == "patient":
        wrapped = options.pop("wrapped")
        return PatientPruner(wrapped and made(wrapped), **options)
    return MAKE[spec["kind"]](**options)


def pruner(kind, **options):
    return dict(kind=kind, options=options)


def plain(value):
    return value if math.isfinite(value) else str(value)


class Ambiguous(Exception):
    """A trial passed one rung and failed at the next by the same report: see `Asha` on what its reports tell."""


def played(seed, spec, trials, steps, wild, places, quiet_first, at_once=4, skip=0.0):
    """The events of a study, and the bracket of each of its trials."""
    rng = random.Random(seed)
    asked = made(spec)
    study = optuna.create_study(study_name=f"study {seed}", pruner=asked, sampler=optuna.samplers.RandomSampler(seed=0))
    events, under_way, begun = [], [], 0
    while begun < trials or under_way:
        room = 1 if quiet_first and (begun == 0 or under_way and under_way[0]["trial"].number == 0) else at_once
        if begun < trials and len(under_way) < room:
            quiet = quiet_first and begun == 0
            level, left = rng.random(), [s for s in steps if rng.random() >= skip]
            under_way.append(dict(trial=study.ask(), level=level, left=left, costs=[], quiet=quiet))
            begun += 1
            continue
        if begun == trials and rng.random() < 0.05:
            break  # Some trials stay under way.
        one = rng.choice(under_way)
        trial, number = one["trial"], one["trial"].number
        if not one["left"] or rng.random() < (0.0 if one["quiet"] else 0.01):
            under_way.remove(one)
            costs = [c for c in one["costs"] if not math.isnan(c)]
            end, value = "completed", round(sum(costs) / len(costs), 3) if costs else 0.5
            if one["left"] or math.isnan(value):
                end, value = "failed", None
                study.tell(trial, state=TrialState.FAIL)
            else:
                if wild and not one["quiet"] and rng.random() < 0.1:
                    end = "infeasible"
                    trial.set_constraint("c", 1.0)
                study.tell(trial, value)
            events.append([number, end, None if value is None else plain(value)])
            continue
        step = one["left"].pop(0)
        cost = round(one["level"] + rng.gauss(0, 0.3) + 1 / (1 + step), places)
        if one["quiet"]:
            cost = math.nan
        elif rng.random() < wild:
            cost = rng.choice([math.nan, math.nan, math.inf, -math.inf, 1e308, -1e308])
        one["costs"].append(cost)
        before = rungs(study, number)
        trial.report(cost, step)
        pruned = trial.should_prune()
        events.append([number, step, plain(cost), int(pruned)])
        if pruned:
            if rungs(study, number) > before + 1:
                raise Ambiguous
            under_way.remove(one)
            study.tell(trial, state=TrialState.PRUNED)
            events.append([number, "pruned", None])
    if isinstance(asked, HyperbandPruner):
        return events, [asked._get_bracket_id(study, t) for t in study.trials]
    return events, None


def rungs(study, number):
    return sum(key.startswith("completed_rung_") for key in study.trials[number].system_attrs)


def studies():
    cases = [
        ("median", pruner("median"), EACH, {}),
        ("median, late and seldom",
         pruner("median", n_startup_trials=0, n_warmup_steps=3, interval_steps=4, n_min_trials=3), EACH, dict(skip=0.4)),
        ("percentile", pruner("percentile", percentile=25.0, n_startup_trials=2), EACH, dict(skip=0.2, wild=0.1)),
        ("percentile, odd", pruner("percentile", percentile=61.8, n_warmup_steps=2, interval_steps=3), EACH,
         dict(trials=22)),
        ("best", pruner("percentile", percentile=0.0), EACH, {}),
        ("worst", pruner("percentile", percentile=100.0, n_startup_trials=0), EACH, dict(places=1, trials=22)),
        ("asha", pruner("asha", min_resource=1, reduction_factor=2), EACH, {}),
        ("asha, equal costs", pruner("asha", min_resource=1, reduction_factor=3), EACH, dict(places=1, wild=0.1)),
        ("asha, later", pruner("asha", min_resource=2, reduction_factor=2, min_early_stopping_rate=1, bootstrap_count=3),
         EACH, dict(trials=36)),
        ("asha, auto", pruner("asha", reduction_factor=2), POWERS, dict(quiet_first=True)),
        ("asha, several rungs at once", pruner("asha", min_resource=1, reduction_factor=2), POWERS,
         dict(skip=0.5, trials=25)),
        ("hyperband", pruner("hyperband", max_resource=15, reduction_factor=2), EACH, dict(trials=40)),
        ("hyperband, auto", pruner("hyperband"), NINTHS, dict(quiet_first=True, trials=45)),
        ("hyperband, bootstrap", pruner("hyperband", min_resource=2, max_resource=81, bootstrap_count=2), NINTHS,
         dict(trials=40)),
        ("patient alone", pruner("patient", wrapped=None, patience=2), EACH, dict(wild=0.1, trials=25)),
        ("patient, with tolerance", pruner("patient", wrapped=None, patience=0, min_delta=0.5), EACH, dict(trials=25)),
        ("patient median", pruner("patient", wrapped=pruner("median", n_startup_trials=3), patience=1, min_delta=0.05),
         EACH, dict(skip=0.2, trials=30)),
        ("threshold", pruner("threshold", lower=-0.3, upper=1.6), EACH, dict(trials=20)),
        ("threshold, upper only", pruner("threshold", upper=1.2, n_warmup_steps=3, interval_steps=3), EACH,
         dict(skip=0.3, trials=20)),
        ("wilcoxon", pruner("wilcoxon"), EACH, dict(wild=0.003)),
        ("wilcoxon, equal costs", pruner("wilcoxon", p_threshold=0.3, n_startup_steps=4), list(range(20)),
         dict(places=1, wild=0.0, trials=40)),
        ("wilcoxon, any doubt", pruner("wilcoxon", p_threshold=0.77, n_startup_steps=0), EACH, dict(wild=0.0, skip=0.2)),
    ]
    for name, spec, steps, options in cases:
        options = dict(dict(trials=36, wild=0.03, places=3, quiet_first=False), **options)
        for seed in range(2000):
            try:
                events, brackets = played(f"{name} {seed}", spec, steps=steps, **options)
                break
            except Ambiguous:
                continue
        yield dict(name=name, pruner=spec, brackets=brackets, events=events)


def p_values():
    rng = random.Random("p-values")
    draws = [(n, places) for n in (2, 3, 5, 9, 13, 14, 20, 49, 50, 51, 60) for places in (2, 1, 0)]
    for n, places in draws + [(150, 1)]:
        shift = rng.gauss(0.2, 0.4)
        d = [round(rng.gauss(shift, 1), places) + 0.0 for _ in range(n)]
        yield [d, float(stats.wilcoxon(d, alternative="greater", zero_method="zsplit").pvalue)]
    special = [[0.0] * 5, [0.0] * 14, [0.0] * 60, [1.0] * 13, [1.0] * 14, [-1.0] * 20, [math.inf, -math.inf, 1.0],
               [0.0, 1.0], [0.0] * 3 + [float(i) for i in range(1, 13)], [float(i) for i in range(1, 51)]]
    for d in special:
        p = float(stats.wilcoxon(d, alternative="greater", zero_method="zsplit").pvalue)
        yield [[plain(x) for x in d], p]


def brackets():
    def weights(low, high, factor):
        asked = HyperbandPruner(min_resource=low, max_resource=high, reduction_factor=factor)
        asked._try_initialization(None)
        return [low, high, factor, asked._trial_allocation_budgets]
    for factor in (2, 3, 4, 5, 6, 10):
        for power in range(20):
            if factor**power <= 1_000_000:
                yield from (weights(1, high, factor) for high in {factor**power, factor**power + 1})
    rng = random.Random("brackets")
    for _ in range(30):
        low, factor = rng.randint(1, 50), rng.randint(2, 8)
        yield weights(low, rng.choice([rng.randint(low, 2000), low * factor ** rng.randint(0, 4)]), factor)


def percentiles():
    rng = random.Random("percentiles")
    for n in (1, 2, 3, 4, 7, 10, 21):
        for _ in range(5):
            values = [round(rng.gauss(0, 1), 3) for _ in range(n)]
            if rng.random() < 0.3:
                values[0] = rng.choice([math.inf, -math.inf, 1e308])
            percentile = rng.choice([0.0, 100.0, 50.0, 25.0, rng.uniform(0, 100)])
            answer = float(np.nanpercentile(values, percentile))
            yield [sorted(map(plain, values), key=float), percentile, plain(answer)]


def main():
    titles = dict(studies=studies(), p_values=p_values(), brackets=brackets(), percentiles=percentiles())
    for at, (title, cases) in enumerate(titles.items()):
        lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
        print("," if at else "{", f'"{title}": [\n{lines}\n]', sep="")
    print("}")


main()
