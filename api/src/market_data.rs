//! Which market data is stored.

use crate::answer::{RecordAnswer, SeriesAnswer, SeriesList};
use crate::docs::operation;
use crate::extract::SymbolPath;
use crate::limits::MAX_SERIES_LISTED;
use crate::problem::Problem;
use crate::state::AppState;
use crate::tasks::snapshot_name;
use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use axum::Json;
use axum::extract::State;
use std::collections::BTreeMap;
use trialmill_store::rows::{RecordInfo, SeriesInfo};

pub(crate) fn routes() -> ApiRouter<AppState> {
    let doc = |name: &str, summary| operation(name.to_owned(), "Market data", summary);
    ApiRouter::new()
        .api_route(
            "/api/v1/market-data",
            get_with(
                list,
                doc("market_data", "The current series of every symbol"),
            ),
        )
        .api_route(
            "/api/v1/market-data/{symbol}",
            get_with(
                one,
                doc("market_data_symbol", "The current series of one symbol"),
            ),
        )
}

async fn list(State(state): State<AppState>) -> Result<Json<SeriesList>, Problem> {
    let mut series = state.store.series_info(&[]).await?;
    let total = series.len();
    series.sort_by(|a, b| a.symbol.cmp(&b.symbol));
    series.truncate(MAX_SERIES_LISTED);
    let records = state.store.records_info(&[]).await?.into_iter();
    let mut records: BTreeMap<String, RecordInfo> =
        records.map(|info| (info.symbol.clone(), info)).collect();
    let items = series.into_iter().map(|info| {
        let record = records.remove(&info.symbol);
        answer(info, record)
    });
    Ok(Json(SeriesList {
        items: items.collect(),
        total,
    }))
}

async fn one(
    State(state): State<AppState>,
    SymbolPath(symbol): SymbolPath,
) -> Result<Json<SeriesAnswer>, Problem> {
    let symbols = std::slice::from_ref(&symbol);
    let mut found = state.store.series_info(symbols).await?;
    let Some(info) = found.pop() else {
        return Err(Problem::not_found(format!(
            "there is no market data of {symbol}; import it with 'trialmill data import FILE'"
        )));
    };
    let record = state.store.records_info(symbols).await?.pop();
    Ok(Json(answer(info, record)))
}

fn answer(info: SeriesInfo, record: Option<RecordInfo>) -> SeriesAnswer {
    SeriesAnswer {
        symbol: info.symbol,
        hash: snapshot_name(&info.hash),
        frequency: info.frequency,
        rows: info.rows,
        first_date: info.first,
        last_date: info.last,
        source: info.source,
        stored_at: info.stored_at,
        record: record.map(|record| RecordAnswer {
            hash: snapshot_name(&record.hash),
            listed: record.listed,
            delisted: record.delisted,
            special_treatments: record.treatments,
            actions: record.actions,
            reports: record.reports,
            source: record.source,
            stored_at: record.stored_at,
        }),
    }
}
