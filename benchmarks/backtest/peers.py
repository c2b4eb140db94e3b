"""vectorbt, backtesting.py and pandas on the same bars and the same hundred pairs of windows.

  peers.py FILE ROWS SYMBOLS {vectorbt,vectorbt-sweep,backtesting,pandas-pair}

FILE as benchmarks/backtest/ceiling.c reads it. One thread; CPU time of the best repetition after a
warm-up. Prints one JSON line. `check` is the sum of the final equities over all measured trials and
symbols: it must agree with the other programs' for the same trials.
"""

import json
import sys
import time
import warnings

import numpy as np
import pandas as pd

warnings.filterwarnings("ignore")
FEE, SLIP, CASH = 0.0003, 0.0001, 100_000.0
PAIRS = [(3 + t % 10, 20 + 3 * (t // 10 % 10)) for t in range(100)]


def load(path, rows, symbols):
    raw = np.fromfile(path, dtype="<f8").reshape(symbols, 2, rows)
    index = pd.bdate_range("1950-01-02", periods=rows) if rows < 20_000 else pd.date_range(
        "1950-01-02", periods=rows, freq="h")
    return (pd.DataFrame(raw[:, 0].T, index=index), pd.DataFrame(raw[:, 1].T, index=index))


def best_of(work, trials, rounds):
    work()
    best, check = float("inf"), 0.0
    for _ in range(rounds):
        begin = time.process_time()
        check = work()
        best = min(best, (time.process_time() - begin) / trials)
    return best, check


def signals(close, short, long):
    gap = close.rolling(short).mean() - close.rolling(long).mean()
    before = gap.shift(1)
    known = before.notna() & gap.notna()
    return known & (before <= 0) & (gap > 0), known & (before >= 0) & (gap < 0)


def vectorbt_single(open_, close):
    import vectorbt as vbt

    pairs = PAIRS[:3]

    def work():
        total = 0.0
        for short, long in pairs:
            enter, leave = signals(close, short, long)
            book = vbt.Portfolio.from_signals(
                close, enter.shift(1, fill_value=False), leave.shift(1, fill_value=False),
                price=open_, init_cash=CASH, fees=FEE, slippage=SLIP, freq="1D")
            book.max_drawdown(), book.sharpe_ratio()
            total += float(np.sum(book.final_value()))
        return total

    return *best_of(work, len(pairs), 5), len(pairs)


def vectorbt_sweep(open_, close):
    import vectorbt as vbt

    shorts, longs = zip(*PAIRS)

    def work():
        fast = vbt.MA.run(close[0], window=list(shorts), short_name="fast")
        slow = vbt.MA.run(close[0], window=list(longs), short_name="slow")
        enter, leave = fast.ma_crossed_above(slow), fast.ma_crossed_below(slow)
        book = vbt.Portfolio.from_signals(
            close[0], enter.shift(1, fill_value=False), leave.shift(1, fill_value=False),
            price=open_[0], init_cash=CASH, fees=FEE, slippage=SLIP, freq="1D")
        book.max_drawdown(), book.sharpe_ratio()
        return float(np.sum(book.final_value()))

    return *best_of(work, len(PAIRS), 3), len(PAIRS)


def backtesting_py(open_, close):
    import backtesting
    from backtesting import Backtest, Strategy

    backtesting.backtesting._tqdm = lambda it, **_: it
    symbols = list(close.columns)[:20]
    pairs = PAIRS[:2]

    class Cross(Strategy):
        short = 5
        long = 20

        def init(self):
            enter, leave = signals(pd.Series(self.data.Close, index=self.data.index), self.short, self.long)
            self.enter = self.I(lambda: enter.to_numpy(float))
            self.leave = self.I(lambda: leave.to_numpy(float))

        def next(self):
            if self.enter[-1] and not self.position:
                self.buy()
            elif self.leave[-1] and self.position:
                self.position.close()

    def work():
        for short, long in pairs:
            for symbol in symbols:
                frame = pd.DataFrame({"Open": open_[symbol], "Close": close[symbol]})
                frame["High"], frame["Low"] = frame.max(axis=1), frame.min(axis=1)
                frame["Volume"] = 1e6
                Backtest(frame, Cross, cash=1e9, commission=FEE + SLIP).run(short=short, long=long)
        # Whole shares and one rate for fee and slippage: close to the others, not equal.
        return None

    seconds, check = best_of(work, len(pairs), 2)
    return seconds * len(close.columns) / len(symbols), check, len(pairs)


def pandas_pair(_, close):
    """The signals alone of a pair: rolling hedge ratio, spread and z, no book."""
    y, x = np.log(close[0]), np.log(close[1])
    pairs = [60, 90]

    def work():
        for window in pairs:
            beta = y.rolling(window).cov(x) / x.rolling(window).var()
            alpha = y.rolling(window).mean() - beta * x.rolling(window).mean()
            spread = y - alpha - beta * x
            (spread / spread.rolling(window).std()).to_numpy()
        return None

    return *best_of(work, len(pairs), 5), len(pairs)


def main():
    path, rows, symbols, peer = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    open_, close = load(path, rows, symbols)
    work = {"vectorbt": vectorbt_single, "vectorbt-sweep": vectorbt_sweep,
            "backtesting": backtesting_py, "pandas-pair": pandas_pair}[peer]
    seconds, check, trials = work(open_, close)
    print(json.dumps({"peer": peer, "rows": rows, "symbols": symbols, "trials": trials,
                      "cpu_us_per_trial": round(seconds * 1e6, 1), "check": check}))


main()
