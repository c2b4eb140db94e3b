/* The plain loop that a backtest of two moving averages cannot be without: the ceiling of one core.
 *
 * Rolling sums of the close, crossing, fill at the next open, fees and slippage, equity, drawdown.
 * No library, no allocation in the loop; compiled with -O3 -march=native by scripts/bench-backtest.
 *
 *   ceiling FILE ROWS SYMBOLS TRIALS
 *
 * FILE holds, symbol after symbol, ROWS opens and then ROWS closes as raw doubles. Prints one JSON
 * line: the best CPU time of a trial over all symbols, and the sum of the final equities (less the drawdowns, so
 * that these are computed) over the trials, which the others must agree with.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { PAIRS = 100 };

static void pair(int trial, int *shorter, int *longer) {
    *shorter = 3 + trial % 10;
    *longer = 20 + 3 * (trial / 10 % 10);
}

struct result { double equity, drawdown; int trades; };

static struct result run(const double *open, const double *close, int rows, int s, int l) {
    const double cost = 0.0003, slip = 0.0001, cash_at_start = 100000.0;
    double cash = cash_at_start, shares = 0.0, peak = cash_at_start, drawdown = 0.0, equity = cash;
    double sum_s = 0.0, sum_l = 0.0, before = 0.0;
    int order = 0, trades = 0;
    for (int t = 0; t < rows; t++) {
        if (order > 0 && shares == 0.0) {
            shares = cash / (open[t] * (1.0 + slip) * (1.0 + cost));
            cash = 0.0;
        } else if (order < 0 && shares > 0.0) {
            cash = shares * open[t] * (1.0 - slip) * (1.0 - cost);
            shares = 0.0;
            trades++;
        }
        order = 0;
        sum_s += close[t];
        sum_l += close[t];
        if (t >= s) sum_s -= close[t - s];
        if (t >= l) sum_l -= close[t - l];
        if (t >= l - 1) {
            double gap = sum_s / s - sum_l / l;
            if (t >= l) {
                if (before <= 0.0 && gap > 0.0) order = 1;
                else if (before >= 0.0 && gap < 0.0) order = -1;
            }
            before = gap;
        }
        equity = cash + shares * close[t];
        if (equity > peak) peak = equity;
        double fall = 1.0 - equity / peak;
        if (fall > drawdown) drawdown = fall;
    }
    return (struct result){equity, drawdown, trades};
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: ceiling FILE ROWS SYMBOLS TRIALS\n");
        return 2;
    }
    int rows = atoi(argv[2]), symbols = atoi(argv[3]), trials = atoi(argv[4]);
    size_t cells = (size_t)rows * 2 * (size_t)symbols;
    double *prices = malloc(cells * sizeof *prices);
    FILE *file = fopen(argv[1], "rb");
    if (!prices || !file || fread(prices, sizeof *prices, cells, file) != cells) {
        fprintf(stderr, "ceiling: %s does not hold %zu doubles\n", argv[1], cells);
        return 1;
    }
    double best = 1e99, check = 0.0;
    for (int round = 0; round < 5; round++) {
        check = 0.0;
        double begin = seconds();
        for (int trial = 0; trial < trials; trial++) {
            int s, l;
            pair(trial % PAIRS, &s, &l);
            for (int symbol = 0; symbol < symbols; symbol++) {
                const double *open = prices + (size_t)symbol * 2 * (size_t)rows;
                struct result one = run(open, open + rows, rows, s, l);
                check += one.equity - one.drawdown;
            }
        }
        double took = (seconds() - begin) / trials;
        if (took < best) best = took;
    }
    printf("{\"peer\": \"c loop\", \"rows\": %d, \"symbols\": %d, \"trials\": %d, "
           "\"cpu_us_per_trial\": %.3f, \"check\": %.17g}\n", rows, symbols, trials, best * 1e6, check);
    return 0;
}
