"""Compares searches of surfaces (needs scipy).

python benchmarks/surfaces/compare.py DIR ours.jsonl optuna.jsonl

For each surface and after 50 and 100 trials: the median over the runs of how many points of a
thousand are better than the best one found (0 is the best point of all), and of what that point is worth in the years
after. A win or a loss is a two-sided Mann-Whitney test at p < 0.05 of the first figure, not corrected.
"""

import bisect
import json
import pathlib
import statistics
import sys

from scipy.stats import mannwhitneyu


def picks(surface, runs, budget):
    """For each run: how many of a thousand points are better than its best, and that one's later value."""
    values = surface["values"]
    known = sorted(value for value in values if value is not None)
    found = []
    for run in runs:
        tried = [place for place in run["trials"][:budget] if values[place] is not None]
        if not tried:
            found.append((1000.0, None))
            continue
        best = max(tried, key=lambda place: values[place])
        better = len(known) - bisect.bisect_right(known, values[best])
        found.append((1000.0 * better / len(known), surface["later"][best]))
    return found


def main():
    folder, ours, theirs = map(pathlib.Path, sys.argv[1:4])
    surfaces = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    lines = [[json.loads(line) for line in path.read_text().splitlines()] for path in (ours, theirs)]
    modes = {run["mode"] for side in lines for run in side}
    if len(modes) > 1:
        sys.exit(f"runs of different modes cannot be compared: {', '.join(sorted(modes))}")
    for budget in (50, 100):
        score = {"win": 0, "tie": 0, "loss": 0}
        print(f"\n| surface | points | ours | Optuna | p | later: ours | Optuna |, {budget} trials")
        for surface in surfaces:
            of = [[run for run in side if run["surface"] == surface["name"]] for side in lines]
            a, b = (picks(surface, runs, budget) for runs in of)
            left, right = ([rank for rank, _ in side] for side in (a, b))
            p = mannwhitneyu(left, right).pvalue if left != right else 1.0
            higher = statistics.mean(left) - statistics.mean(right)
            end = "tie" if p >= 0.05 else "loss" if higher > 0 else "win"
            score[end] += 1
            later = [statistics.median([v for _, v in side if v is not None]) for side in (a, b)]
            medians = [statistics.median(side) for side in (left, right)]
            print(
                f"| {surface['name']} | {len(surface['values'])} | {medians[0]:.2f} | {medians[1]:.2f} "
                f"| {p:.3f} {end} | {later[0]:.2f} | {later[1]:.2f} |"
            )
        print(f"{score['win']} / {score['tie']} / {score['loss']} (win / tie / loss)")


if __name__ == "__main__":
    main()
