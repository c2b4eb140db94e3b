//! Tables beside bars: corporate actions, statuses, fundamentals, and adjustment factors, from which
//! actions follow. Which table a file is, is told by the names of its columns.

mod actions;
mod cells;
mod factors;
mod fundamentals;
mod statuses;

use crate::report::{Code, Findings, Subject};
use crate::symbol::{SymbolForm, is_code};
use crate::text_file::Fields;
use crate::{Import, ImportError, MAX_COLUMNS, MAX_SYMBOLS, ReadOptions};
use cells::Cells;
use std::collections::HashMap;
use std::path::Path;
use trialmill_backtest::market::{Record, RecordChange, RecordFault, Status};

/// The most rows of a table: all dividends that all exchanges ever paid are fewer. They are held in
/// memory, some 150 bytes each.
pub const MAX_TABLE_ROWS: u64 = 2_000_000;

/// The tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Actions,
    Statuses,
    Factors,
    Fundamentals,
}

impl Kind {
    const ALL: [Self; 4] = [
        Self::Actions,
        Self::Statuses,
        Self::Factors,
        Self::Fundamentals,
    ];

    /// What a report says that the file holds.
    const fn name(self) -> &'static str {
        match self {
            Self::Actions => "actions",
            Self::Statuses => "statuses",
            Self::Factors => "factors",
            Self::Fundamentals => "fundamentals",
        }
    }

    /// A file with one of these columns, and without prices, is of this kind.
    const fn marks(self) -> &'static [&'static str] {
        match self {
            Self::Actions => &["ex_date"],
            Self::Statuses => &["listed", "delisted", "st_from", "st_to"],
            Self::Factors => &["price_factor", "split_factor"],
            Self::Fundamentals => &["announced"],
        }
    }

    /// The columns besides `symbol`, in the order in which they are read.
    const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Actions => &["ex_date", "cash_per_share", "bonus_per_share"],
            Self::Statuses => &["listed", "delisted", "st_from", "st_to"],
            Self::Factors => &["date", "price_factor", "split_factor", "reference_price"],
            Self::Fundamentals => &fundamentals::COLUMNS,
        }
    }

    fn part(self) -> Box<dyn Part> {
        match self {
            Self::Actions => Box::<actions::Actions>::default(),
            Self::Statuses => Box::<statuses::Statuses>::default(),
            Self::Factors => Box::<factors::Factors>::default(),
            Self::Fundamentals => Box::<fundamentals::Reports>::default(),
        }
    }
}

/// Where the columns of a table are in a file.
#[derive(Debug)]
pub(crate) struct Table {
    kind: Kind,
    /// Fields of every row.
    pub fields: usize,
    symbol: Option<usize>,
    columns: Vec<usize>,
    ignored: Vec<String>,
    /// Whether the first line is a row already.
    pub begins_with_a_row: bool,
}

