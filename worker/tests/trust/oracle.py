"""The figures of trust, computed once more: `tests/trust.rs` holds those of the worker against it.

usage: python3 oracle.py < question.json > answer.json      (Python 3.9 and its own library)

Written from docs/trust.md and the papers that it names, not from the Rust. A question has what a
book was worth on each day, and nothing that was computed from it; its `ask` names one of QUESTIONS.
A figure that has no value is null. Sharpe ratios are per day but where a name says `annual`.
"""
import json
import math
import random
import sys
from itertools import combinations
from operator import itemgetter
from statistics import NormalDist, median, mode, variance

PHI = NormalDist()
EULER = 0.5772156649015329  # the constant of Euler and Mascheroni
FEWEST_TRIALS, FEWEST_DAYS, FEWEST_BY_CHANCE, FEWEST_RESAMPLED = 20, 252, 30, 20
RESAMPLES = 8_000
# Two Sharpe ratios that differ by less are one to whoever adds in another order: those of a day are
# about 0.05, and rounding leaves some 1e-15 of them.
ROUNDING = 1e-12


# Returns and what is said of them


def returns_of(equity):
    return [now / before - 1.0 for before, now in zip(equity, equity[1:])]


def mean(values):
    return math.fsum(values) / len(values)


def varies(values):
    return any(value != values[0] for value in values)


def sharpe(returns, riskless):
    """Mean over what is riskless by the standard deviation of a sample."""
    if len(returns) < 2 or not varies(returns):
        return None
    centre = mean(returns)
    squares = math.fsum((r - centre) ** 2 for r in returns)
    return (centre - riskless) / math.sqrt(squares / (len(returns) - 1))


def moments(returns, riskless):
    """Sharpe ratio, skewness and (not excess) kurtosis, the last two those of the sample itself."""
    centre = mean(returns)
    second, third, fourth = (mean([(r - centre) ** k for r in returns]) for k in (2, 3, 4))
    return {
        "sharpe": sharpe(returns, riskless),
        "skew": third / second**1.5,
        "kurtosis": fourth / second**2,
    }


def max_drawdown(equity, cash):
    peak, deepest = cash, 0.0
    for worth in equity:
        peak = max(peak, worth)
        deepest = max(deepest, 1.0 - worth / peak)
    return deepest


# Bailey, Lopez de Prado (2012, 2014)


def probabilistic(sharpe, skew, kurtosis, returns, bar):
    """The probability that the true ratio is above `bar`, from so many returns."""
    spread = 1.0 - skew * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2
    return PHI.cdf((sharpe - bar) * math.sqrt(returns - 1) / math.sqrt(spread))


def expected_maximum(spread, trials):
    """Of the Sharpe ratios of `trials` without skill, whose variance is `spread`."""
    return math.sqrt(spread) * (
        (1.0 - EULER) * PHI.inv_cdf(1.0 - 1.0 / trials)
        + EULER * PHI.inv_cdf(1.0 - 1.0 / (trials * math.e))
    )


def deflated(sharpe, skew, kurtosis, returns, spread, trials):
    return probabilistic(sharpe, skew, kurtosis, returns, expected_maximum(spread, trials))


# Bailey, Borwein, Lopez de Prado, Zhu (2017)


class Ranked:
    """A trial of the cross-validation: its excess returns, and of each block what a half needs.

    Deviations from the mean over all days are summed, so that a half's variance is not the small
    difference of two large sums.
    """

    def __init__(self, excess, edges):
        self.excess, self.centre = excess, mean(excess)
        blocks = [excess[a:b] for a, b in zip(edges, edges[1:])]
        self.first = [math.fsum(r - self.centre for r in block) for block in blocks]
        self.second = [math.fsum((r - self.centre) ** 2 for r in block) for block in blocks]
        self.still = {b: block[0] for b, block in enumerate(blocks) if not varies(block)}

    def moves(self, half):
        if not all(block in self.still for block in half):
            return True
        return varies([self.still[block] for block in half])

    def ratio(self, half, take, days):
        if self.still and not self.moves(half):
            return 0.0
        first, second = sum(take(self.first)), sum(take(self.second))
        return (self.centre + first / days) / math.sqrt((second - first**2 / days) / (days - 1))


