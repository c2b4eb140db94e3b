"""What a suggestion costs Optuna: milliseconds of processor time, shortest and middle of a few.

python search/examples/quality/optuna_cost.py [REPEATS]

The same spaces and histories as `quality --sampler tpe --cost`, Optuna's default sampler, studies in memory.
"""

import random
import statistics
import sys
import time
import warnings

import optuna


def distributions(kind, dimensions):
    if kind == "ints":
        one = optuna.distributions.IntDistribution(0, 199)
    else:
        one = optuna.distributions.FloatDistribution(-5.0, 5.0)
    return {f"x{i:02}": one for i in range(dimensions)}


def history(space, count):
    draw = random.Random(1)
    for number in range(count):
        params = {}
        for name, of in space.items():
            whole = isinstance(of, optuna.distributions.IntDistribution)
            params[name] = draw.randint(of.low, of.high) if whole else draw.uniform(of.low, of.high)
        value = sum(x * x for x in params.values())
        yield optuna.trial.create_trial(params=params, distributions=space, value=value)


def main():
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    print("space       history      shortest        middle")
    for kind, dimensions in [("floats", 5), ("floats", 20), ("ints", 5), ("ints", 20)]:
        space = distributions(kind, dimensions)
        for count in [1_000, 10_000]:
            study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=1))
            study.add_trials(history(space, count))
            times = []
            for _ in range(repeats):
                start = time.process_time()
                trial = study.ask(space)
                times.append(1e3 * (time.process_time() - start))
                study.tell(trial, 1e3)
            name = f"{dimensions} {kind}"
            print(f"{name:10}  {count:7}  {min(times):12.2f}  {statistics.median(times):12.2f}", flush=True)


if __name__ == "__main__":
    main()
