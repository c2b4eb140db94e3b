"""Optuna's side of `cargo run -p trialmill-ingest --example surfaces`: the same lines of JSON.

python benchmarks/surfaces/optuna_runs.py DIR --mode seq --seeds 0..20 --trials 100 > optuna.jsonl

The sampler is Optuna's default (5.0.0: multivariate TPE with the constant liar). A point without a value fails.
"""

import argparse
import collections
import json
import pathlib
import warnings

import optuna


def suggest(trial, axis):
    low, step, count = axis["low"], axis["step"], axis["count"]
    if axis["kind"] == "share":
        return trial.suggest_categorical(axis["name"], list(range(count)))
    high = low + (count - 1) * step
    if axis["kind"] == "int":
        value = trial.suggest_int(axis["name"], round(low), round(high), step=round(step))
    else:
        value = trial.suggest_float(axis["name"], low, high, step=step)
    return round((value - low) / step)


def search(surface, seed, in_flight, trials):
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed), direction="maximize")
    running, told = collections.deque(), []

    def tell():
        trial, place = running.popleft()
        value = surface["values"][place]
        if value is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, value)
        told.append(place)

    for _ in range(trials):
        if len(running) == in_flight:
            tell()
        trial, place = study.ask(), 0
        for axis in surface["axes"]:
            place = place * axis["count"] + suggest(trial, axis)
        running.append((trial, place))
    while running:
        tell()
    return told


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--mode", choices=["seq", "par8"], default="seq")
    parser.add_argument("--seeds", default="0..20")
    parser.add_argument("--trials", type=int, default=100)
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    first, last = map(int, given.seeds.split(".."))
    in_flight = {"seq": 1, "par8": 8}[given.mode]
    for path in sorted(given.folder.glob("*.json")):
        surface = json.loads(path.read_text())
        for seed in range(first, last):
            told = search(surface, seed, in_flight, given.trials)
            line = {"impl": "optuna", "sampler": "default", "mode": given.mode}
            line |= {"surface": surface["name"], "seed": seed, "trials": told}
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