def overfitting(series, riskless=0.0, blocks=16):
    """How often the best of half the blocks is in the lower half of the ranks on the others.

    The relative rank of the paper is rank / (N + 1), that of equals the mean of theirs; below 1/2
    counts as 1, at it (the median itself) as 1/2. Of equals the first is the best. A half without
    any movement has the ratio 0. Block b begins at day b n / blocks, rounded down.

    Trials that made the same deals in a half differ there by rounding, and which of them is the
    better nobody can tell: `low` and `high` are what comes of telling it either way.
    """
    series = [[r - riskless for r in one] for one in series if varies(one)]
    if len(series) < FEWEST_TRIALS and blocks == 16:
        return None
    days = len(series[0])
    edges = [b * days // blocks for b in range(blocks + 1)]
    sizes = [b - a for a, b in zip(edges, edges[1:])]
    trials = [Ranked(one, edges) for one in series]
    # Trials that are the same on every day are equal in every half, whoever adds.
    known = {}
    same = [known.setdefault(tuple(one), place) for place, one in enumerate(series)]
    everyone = range(len(trials))

    def scores(half):
        take = itemgetter(*half)
        size = sum(take(sizes))
        return [trial.ratio(half, take, size) for trial in trials]

    def rank(score, who):
        """1, 1/2 or 0: the least and the most that can be told."""
        value = score[who]
        less = sum(other < value - ROUNDING for other in score)
        more = sum(other > value + ROUNDING for other in score)
        # Equal by what they are: the same trial, or neither moved.
        equal = sum(
            same[other] == same[who] or score[other] == value == 0.0 for other in everyone
        )
        unclear = len(score) - less - more - equal
        told = lambda below, above: 0.5 if below == above else float(below < above)
        return told(less + unclear, more), told(less, more + unclear)

    splits, low, high = 0, 0.0, 0.0
    for half in combinations(range(blocks), blocks // 2):
        if half[0] != 0:
            break  # Each split with its mirror image: the half with block 0 stands for both.
        rest = tuple(block for block in range(blocks) if block not in half)
        here, there = scores(half), scores(rest)
        if splits % 1_000 == 0:
            check(trials, half, edges, here)
        for past, future in ((here, there), (there, here)):
            top = max(past)
            best = [who for who in everyone if past[who] >= top - ROUNDING]
            # Of those that are equal for certain the first.
            firsts = {same[who] if past[who] else "still": who for who in reversed(best)}
            ranks = [rank(future, who) for who in firsts.values()]
            low += min(least for least, _ in ranks)
            high += max(most for _, most in ranks)
            splits += 1
    return {"low": low / splits, "high": high / splits, "splits": splits, "trials": len(series)}


def check(trials, half, edges, scores):
    """The ratios of a half from its daily returns themselves."""
    for trial, score in zip(trials, scores):
        daily = [r for block in half for r in trial.excess[edges[block] : edges[block + 1]]]
        wanted = sharpe(daily, 0.0) or 0.0
        assert abs(score - wanted) < ROUNDING, (half, score, wanted)


def effective_trials(series, riskless, blocks=16):
    """Appendix A.3 of Bailey, Lopez de Prado (2014), of the mean returns of blocks, rounded up."""
    series = [[r - riskless for r in one] for one in series if varies(one)]
    days = len(series[0])
    edges = [b * days // blocks for b in range(blocks + 1)]
    means = [[mean(one[a:b]) for a, b in zip(edges, edges[1:])] for one in series]
    pairs = [correlation(a, b) for a, b in combinations(means, 2)]
    common = min(max(mean(pairs), 0.0), 1.0)
    return math.ceil(common + (1.0 - common) * len(series) - 1e-9)


def correlation(a, b):
    a, b = ([value - mean(one) for value in one] for one in (a, b))
    squares = math.fsum(x * x for x in a) * math.fsum(y * y for y in b)
    return math.fsum(x * y for x, y in zip(a, b)) / math.sqrt(squares)


# Politis, White (2004) with the correction of Patton, Politis, White (2009); Politis, Romano (1994)


def block_length(returns):
    """The mean length of a block that is best for the mean under the stationary bootstrap."""
    n, centre = len(returns), mean(returns)
    apart = [r - centre for r in returns]
    quiet = max(5, math.ceil(math.sqrt(math.log10(n))))
    furthest = math.ceil(math.sqrt(n)) + quiet
    covariance = [
        math.fsum(x * y for x, y in zip(apart, apart[lag:])) / n for lag in range(furthest + 1)
    ]
    noise = 2.0 * math.sqrt(math.log10(n) / n)
    loud = [lag for lag in range(1, furthest + 1) if abs(covariance[lag] / covariance[0]) >= noise]
    reach = next(
        (
            lag
            for lag in range(furthest - quiet + 1)
            if not any(lag < other <= lag + quiet for other in loud)
        ),
        max(loud, default=0),
    )
    width = min(2 * max(reach, 1), furthest)
    lags = range(-width, width + 1)
    flat_top = lambda share: 1.0 if share <= 0.5 else 2.0 * (1.0 - share)
    weighted = [(abs(k), flat_top(abs(k) / width) * covariance[abs(k)]) for k in lags]
    slope = math.fsum(k * value for k, value in weighted)
    spectrum = math.fsum(value for _, value in weighted)
    # The correction of 2009: of the stationary bootstrap D is 2 g(0)^2.
    best = (2.0 * slope**2 / (2.0 * spectrum**2) * n) ** (1.0 / 3.0)
    return min(max(best, 1.0), math.ceil(min(3.0 * math.sqrt(n), n / 3.0)))


def resampled(returns, riskless, block, seed):
    """Sharpe ratios of resamples: blocks of a geometric length, from anywhere, round the end."""
    chance, n = random.Random(seed), len(returns)
    centre, usual = mean(returns), mode(returns)
    first, second, unusual = [0.0], [0.0], [0]
    for r in returns + returns:
        first.append(first[-1] + (r - centre))
        second.append(second[-1] + (r - centre) ** 2)
        unusual.append(unusual[-1] + (r != usual))
    ends = math.log1p(-1.0 / block) if block > 1.0 else None
    ratios = []
    for _ in range(RESAMPLES):
        left, sum_1, sum_2, moves = n, 0.0, 0.0, 0
        while left:
            start = chance.randrange(n)
            # 1 - random() is above 0.
            length = 1 + int(math.log(1.0 - chance.random()) / ends) if ends else 1
            length = min(length, left)
            sum_1 += first[start + length] - first[start]
            sum_2 += second[start + length] - second[start]
            moves += unusual[start + length] - unusual[start]
            left -= length
        if not moves:
            ratios.append(0.0)  # All of it days in cash.
            continue
        deviation = math.sqrt((sum_2 - sum_1**2 / n) / (n - 1))
        ratios.append((centre + sum_1 / n - riskless) / deviation)
    return sorted(ratios)


def interval(returns, riskless, seed):
    if len(returns) < FEWEST_RESAMPLED or not varies(returns):
        return None
    block = block_length(returns)
    ratios = resampled(returns, riskless, block, seed)
    at = lambda share: ratios[round(share * (len(ratios) - 1))]
    return {
        "low": at(0.025),
        "high": at(0.975),
        "deviation": math.sqrt(variance(ratios)),
        "resamples": len(ratios),
        "block": block,
    }


# One step away


def neighbours(space, constraints, point):
    """The points one step from `point`. A constraint is `NAME < NAME`."""
    below = [tuple(side.strip() for side in text.split("<")) for text in constraints]
    found = []
    for one in space:
        for value in steps(one, point[one["name"]]):
            near = {**point, one["name"]: value}
            if all(near[a] < near[b] for a, b in below):
                found.append(near)
    return found


def steps(one, value):
    low, high = one["low"], one["high"]
    if one["log"]:
        part = (math.log(high) - math.log(low)) / 20.0
        near = [math.exp(math.log(value) - part), math.exp(math.log(value) + part)]
        if one["kind"] == "int":
            near = [min(round(near[0]), value - 1), max(round(near[1]), value + 1)]
    else:
        step = one["step"] or (high - low) / 20.0
        near = [value - step, value + step]
    return [there for there in near if low <= there <= high]


def neighbourhood(best, values, is_loss):
    """Median and worst of what the neighbours keep. None is a point without a value."""
    if not values or best <= 0.0:
        return None
    worse = lambda value: value - best if is_loss else best - value
    kept = [0.0 if value is None else 1.0 - worse(value) / best for value in values]
    return {"points": len(kept), "median": median(kept), "worst": min(kept)}


# A search


def assess(
    initial_cash,
    periods_per_year,
    risk_free_rate,
    objective,
    windows,
    holdout,
    given,
    chance,
    prior_trials,
    around,
):
    """The figures of a search from the worth of its books, day by day.

    Each of `windows` has `trials` (`number`, `equity`, `feasible`) and `test`: none, or its `days`
    and the `equity` of its pick there, null where it has none. `around` has the equity of the
    neighbours of the best point, `chance` that of points that chance chose (null: the trials
    themselves but the first `given`), `holdout` that of the best point on the days held out.
    """
    riskless, annual = risk_free_rate / periods_per_year, math.sqrt(periods_per_year)
    is_loss = objective == "max_drawdown"

    def ratio(equity):
        return None if equity is None else sharpe(returns_of(equity), riskless)

    def annualized(ratio):
        return None if ratio is None else ratio * annual

    def value(equity):
        if objective == "max_drawdown":
            # Who never trades has no value to speak of.
            return max_drawdown(equity, initial_cash) if varies(equity) else None
        return annualized(ratio(equity))

    def pick(trials):
        able = [(value(t["equity"]), t) for t in trials if t["feasible"]]
        able = [(worth, t) for worth, t in able if worth is not None]
        # Among equals the lowest number.
        order = lambda one: (one[0] if is_loss else -one[0], one[1]["number"])
        return min(able, key=order)[1] if able else None

    picks = [pick(window["trials"]) for window in windows]
    best, trials = picks[-1], windows[-1]["trials"]
    answer = {
        "windows": [
            {
                "number": picked and picked["number"],
                "in_sample_annual": annualized(ratio(picked and picked["equity"])),
                "test_annual": annualized(ratio(window["test"] and window["test"]["equity"])),
            }
            for window, picked in zip(windows, picks)
        ],
        "out_of_sample": out_of_sample(windows, picks, ratio, initial_cash, riskless, annual),
        "holdout_annual": annualized(ratio(holdout)),
        "best": {"number": best["number"], "value": value(best["equity"])},
    }

    series = [returns_of(t["equity"]) for t in trials]
    answer["overfitting"] = overfitting(series, riskless)
    answer["effective_trials"] = effective_trials(series, riskless)

    daily = returns_of(best["equity"])
    shape = moments(daily, riskless)
    answer["moments"] = shape
    answer["probabilistic"] = probabilistic(**shape, returns=len(daily), bar=0.0)
    attempts = sum(len(window["trials"]) for window in windows)
    by_chance = [t["equity"] for t in trials[given:]] if chance is None else chance
    ratios = [one for one in map(ratio, by_chance) if one is not None]
    answer["attempts"], answer["deflated"] = attempts, None
    enough = attempts >= FEWEST_TRIALS and len(daily) + 1 >= FEWEST_DAYS
    if enough and len(ratios) >= FEWEST_BY_CHANCE:
        spread = min(variance(ratios), 1.0 / (len(daily) - 1))
        trials_in_all = attempts + prior_trials
        answer["deflated"] = deflated(
            **shape, returns=len(daily), spread=spread, trials=trials_in_all
        )
    near = [value(equity) for equity in around]
    answer["neighbourhood"] = neighbourhood(answer["best"]["value"], near, is_loss)
    return answer


def out_of_sample(windows, picks, ratio, initial_cash, riskless, annual):
    tested = [(w["test"], picked) for w, picked in zip(windows, picks) if w["test"]]
    if not tested:
        return None
    daily = []
    for test, _ in tested:
        if test["equity"] is None:
            daily += [0.0] * test["days"]
        else:
            # The first row of a window is its first one in cash.
            daily += returns_of([initial_cash] + test["equity"])
    joined = daily[1:]
    in_sample = [ratio(picked["equity"]) for _, picked in tested if picked]
    in_sample = [one for one in in_sample if one is not None]
    joined_ratio = sharpe(joined, riskless)
    return {
        "returns": joined,
        "sharpe_annual": joined_ratio and joined_ratio * annual,
        "in_sample_mean_annual": mean(in_sample) * annual if in_sample else None,
        "interval": interval(joined, riskless, seed=1),
    }


QUESTIONS = {
    "assess": assess,
    "deflated": deflated,
    "neighbours": neighbours,
    "overfitting": overfitting,
    "probabilistic": probabilistic,
}

if __name__ == "__main__":
    question = json.load(sys.stdin)
    answer = QUESTIONS[question.pop("ask")](**question)
    json.dump(answer, sys.stdout, allow_nan=False)
