//! What a symbol is, told by its code.

/// A board of the mainland exchanges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Board {
    /// The main boards of Shanghai and Shenzhen, the former SME board included.
    Main,
    /// ChiNext, Shenzhen.
    Chinext,
    /// STAR, Shanghai.
    Star,
    /// The Beijing Stock Exchange.
    Bse,
}

impl Board {
    /// Every board.
    pub const ALL: [Self; 4] = [Self::Main, Self::Chinext, Self::Star, Self::Bse];

    /// Its name in requests and documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Chinext => "chinext",
            Self::Star => "star",
            Self::Bse => "bse",
        }
    }
}

/// What can be told of a symbol by its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Security {
    /// An A-share.
    Share(Board),
    /// Of a mainland exchange, but no A-share: an index, a fund, a B-share, a bond.
    NotAShare,
    /// Of no mainland exchange.
    Elsewhere,
}

/// What a symbol such as `600000.SH` is: six digits and the exchange.
///
/// ```
/// use trialmill_backtest::market::{Board, Security, security};
/// assert_eq!(security("600000.SH"), Security::Share(Board::Main));
/// assert_eq!(security("000001.SZ"), Security::Share(Board::Main));
/// assert_eq!(security("300750.SZ"), Security::Share(Board::Chinext));
/// assert_eq!(security("688981.SH"), Security::Share(Board::Star));
/// assert_eq!(security("830799.BJ"), Security::Share(Board::Bse));
/// assert_eq!(security("000001.SH"), Security::NotAShare); // the Shanghai index
/// assert_eq!(security("399001.SZ"), Security::NotAShare);
/// assert_eq!(security("899050.BJ"), Security::NotAShare);
/// assert_eq!(security("AAPL"), Security::Elsewhere);
/// ```
#[must_use]
pub fn security(symbol: &str) -> Security {
    let Some((code, exchange)) = symbol.rsplit_once('.') else {
        return Security::Elsewhere;
    };
    if !["SH", "SZ", "BJ"].contains(&exchange) {
        return Security::Elsewhere;
    }
    let digits = code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit());
    let start = if digits { &code[..3] } else { "" };
    match (exchange, start) {
        ("SH", "600" | "601" | "603" | "605") | ("SZ", "000" | "001" | "002" | "003") => {
            Security::Share(Board::Main)
        }
        ("SH", "688" | "689") => Security::Share(Board::Star),
        ("SZ", "300" | "301" | "302") => Security::Share(Board::Chinext),
        ("BJ", start) if !["", "899"].contains(&start) => Security::Share(Board::Bse),
        _ => Security::NotAShare,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_a_share_of_its_board_or_an_explicit_something_else() {
        use Board::{Bse, Chinext, Main, Star};
        for (board, codes) in [
            (
                Main,
                &[
                    "601398.SH",
                    "603259.SH",
                    "605499.SH",
                    "001872.SZ",
                    "002415.SZ",
                    "003816.SZ",
                ][..],
            ),
            (Star, &["688001.SH", "689009.SH"]),
            (Chinext, &["300001.SZ", "301001.SZ", "302132.SZ"]),
            (Bse, &["430047.BJ", "871981.BJ", "920002.BJ"]),
        ] {
            for code in codes {
                assert_eq!(security(code), Security::Share(board), "{code}");
            }
        }
        for code in [
            "000300.SH",
            "510300.SH",
            "900901.SH",
            "200002.SZ",
            "159915.SZ",
            "60000.SH",
            ".BJ",
            "6000000.SH",
            "60000x.SH",
        ] {
            assert_eq!(security(code), Security::NotAShare, "{code}");
        }
        for code in ["AAPL", "BRK.B", "0700.HK", "600000", "600000.sh", ""] {
            assert_eq!(security(code), Security::Elsewhere, "{code}");
        }
    }
}
