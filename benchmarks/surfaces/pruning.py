"""Compares searches of surfaces that prune with one that does not (needs scipy).

python benchmarks/surfaces/pruning.py none.jsonl asha.jsonl [MORE.jsonl ...]

Each file is what `surfaces prune` printed with one pruner, the first one with none. For trials that are one backtest and
for those that are the mean of segments: the median and the mean over all runs of how many points of a thousand are
better than the best one found (all of them where a run found none), on how many surfaces that is a win or a loss against no pruner (two-sided
Mann-Whitney test at p < 0.05, not corrected), the mean of what that point is worth in the years after, and
what a run cost (in whole backtests) and tried.
"""

import json
import pathlib
import statistics
import sys

from scipy.stats import mannwhitneyu


def ranks(runs, surface=None):
    """How many of a thousand are better; all of them where nothing was found."""
    return [1000.0 if r["better"] is None else r["better"] for r in runs if surface in (None, r["surface"])]


def main():
    files = [[json.loads(line) for line in pathlib.Path(path).read_text().splitlines()] for path in sys.argv[1:]]
    same = {tuple(sorted({(run["sampler"], run["budget"], run["surface"], run["seed"]) for run in runs})) for runs in files}
    if len(same) > 1 or {run["pruner"] for run in files[0]} != {"none"}:
        sys.exit("the first file must be of the pruner none, and all of one sampler, budget, surfaces and seeds")
    surfaces = sorted({run["surface"] for run in files[0]})
    for trial in ("whole", "mean"):
        print(f"\n| {files[0][0]['sampler']}, {trial} | median | mean | win / tie / loss | later | spent | trials | completed |")
        of = [[run for run in runs if run["trial"] == trial] for runs in files]
        for runs in of:
            score = [0, 0, 0]
            for surface in surfaces:
                own, none = ranks(runs, surface), ranks(of[0], surface)
                test = mannwhitneyu(own, none)
                # Of all pairs of runs, in how many it is better with the pruner.
                better = 1 - test.statistic / (len(own) * len(none))
                score[1 if not test.pvalue < 0.05 else 0 if better > 0.5 else 2] += 1
            later = statistics.mean([run["later"] for run in runs if run["later"] is not None] or [float("nan")])
            spent, trials, completed = (statistics.mean(run[n] for run in runs) for n in ("spent", "trials", "completed"))
            print(
                f"| {runs[0]['pruner']} | {statistics.median(ranks(runs)):.2f} | {statistics.mean(ranks(runs)):.1f} "
                f"| {' / '.join(map(str, score))} | {later:.2f} | {spent:.1f} | {trials:.0f} | {completed:.0f} |"
            )


if __name__ == "__main__":
    main()
