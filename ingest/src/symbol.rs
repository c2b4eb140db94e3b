//! Symbols as `CODE.EXCHANGE`, from the ways in which sources write them.

use crate::report::Code;

/// How a source writes its symbols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SymbolForm {
    /// They are taken as they are.
    AsWritten,
    /// Codes of the mainland exchanges: `600000.SH`, `sh.600000`, `sh600000`, or six digits alone.
    Mainland,
    /// Yahoo's: `600000.SS` is `600000.SH`, everything else is taken as it is.
    Yahoo,
}

/// A symbol of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    pub name: String,
    /// The exchange was not written but follows from [`exchange_of_stock`].
    pub derived: bool,
}

impl SymbolForm {
    /// Our name of a symbol.
    ///
    /// # Errors
    /// [`Code::ExchangeUnknown`] where the form needs an exchange and none can be told.
    pub fn read(self, written: &str) -> Result<Symbol, Code> {
        let taken = |name: String| Symbol {
            name,
            derived: false,
        };
        match self {
            Self::AsWritten => Ok(taken(written.to_owned())),
            Self::Yahoo => Ok(taken(match written.strip_suffix(".SS") {
                Some(code) => format!("{code}.SH"),
                None => written.to_owned(),
            })),
            Self::Mainland => {
                if let Some(name) = with_exchange(written) {
                    return Ok(taken(name));
                }
                let exchange = exchange_of_stock(written).ok_or(Code::ExchangeUnknown)?;
                Ok(Symbol {
                    name: format!("{written}.{exchange}"),
                    derived: true,
                })
            }
        }
    }
}

/// `600000.SH` of `600000.sh`, `600000.XSHG`, `sh.600000` and `SH600000`.
fn with_exchange(written: &str) -> Option<String> {
    let upper = written.to_ascii_uppercase();
    let (code, exchange) = match upper.split_once('.') {
        Some((left, right)) if is_code(left) => (left, right),
        Some((left, right)) => (right, left),
        None if upper.is_char_boundary(2) => {
            let (left, right) = upper.split_at(2);
            (right, left)
        }
        None => return None,
    };
    let exchange = match exchange {
        "SH" | "SS" | "XSHG" => "SH",
        "SZ" | "XSHE" => "SZ",
        "BJ" | "XBSE" => "BJ",
        _ => return None,
    };
    is_code(code).then(|| format!("{code}.{exchange}"))
}

/// Whether a text is a code of a mainland exchange without the exchange.
pub fn is_code(text: &str) -> bool {
    text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The exchange of a stock code of six digits, by the ranges that the exchanges assign to shares:
/// Shanghai 600, 601, 603, 605 (main board), 688, 689 (STAR), 900 (B shares); Shenzhen 000 to 003
/// (main board), 300 to 302 (ChiNext), 200 (B shares); Beijing 43, 83, 87, 88, 920.
///
/// Funds, bonds and indices share ranges between the exchanges (`000001` is a Shenzhen stock and
/// the Shanghai index), so that their codes need the exchange in writing.
pub fn exchange_of_stock(code: &str) -> Option<&'static str> {
    if !is_code(code) {
        return None;
    }
    match &code[..3] {
        "600" | "601" | "603" | "605" | "688" | "689" | "900" => Some("SH"),
        "000" | "001" | "002" | "003" | "300" | "301" | "302" | "200" => Some("SZ"),
        "920" => Some("BJ"),
        start if matches!(&start[..2], "43" | "83" | "87" | "88") => Some("BJ"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mainland_codes_get_their_exchange_and_others_are_refused() {
        for written in [
            "600000.SH",
            "sh.600000",
            "sh600000",
            "SH600000",
            "600000.XSHG",
            "600000.ss",
        ] {
            let symbol = SymbolForm::Mainland.read(written).unwrap();
            assert_eq!(
                (symbol.name.as_str(), symbol.derived),
                ("600000.SH", false),
                "{written}"
            );
        }
        for (written, name) in [
            ("600000", "600000.SH"),
            ("688981", "688981.SH"),
            ("000001", "000001.SZ"),
            ("300750", "300750.SZ"),
            ("430047", "430047.BJ"),
            ("920002", "920002.BJ"),
        ] {
            let symbol = SymbolForm::Mainland.read(written).unwrap();
            assert_eq!((symbol.name.as_str(), symbol.derived), (name, true));
        }
        for written in [
            "1",
            "510300",
            "600000.HK",
            "",
            "平安银行",
            "sh.60000",
            "AAPL",
        ] {
            assert_eq!(
                SymbolForm::Mainland.read(written),
                Err(Code::ExchangeUnknown),
                "{written}"
            );
        }
    }

    #[test]
    fn yahoo_writes_shanghai_as_ss() {
        assert_eq!(
            SymbolForm::Yahoo.read("600000.SS").unwrap().name,
            "600000.SH"
        );
        assert_eq!(SymbolForm::Yahoo.read("BRK-B").unwrap().name, "BRK-B");
    }
}
