//! How many shares an order may be for.

use super::Board;

/// Sizes of orders: at least `least` shares, then by `step`. What is held below that, or beyond
/// it, is sold at once, in whole.
///
/// Sources: SSE and SZSE trading rules (100 shares and multiples; an odd remainder in one order);
/// SSE special rules for trading on the STAR Market, 2019-03-01 (200, then single shares); BSE
/// trading rules (trial), 2021-11-02 (100, then single shares; checked: laitimes.com on the rules of
/// the BSE).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lot {
    least: u16,
    step: u16,
}

impl Lot {
    /// Whole shares.
    pub const SINGLE: Self = Self { least: 1, step: 1 };

    /// The lot of a board.
    #[must_use]
    pub const fn of(board: Board) -> Self {
        match board {
            Board::Main | Board::Chinext => Self {
                least: 100,
                step: 100,
            },
            Board::Star => Self {
                least: 200,
                step: 1,
            },
            Board::Bse => Self {
                least: 100,
                step: 1,
            },
        }
    }

    /// By how many shares sizes differ.
    #[must_use]
    pub fn step(self) -> f64 {
        f64::from(self.step)
    }

    /// The largest purchase of at most so many shares, a whole number; 0 if it is below the least.
    #[must_use]
    pub fn purchase(self, most: f64) -> f64 {
        let (least, step) = (f64::from(self.least), f64::from(self.step));
        if most >= least {
            least + ((most - least) / step).floor() * step
        } else {
            0.0
        }
    }

    /// The largest sale of at most so many shares of those held, both whole or not: all of them, or
    /// a size in which they may be sold in part, or 0.
    ///
    /// ```
    /// use trialmill_backtest::market::{Board, Lot};
    /// let (main, star) = (Lot::of(Board::Main), Lot::of(Board::Star));
    /// assert_eq!(main.sale(250.0, 1e9), 250.0); // the odd 50 go with the rest
    /// assert_eq!(main.sale(250.0, 240.0), 200.0); // and are not split
    /// assert_eq!(main.sale(50.0, 49.0), 0.0);
    /// assert_eq!(star.sale(317.0, 250.0), 250.0);
    /// assert_eq!(star.sale(67.0, 1e9), 67.0);
    /// ```
    #[must_use]
    pub fn sale(self, held: f64, most: f64) -> f64 {
        if most >= held {
            held
        } else {
            self.purchase(most)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purchases_are_of_the_sizes_of_the_board() {
        let sizes = |lot: Lot| [99.9, 100.0, 199.0, 200.0, 201.5, 317.0].map(|m| lot.purchase(m));
        let main = [0.0, 100.0, 100.0, 200.0, 200.0, 300.0];
        assert_eq!(sizes(Lot::of(Board::Main)), main);
        assert_eq!(sizes(Lot::of(Board::Chinext)), main);
        assert_eq!(
            sizes(Lot::of(Board::Star)),
            [0.0, 0.0, 0.0, 200.0, 201.0, 317.0]
        );
        assert_eq!(
            sizes(Lot::of(Board::Bse)),
            [0.0, 100.0, 199.0, 200.0, 201.0, 317.0]
        );
        assert_eq!(Lot::SINGLE.purchase(0.99), 0.0);
        assert_eq!(Lot::SINGLE.purchase(7.99), 7.0);
        assert_eq!(Lot::SINGLE.purchase(f64::NAN), 0.0);
    }
}
