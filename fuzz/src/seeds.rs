//! Writes what the corpus begins with: `cargo run --bin seeds -- fuzz/corpus`. Whatever the fuzzer
//! found worth keeping lies beside it.

use flate2::{Compression, write::GzEncoder};
// The instrumented crates count into it.
use libfuzzer_sys as _;
use parquet::basic::{Compression as Codec, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};
use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use trialmill_common::message::{UnitMessage, UnitNote};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let folder = std::env::args().nth(1).ok_or("usage: seeds FOLDER")?;
    let write = |target: &str, name: &str, bytes: &[u8]| -> std::io::Result<()> {
        let folder = Path::new(&folder).join(target);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(name), bytes)
    };
    for (name, body) in drafts() {
        let body = serde_json::to_vec(&body)?;
        sound(name, trialmill_fuzz::draft(&body));
        write("draft", name, &body)?;
    }
    for (name, body) in messages() {
        write("message", name, &body)?;
    }
    for (name, text) in CURSORS {
        write("cursor", name, text.as_bytes())?;
    }
    for (name, bytes) in EVENT_IDS {
        write("event_id", name, bytes)?;
    }
    for (name, text) in EXPRESSIONS {
        sound(name, trialmill_fuzz::expression(text.as_bytes()));
        write("expression", name, text.as_bytes())?;
    }
    for (name, text) in CSVS {
        sound(name, trialmill_fuzz::csv(text.as_bytes()));
        write("csv", name, text.as_bytes())?;
    }
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(CSVS[0].1.as_bytes())?;
    write("csv", "seed-gzip", &packed.finish()?)?;
    for (name, bytes) in parquets()? {
        sound(name, trialmill_fuzz::parquet(&bytes));
        write("parquet", name, &bytes)?;
    }
    Ok(())
}

/// A seed that is to be accepted is: from one that is not, the fuzzer begins at the wrong place.
fn sound(name: &str, is_accepted: bool) {
    let is_faulty = [
        "seed-faulty",
        "seed-grid",
        "seed-repeated",
        // What clients say of their trials is no request.
        "seed-told",
        "seed-reported",
        "seed-enqueued",
    ]
    .contains(&name);
    assert_eq!(is_accepted, !is_faulty, "{name}");
}

