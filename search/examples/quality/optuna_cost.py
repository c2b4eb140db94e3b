"""What a suggestion costs Optuna, and beside it ours: milliseconds, and how often ours goes into Optuna's.

python search/examples/quality/optuna_cost.py target/release/examples/quality [ROUNDS]

In each round ours (`quality --sampler tpe --cost`, shortest of many) and then Optuna's (processor time, three
suggestions a study) on the same spaces and histories; the shortest of all rounds counts. Optuna's
default sampler, studies in memory.
"""

import random
import subprocess
import sys
import time
import warnings

import optuna

SPACES = [("floats", 5), ("floats", 20), ("ints", 5), ("ints", 20)]
HISTORIES = [1_000, 10_000]


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


def ours(program):
    """Shortest time by space and number of trials."""
    lines = subprocess.run(
        [program, "--sampler", "tpe", "--cost"], check=True, capture_output=True, text=True
    ).stdout.splitlines()[1:]
    rows = (line.rsplit(maxsplit=3) for line in lines)
    return {(name.strip(), int(count)): float(shortest) for name, count, shortest, _ in rows}


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    program = sys.argv[1]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    studies = {}
    for kind, dimensions in SPACES:
        space = distributions(kind, dimensions)
        for count in HISTORIES:
            study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=1))
            study.add_trials(history(space, count))
            studies[f"{dimensions} {kind}", count] = study, space
    here = {of: [] for of in studies}
    there = {of: [] for of in studies}
    for _ in range(rounds):
        found = ours(program)
        for of, (study, space) in studies.items():
            here[of].append(found[of])
            for _ in range(3):
                start = time.process_time()
                trial = study.ask(space)
                there[of].append(1e3 * (time.process_time() - start))
                study.tell(trial, 1e3)
    print("space       history      ours    Optuna   ratio")
    for of in studies:
        a, b = min(here[of]), min(there[of])
        print(f"{of[0]:10}  {of[1]:7}  {a:8.4f}  {b:8.2f}  {b / a:6.0f}")


if __name__ == "__main__":
    main()
