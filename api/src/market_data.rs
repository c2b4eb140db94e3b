//! Which market data is stored.

use crate::answer::{SeriesAnswer, SeriesList};
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
use trialmill_store::rows::SeriesInfo;

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
    Ok(Json(SeriesList {
        items: series.into_iter().map(answer).collect(),
        total,
    }))
}

async fn one(
    State(state): State<AppState>,
    SymbolPath(symbol): SymbolPath,
) -> Result<Json<SeriesAnswer>, Problem> {
    let mut found = state
        .store
        .series_info(std::slice::from_ref(&symbol))
        .await?;
    match found.pop() {
        Some(info) => Ok(Json(answer(info))),
        None => Err(Problem::not_found(format!(
            "there is no market data of {symbol}; import it with 'trialmill data import FILE'"
        ))),
    }
}

fn answer(info: SeriesInfo) -> SeriesAnswer {
    SeriesAnswer {
        symbol: info.symbol,
        hash: snapshot_name(&info.hash),
        frequency: info.frequency,
        rows: info.rows,
        first_date: info.first,
        last_date: info.last,
        source: info.source,
        stored_at: info.stored_at,
    }
}