fn drafts() -> Vec<(&'static str, Value)> {
    let search = json!({
        "task_name": "s", "strategy_name": "moving_average", "stock_codes": ["600000.SH"],
        "start_date": "2020-01-01", "end_date": "2021-12-31",
        "param_space": {
            "short_window": {"type": "int", "low": 2, "high": 50, "default": 5},
            "long_window": {"type": "int", "low": 5, "high": 200, "step": 5},
        },
        "constraints": ["short_window < long_window"],
        "objective_config": {"objective_metric": "sharpe_ratio", "direction": "maximize"},
        "result_constraints": ["max_drawdown <= 0.3 and n_trades >= 10"],
        "optimization_method": "tpe", "n_trials": 100, "parallelism": 2, "seed": 42,
        "backtest_config": {"initial_cash": 100000, "commission_rate": 0.0003, "slippage_rate": 0.0005},
        "timeout": 3600, "trial_timeout": 60, "priority": "high", "labels": {"team": "quant"},
        "not_before": "2027-01-31T08:00:00Z",
    });
    let sphere = json!({
        "task_name": "f", "strategy_name": "sphere", "stock_codes": [],
        "start_date": "2023-01-01", "end_date": "2023-12-31",
        "param_space": {
            "x": {"type": "float", "low": -5, "high": 5},
            "n": {"type": "int", "low": 1, "high": 9, "log": true},
            "m": {"type": "categorical", "choices": ["a", null, true, 3, 0.5]},
            "y": {"type": "float", "low": 0, "high": 1, "step": 0.1, "when": "m == 'a'"},
            "off": {"type": "int", "low": 0, "high": 9, "default": 3, "enabled": false},
        },
        "objective_config": {"objective_metric": "value"},
        "optimization_method": "random",
        "initial_params": [{"x": 0, "n": 1, "m": "a", "y": 0.3}],
    });
    let mut front = search.clone();
    front["objective_config"] = json!({
        "objective_metric": ["sharpe", "max_drawdown"], "direction": ["maximize", "minimize"],
    });
    front["optimization_method"] = json!("motpe");
    front["validation"] = json!({
        "method": "holdout", "length": "12mo",
        "selection": {"metric": "calmar", "subject_to": ["max_drawdown <= 0.2"]},
    });
    let mut weighed = front.clone();
    weighed["objective_config"] = json!({
        "objective_metric": "custom", "objective_weights": {"sharpe": 0.7, "max_drawdown": 0.3},
    });
    weighed["optimization_method"] = json!("tpe");
    weighed["validation"]["selection"]["metric"] = json!("custom");
    let mut grid = sphere.clone();
    grid["param_space"] = json!({"n": {"type": "int", "low": 1, "high": 1_000_000_000_000_u64}});
    grid["optimization_method"] = json!("grid");
    let mut sobol = sphere.clone();
    sobol["optimization_method"] = json!("sobol");
    sobol["task_type"] = json!("hyperparameter_optimization");
    let run = json!({
        "task_type": "backtest", "task_name": "r", "strategy_name": "rsi",
        "stock_codes": ["600000.SH", "600519.SH"], "start_date": "2020-01-01",
        "end_date": "2021-12-31", "strategy_config": {"rsi_period": 14, "oversold_threshold": 30.0},
        "backtest_config": {"initial_cash": 100000.0, "fill": "next_open"},
    });
    let nested = json!({
        "task_type": "hyperparameter_optimization", "task_name": "n",
        "config": {
            "stock_codes": ["600000.SH"], "start_date": "2020-01-01", "end_date": "2021-12-31",
            "optimization_config": {
                "strategy_name": "moving_average", "n_trials": 5, "optimization_method": "random",
                "param_space": {"short_window": {"type": "int", "low": 2, "high": 50}},
                "objective_config": {"objective_metric": "total_return"},
            },
        },
    });
    let pair = json!({
        "task_name": "p", "strategy_name": "cointegration", "stock_codes": ["600000.SH"],
        "start_date": "2020-01-01", "end_date": "2021-12-31",
        "param_space": {"lookback_period": {"type": "int", "low": 30, "high": 60}},
        "objective_config": {"objective_metric": "sharpe_ratio"}, "optimization_method": "random",
        "backtest_config": {"partners": ["000001.SZ", "600519.SH"], "require_cointegration": true},
    });
    let faulty = json!({
        "task_name": "\u{0}", "strategy_name": "spere", "n_trails": 5, "n_trials": -1,
        "param_space": {"a/b~c": {"type": "int", "low": 9, "high": 1, "step": 0}, "": 7},
        "start_date": "2023-13-01", "seed": 18_446_744_073_709_551_615_u64,
        "result_constraints": ["x <"],
    });
    let client = json!({
        "task_name": "c", "strategy_name": "client",
        "param_space": {"x": {"type": "float", "low": -5, "high": 5}},
        "objective_config": {"objective_metric": ["loss", "sharpe"], "direction": ["minimize", "maximize"]},
        "result_constraints": ["megabytes <= 80"], "trial_timeout": 60,
        "pruner": {"name": "patient", "patience": 3, "min_delta": 0.01,
            "wrapped": {"name": "hyperband", "min_resource": 1, "max_resource": 27}},
        "warm_start_from": ["0195f1f0-8c2b-4d51-9d55-1f0f6a1c2b3d"],
    });
    let lease = "7.0.0195f1f0-8c2b-4d51-9d55-1f0f6a1c2b3d";
    let told = json!({"lease": lease, "values": {"loss": 0.25, "sharpe": null, "megabytes": 96}});
    let reported = json!({"lease": lease, "step": 3, "values": [0.5, -1]});
    let enqueued = json!({"params": {"x": 0.5, "n": 4, "kind": "a"}});
    vec![
        ("seed-client", client),
        ("seed-told", told),
        ("seed-reported", reported),
        ("seed-enqueued", enqueued),
        ("seed-search", search),
        ("seed-sphere", sphere),
        ("seed-front", front),
        ("seed-weighed", weighed),
        ("seed-grid", grid),
        ("seed-sobol", sobol),
        ("seed-run", run),
        ("seed-nested", nested),
        ("seed-pair", pair),
        ("seed-faulty", faulty),
    ]
}