impl Table {
    /// The table that a file with these names in its first line is; none if it holds bars.
    pub fn find(path: &Path, names: &[String]) -> Result<Option<Self>, ImportError> {
        let is = |name: &String, wanted: &str| name.trim().eq_ignore_ascii_case(wanted);
        let has = |wanted: &&str| names.iter().any(|name| is(name, wanted));
        if names.len() > MAX_COLUMNS || ["open", "close"].iter().all(has) {
            return Ok(None);
        }
        let marked = |kind: &Kind| kind.marks().iter().any(has);
        let Some(kind) = Kind::ALL.into_iter().find(marked) else {
            return Ok(Self::of_factors_without_names(names));
        };
        let place = |column: &'static str| {
            let mut places = (0..names.len()).filter(|at| is(&names[*at], column));
            match (places.next(), places.next()) {
                (_, Some(_)) => Err(ImportError::DuplicateColumn {
                    path: path.to_owned(),
                    column,
                }),
                (place, None) => Ok(place),
            }
        };
        let symbol = place("symbol")?;
        let mut columns = Vec::new();
        let mut missing = Vec::new();
        for column in kind.columns() {
            match place(column)? {
                Some(at) => columns.push(at),
                None => missing.push(*column),
            }
        }
        if !missing.is_empty() {
            return Err(ImportError::Columns {
                path: path.to_owned(),
                missing,
                found: names.to_vec(),
            });
        }
        let ignored = (0..names.len()).filter(|at| !columns.contains(at) && symbol != Some(*at));
        let ignored = ignored.map(|at| names[at].clone());
        Ok(Some(Self {
            kind,
            fields: names.len(),
            symbol,
            ignored: ignored.filter(|name| !name.trim().is_empty()).collect(),
            columns,
            begins_with_a_row: false,
        }))
    }

    /// Factor files come without names: four columns, a date and three numbers.
    fn of_factors_without_names(first: &[String]) -> Option<Self> {
        let [date, numbers @ ..] = first else {
            return None;
        };
        let is_number = |text: &String| text.trim().parse::<f64>().is_ok();
        let is_row = numbers.len() == 3
            && numbers.iter().all(is_number)
            && crate::date::parse(date.as_bytes()).is_some();
        is_row.then(|| Self {
            kind: Kind::Factors,
            fields: 4,
            symbol: None,
            columns: vec![0, 1, 2, 3],
            ignored: Vec::new(),
            begins_with_a_row: true,
        })
    }
}

/// What becomes of the rows of a table.
trait Part {
    /// Takes a row of a symbol; what is wrong in its cells is added to their findings.
    fn add(&mut self, symbol: &str, cells: &mut Cells<'_>);

    /// What the rows say of each symbol; what is wrong between them is added to the findings.
    fn finish(self: Box<Self>, findings: &mut Findings) -> Vec<RecordChange>;
}

/// Reads the rows of a table.
pub(crate) struct Reader<'a> {
    path: &'a Path,
    options: &'a ReadOptions,
    table: &'a Table,
    /// The symbol of a file without a column for it.
    named: String,
    rows: u64,
    known: HashMap<Vec<u8>, Result<String, Code>>,
    findings: Findings,
    part: Box<dyn Part>,
}

impl<'a> Reader<'a> {
    pub fn new(path: &'a Path, options: &'a ReadOptions, table: &'a Table, named: String) -> Self {
        // `AAPL.factors.csv` is of AAPL.
        let ending = format!(".{}", table.kind.name());
        let named = match named.strip_suffix(&ending) {
            Some(symbol) if options.symbol.is_none() => symbol.to_owned(),
            _ => named,
        };
        Self {
            path,
            options,
            table,
            named,
            rows: 0,
            known: HashMap::new(),
            findings: Findings::default(),
            part: table.kind.part(),
        }
    }

    fn too_large(&self, what: &'static str, limit: u64) -> ImportError {
        ImportError::TooLarge {
            path: self.path.to_owned(),
            what,
            limit,
        }
    }

