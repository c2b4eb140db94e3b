"""Optuna on the problems with infeasible points, in the form of `quality`.

usage: optuna_limited.py --mode seq|par8 --seeds 0..20 [--trials 100]

TPESampler(multivariate=True) with a constraints_func, and the constant liar where eight trials are in flight, which are told first
in, first out. Nothing is told of by how much a feasible trial is so, as trialmill tells nothing of it.
"""

import argparse
import json
import math
import warnings
from collections import deque

import optuna

MODES = {
    "trend": (20, 120, 0.02, 1.0, 1.2, 0.15),
    "revert": (10, 60, 0.005, 0.2, 2.0, 0.30),
    "breakout": (46, 220, 0.04, 3.0, 0.6, 0.0),
    "carry": (30, 260, 0.01, 0.05, 2.5, 0.60),
}


def bowl(limit):
    def evaluate(trial):
        x = [trial.suggest_float(f"x{i}", 0, 1) for i in range(5)]
        return sum((v - 0.8) ** 2 for v in x), [sum(x) - limit]

    return evaluate


def gramacy(trial):
    a, b = (trial.suggest_float(f"x{i}", 0, 1) for i in range(2))
    wave = 0.5 * math.sin(2 * math.pi * (a * a - 2 * b))
    return a + b, [1.5 - a - 2 * b - wave, a * a + b * b - 1.5]


def mixed(trial):
    fast = trial.suggest_int("fast", 4, 60, step=2)
    slow = trial.suggest_int("slow", 20, 300, step=10)
    stop = trial.suggest_float("stop", 1e-3, 1e-1, log=True)
    size = trial.suggest_float("size", 1e-2, 1e1, log=True)
    thr = trial.suggest_float("thr", 0, 3)
    best = MODES[trial.suggest_categorical("mode", list(MODES))]
    d1, d2 = (fast - best[0]) / 56, (slow - best[1]) / 280
    d3 = math.log(stop / best[2]) / math.log(100)
    d4 = math.log(size / best[3]) / math.log(1000)
    d5 = (thr - best[4]) / 3
    hills = 2 * (d1 + d2) ** 2 + 0.05 * (1 - math.cos(6 * math.pi * d1))
    value = best[5] + 2 * d1 * d1 + 2 * d2 * d2 + 3 * d3 * d3 + d4 * d4 + d5 * d5 + hills
    return value, [math.log(stop * size / 0.02)]


PROBLEMS = {
    "bowl_half": bowl(2.5),
    "bowl_tenth": bowl(1.66),
    "bowl_hundredth": bowl(1.037),
    "gramacy2": gramacy,
    "mixed_limited": mixed,
}


def run(evaluate, mode, seed, trials):
    sampler = optuna.samplers.TPESampler(
        multivariate=True,
        seed=seed,
        constant_liar=mode == "par8",
        constraints_func=lambda trial: trial.user_attrs["violations"],
    )
    study = optuna.create_study(sampler=sampler)
    told, flight = [], deque()

    def tell():
        trial, value, violations = flight.popleft()
        trial.set_user_attr("violations", violations)
        study.tell(trial, value)
        told.append([None, None] if max(violations) > 0 else [value, value])

    for _ in range(trials):
        if len(flight) == (8 if mode == "par8" else 1):
            tell()
        trial = study.ask()
        value, violations = evaluate(trial)
        # By how much it is feasible is not told.
        flight.append((trial, value, [max(0.0, violation) for violation in violations]))
    while flight:
        tell()
    return told


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", default="seq")
    parser.add_argument("--seeds", default="0..20")
    parser.add_argument("--trials", type=int, default=100)
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    sampler = "tpe_mv_cl" if given.mode == "par8" else "tpe_mv"
    for seed in range(*map(int, given.seeds.split(".."))):
        for problem, evaluate in PROBLEMS.items():
            trials = run(evaluate, given.mode, seed, given.trials)
            print(json.dumps({"impl": "optuna", "mode": given.mode, "sampler": sampler,
                              "problem": problem, "seed": seed, "trials": trials}))


if __name__ == "__main__":
    main()