fn messages() -> Vec<(&'static str, Vec<u8>)> {
    let plain = UnitMessage::new(uuid::Uuid::from_u128(7), 3);
    let noted = plain.clone().with_note(UnitNote {
        task_name: Some("银行 \"pair\" \u{1}".to_owned()),
        first_trial: Some(120),
        trials: Some(40),
    });
    let with = |header: u8, message: &UnitMessage| [&[header][..], &message.encode().1].concat();
    vec![
        ("seed-plain", with(b'v', &plain)),
        ("seed-noted", with(b'v', &noted)),
        ("seed-no-version", with(0, &plain)),
        ("seed-next-version", with(1, &plain)),
    ]
}

const CURSORS: [(&str, &str); 4] = [
    ("seed-task", "019a3f0e-8c2b-7d51-9d55-1f0f6a1c2b3d"),
    ("seed-urn", "urn:uuid:{019A3F0E8C2B7D519D551F0F6A1C2B3D}"),
    ("seed-trial", "4294967295"),
    ("seed-sign", "+00012"),
];

const EVENT_IDS: [(&str, &[u8]); 4] = [
    ("seed-first", b"1"),
    ("seed-last", b" 9223372036854775807\t"),
    ("seed-negative", b"-1"),
    ("seed-bytes", b"\xff\xfe1"),
];

const EXPRESSIONS: [(&str, &str); 8] = [
    ("seed-order", "a<b and not (a>=2 or b!=3)"),
    ("seed-arithmetic", "abs(a-b)*2/max(a,b,-1)+min(1,.5)<=1e-3"),
    ("seed-text", "mode in ['trend', 'it\\'s'] and mode != \"\""),
    ("seed-mixed", "mixed == null or mixed not in [3, true, 'x']"),
    ("seed-flag", "flag == (a < b)"),
    (
        "seed-large",
        "max_drawdown<9e15 or -(fixed*1.7976931348623157e308)>5e-324",
    ),
    ("seed-doubtful", "doubtful > 1 and doubtful == 'x'"),
    ("seed-faulty", "a = 1 && mode < trend; (((策略"),
];