    /// Takes a line of the file.
    pub fn add(&mut self, row: u64, fields: &Fields) -> Result<(), ImportError> {
        self.rows += 1;
        let most = MAX_TABLE_ROWS.min(self.options.max_rows);
        if self.rows > most {
            return Err(self.too_large("rows in a table", most));
        }
        if fields.len() != self.table.fields {
            let limit = format!("the table has {} columns", self.table.fields);
            let subject = Subject::new(Code::FieldCount).limit(&limit);
            let value = format!("{} field(s)", fields.len());
            self.findings.add(subject, Some(row), &value);
            return Ok(());
        }
        let written = match self.table.symbol {
            Some(at) => fields.get(at).trim_ascii(),
            None => self.named.as_bytes(),
        };
        let known = match self.known.get(written) {
            Some(known) => known.clone(),
            None => {
                if self.known.len() == MAX_SYMBOLS {
                    return Err(self.too_large("symbols", MAX_SYMBOLS as u64));
                }
                let text = String::from_utf8_lossy(written);
                let known = name_of(&text, self.options, self.table, &mut self.findings);
                self.known.insert(written.to_vec(), known.clone());
                known
            }
        };
        let symbol = match known {
            Ok(symbol) => symbol,
            Err(code) => {
                let written = String::from_utf8_lossy(written);
                let (value, limit) = match (code, &self.options.symbol) {
                    (Code::MissingValue, _) => ("", "it must not be empty".to_owned()),
                    (Code::MixedSymbols, Some(asked)) => ("", format!("{asked} was asked for")),
                    (Code::BadSymbol, _) => ("", "1 to 64 visible ASCII characters".to_owned()),
                    _ => ("", "no exchange follows from it".to_owned()),
                };
                let subject = Subject::new(code).symbol(&written).limit(&limit);
                self.findings.add(subject, Some(row), value);
                return Ok(());
            }
        };
        let mut cells = Cells {
            row,
            fields,
            columns: &self.table.columns,
            names: self.table.kind.columns(),
            symbol: &symbol,
            findings: &mut self.findings,
        };
        self.part.add(&symbol, &mut cells);
        Ok(())
    }

    /// What the table says of each symbol, if every row of it was sound.
    pub fn finish(self) -> Result<Import, ImportError> {
        let Self {
            path,
            table,
            rows,
            mut findings,
            part,
            ..
        } = self;
        if rows == 0 {
            return Err(ImportError::Empty {
                path: path.to_owned(),
            });
        }
        let changes = part.finish(&mut findings);
        for change in &changes {
            if let Err(fault) = Record::changed(None, change.clone()) {
                let code = match fault {
                    RecordFault::TooMany { .. } => Code::RecordTooLarge,
                    RecordFault::Status { .. } => Code::ContradictingStatus,
                    RecordFault::Fundamentals { .. } => Code::NotAReport,
                    _ => Code::NotAnAction,
                };
                let subject = Subject::new(code).symbol(&change.symbol);
                // What was told with its rows is not told again.
                if !findings.has(code, &change.symbol) {
                    findings.add(subject, None, &fault.to_string());
                }
            }
        }
        let sound = !findings.has_errors();
        let (findings, errors, unlisted) = findings.finish();
        if !sound {
            return Err(ImportError::Faults {
                path: path.to_owned(),
                dialect: table.kind.name(),
                findings,
                errors,
                unlisted,
            });
        }
        Ok(Import {
            series: Vec::new(),
            records: changes,
            rows,
            dialect: table.kind.name(),
            ignored_columns: table.ignored.clone(),
            findings,
            unlisted,
            file_rows: Vec::new(),
        })
    }
}

/// Our name of a symbol that the file writes for the first time: codes of the mainland exchanges
/// as those of bars, everything else as it is.
fn name_of(
    written: &str,
    options: &ReadOptions,
    table: &Table,
    findings: &mut Findings,
) -> Result<String, Code> {
    if written.is_empty() {
        return Err(Code::MissingValue);
    }
    let read = SymbolForm::Mainland.read(written);
    if let Some(asked) = &options.symbol {
        let code = asked.split_once('.').map(|(code, _)| code);
        let same = written == asked.as_str()
            || code == Some(written)
            || read.is_ok_and(|symbol| symbol.name == *asked);
        return if same {
            Ok(asked.clone())
        } else {
            Err(Code::MixedSymbols)
        };
    }
    let name = match read {
        Ok(symbol) => {
            if symbol.derived && table.symbol.is_none() {
                let subject = Subject::new(Code::ExchangeDerived).symbol(&symbol.name);
                let value = format!("{written:?} in the file name");
                findings.add(subject, None, &value);
            }
            symbol.name
        }
        Err(code) if is_code(written) => return Err(code),
        Err(_) => written.to_owned(),
    };
    match Record::new(name.clone(), Status::default(), Vec::new(), Vec::new()) {
        Ok(_) => Ok(name),
        Err(_) => Err(Code::BadSymbol),
    }
}
