"""Win, tie and loss of one sampler against another: what docs/benchmarks/search.md counts.

usage: versus.py OURS.jsonl THEIRS.jsonl --mode seq --ours auto --theirs tpe_mv [--seeds 0..20] [--at 50,100]

Both files hold the lines that the example `quality` prints. Regret after n trials: the true value of the
trial with the best reported one, among the first n told. A win or a loss: a two-sided Mann-Whitney
test at p < 0.05 per problem, not corrected. Needs scipy.
"""

import argparse
import json
from math import inf as INFINITY
from statistics import median

from scipy.stats import mannwhitneyu


def regrets(file, mode, sampler, seeds, at):
    found = {}
    for line in open(file):
        run = json.loads(line)
        if (run["mode"], run["sampler"]) == (mode, sampler) and run["seed"] in seeds:
            # An infeasible trial has no value.
            feasible = [trial for trial in run["trials"][:at] if trial[0] is not None]
            best = min(feasible, key=lambda trial: trial[0], default=(INFINITY, INFINITY))
            found.setdefault(run["problem"], []).append(best[1])
    return found


def sign(ours, theirs):
    if len(set(ours + theirs)) == 1:
        return " "
    test = mannwhitneyu(ours, theirs)
    if test.pvalue >= 0.05:
        return " "
    return "+" if test.statistic < len(ours) * len(theirs) / 2 else "-"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs=2)
    parser.add_argument("--mode", default="seq")
    parser.add_argument("--ours", default="auto")
    parser.add_argument("--theirs", default="tpe_mv")
    parser.add_argument("--seeds", default="0..20")
    parser.add_argument("--at", default="50,100")
    given = parser.parse_args()
    seeds = range(*map(int, given.seeds.split("..")))
    for at in map(int, given.at.split(",")):
        ours, theirs = (
            regrets(file, given.mode, sampler, seeds, at)
            for file, sampler in zip(given.files, (given.ours, given.theirs))
        )
        signs = []
        print(f"{given.mode}, {at} trials, seeds {given.seeds}: {given.ours}, {given.theirs}")
        for problem in ours:
            if problem not in theirs:
                continue
            a, b = ours[problem], theirs[problem]
            signs.append(sign(a, b))
            print(f"  {problem:12} {median(a):11.4g} {median(b):11.4g}  {signs[-1]}  ({len(a)}, {len(b)} seeds)")
        print(f"  won {signs.count('+')}, tied {signs.count(' ')}, lost {signs.count('-')}")


if __name__ == "__main__":
    main()