const CSVS: [(&str, &str); 13] = [
    (
        "seed-own",
        "symbol,date,open,high,low,close,volume\n600000.SH,2023-01-03,7.2,7.3,7.0,7.1,100\n\
         600000.SH,2023-01-04,7.1,7.4,7.1,7.3,0\n600519.SH,2023-01-03,1700,1701,1699,1700.5,1e6\n",
    ),
    (
        "seed-one-symbol",
        "\u{feff}Date,Open,High,Low,Close,Volume,Extra\r\n2023-01-03 09:30:00,1,1,1,1,1,x\r\n\
         2023-01-03T09:31:00+08:00,1,2,1,2,3,\r\n",
    ),
    (
        "seed-akshare",
        "日期,股票代码,开盘,收盘,最高,最低,成交量,成交额\n2023-01-03,600000,7.2,7.1,7.3,7.0,1234,9\n",
    ),
    (
        "seed-tushare",
        "ts_code,trade_date,open,high,low,close,vol\n600000.SH,20230104,7.1,7.4,7.1,7.3,5.5\n\
         600000.SH,20230103,7.2,7.3,7.0,7.1,100\n",
    ),
    (
        "seed-baostock",
        "date,code,open,high,low,close,volume,adjustflag,tradestatus\n\
         2023-01-03,sh.600000,7.2,7.3,7.0,7.1,100,3,1\n2023-01-04,sh.600000,7.1,7.1,7.1,7.1,,3,0\n",
    ),
    (
        "seed-baostock-minutes",
        "date,time,code,open,high,low,close,volume\n\
         2023-01-03,20230103093500000,sh.600000,7.2,7.3,7.0,7.1,100\n",
    ),
    (
        "seed-yahoo-wide",
        "Price,Close,Close,High,High,Low,Low,Open,Open,Volume,Volume\n\
         Ticker,AAPL,600000.SS,AAPL,600000.SS,AAPL,600000.SS,AAPL,600000.SS,AAPL,600000.SS\n\
         Date,,,,,,,,,,\n2023-01-03,1,,1,,1,,1,,5,\n2023-01-04,2,7,2,7,2,7,2,7,6,8\n",
    ),
    (
        "seed-quoted",
        "symbol,date,open,high,low,close,volume\n\"A,\"\"B\",\"2023-01-03\",\"7.2\",7.3,7.0,7.1,1\n",
    ),
    (
        "seed-actions",
        "symbol,ex_date,cash_per_share,bonus_per_share\n\
         600000.SH,2015-06-23,0.757,0\n\
         sz.000001,20160616,0.153,0.2\n\
         600000,2016-06-23,0.5,1e-1\n",
    ),
    (
        "seed-statuses",
        "symbol,listed,delisted,st_from,st_to\n\
         000001.SZ,1991-04-03,,,\n\
         600001.SH,1998-01-22,2009-12-29,,\n\
         600002.SH,,,2005-01-04,2006-01-04\n\
         600002.SH,1998-04-08,,2020-04-30,\n",
    ),
    (
        "seed-fundamentals",
        "symbol,announced,earnings_per_share,book_per_share,sales_per_share,ebitda_per_share,net_debt_per_share\n\
         sh.600000,2015-03-19,2.52,13.9,,,\n\
         600000,20160428,-0.1,,6.5,1.2,-3\n\
         AAPL,2016-01-26,9.4,23.1,42.2,14.8,-6e0\n",
    ),
    (
        "seed-factors",
        "20140507,0.8961764,0.03571430,592.33\n\
         20140606,0.9011818,0.03571430,645.57\n\
         20140806,0.9011818,0.25,94.97\n\
         20501231,1,1,0\n",
    ),
    (
        "seed-faulty",
        "symbol,date,open,high,low,close,volume\n,2023-02-30,x,NaN,inf,-1\n\
         A,2023-01-03,1,0,2,1,-5\nA,2023-01-03,1,1,1,1,1\nA,2023-01-03,1\n",
    ),
];

/// Columns of one type each that stands for a price or a date somewhere.
enum Cells {
    Text(&'static [&'static str]),
    Whole(&'static [i64]),
    Short(&'static [i32]),
    Real(&'static [f64]),
}

const TEXT_DATES: Cells = Cells::Text(&["2023-01-03", "2023-01-04", "2023-01-05"]);
const SYMBOLS: Cells = Cells::Text(&["600000.SH", "600000.SH", "600519.SH"]);

fn parquets() -> Result<Vec<(&'static str, Vec<u8>)>, ParquetError> {
    let plain = "message m { required binary symbol (UTF8); required binary date (UTF8); \
        required double open; required double high; required double low; required double close; \
        required double volume; }";
    let days = "message m { required binary symbol (UTF8); required int32 date (DATE); \
        required double open; required double high; required double low; required double close; \
        required int64 volume; }";
    let stamps = "message m { required binary symbol (UTF8); \
        required int64 date (TIMESTAMP(MICROS,false)); required int64 open (DECIMAL(18,2)); \
        required int64 high (DECIMAL(18,2)); required int64 low (DECIMAL(18,2)); \
        required int64 close (DECIMAL(18,2)); required int32 volume (INTEGER(32,false)); }";
    let nulls = "message m { optional binary symbol (UTF8); optional binary date (UTF8); \
        optional double open; optional double high; optional double low; optional double close; \
        optional double volume; }";
    let repeated = "message m { required binary symbol (UTF8); repeated binary date (UTF8); \
        required double open; required double high; required double low; required double close; \
        required double volume; }";
    let real = || Cells::Real(&[7.0, 7.0, 1700.5]);
    let reals = |first: [Cells; 2]| first.into_iter().chain((0..5).map(|_| real())).collect();
    let snappy = WriterProperties::builder().set_compression(Codec::SNAPPY);
    let zstd = WriterProperties::builder()
        .set_compression(Codec::ZSTD(ZstdLevel::try_new(1)?))
        .set_writer_version(WriterVersion::PARQUET_2_0);
    let gzip = WriterProperties::builder().set_compression(Codec::GZIP(Default::default()));
    let no_dictionary = WriterProperties::builder().set_dictionary_enabled(false);
    let with_days = |volume| {
        let mut cells = vec![SYMBOLS, Cells::Short(&[19_360, 19_361, 19_362])];
        cells.extend((0..4).map(|_| real()));
        cells.push(volume);
        cells
    };
    let with_stamps = || {
        let stamps = [
            1_672_704_000_000_000,
            1_672_790_400_000_000,
            1_672_876_800_000_000,
        ];
        let stamps: &'static [i64] = Box::leak(Box::new(stamps));
        let mut cells = vec![SYMBOLS, Cells::Whole(stamps)];
        cells.extend((0..4).map(|_| Cells::Whole(&[700, 710, 170_050])));
        cells.push(Cells::Short(&[1, -1, 0]));
        cells
    };
    Ok(vec![
        (
            "seed-plain",
            file(plain, no_dictionary.build(), reals([SYMBOLS, TEXT_DATES]))?,
        ),
        (
            "seed-snappy",
            file(plain, snappy.build(), reals([SYMBOLS, TEXT_DATES]))?,
        ),
        (
            "seed-gzip-days",
            file(days, gzip.build(), with_days(Cells::Whole(&[1, 2, 3])))?,
        ),
        (
            "seed-zstd-stamps",
            file(stamps, zstd.build(), with_stamps())?,
        ),
        (
            "seed-nulls",
            file(
                nulls,
                WriterProperties::builder().build(),
                reals([SYMBOLS, TEXT_DATES]),
            )?,
        ),
        (
            "seed-repeated",
            file(
                repeated,
                WriterProperties::builder().build(),
                reals([SYMBOLS, TEXT_DATES]),
            )?,
        ),
    ])
}

fn file(
    schema: &str,
    properties: WriterProperties,
    cells: Vec<Cells>,
) -> Result<Vec<u8>, ParquetError> {
    let schema = Arc::new(parse_message_type(schema)?);
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    let mut cells = cells.into_iter();
    while let Some(mut column) = group.next_column()? {
        let cells = cells.next().expect("cells for every column of the schema");
        let levels = [1_i16; 3];
        let repeated = [0_i16; 3];
        let levels = (Some(&levels[..]), Some(&repeated[..]));
        match cells {
            Cells::Text(texts) => {
                let texts: Vec<ByteArray> = texts.iter().map(|text| (*text).into()).collect();
                column
                    .typed::<ByteArrayType>()
                    .write_batch(&texts, levels.0, levels.1)?;
            }
            Cells::Whole(n) => {
                column
                    .typed::<Int64Type>()
                    .write_batch(n, levels.0, levels.1)?;
            }
            Cells::Short(n) => {
                column
                    .typed::<Int32Type>()
                    .write_batch(n, levels.0, levels.1)?;
            }
            Cells::Real(x) => {
                column
                    .typed::<DoubleType>()
                    .write_batch(x, levels.0, levels.1)?;
            }
        }
        column.close()?;
    }
    group.close()?;
    writer.close()?;
    Ok(bytes)
}
