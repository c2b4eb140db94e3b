//! `dead`: messages that nobody could use.

use crate::args::{Api, Dead};
use crate::client::Client;
use crate::config::Settings;
use crate::failure::Failure;
use crate::figures;
use crate::output;
use reqwest::Url;
use serde_json::Value;

const PATH: &str = "/api/v1/dead";

/// Lists, replays or discards dead letters.
///
/// # Errors
/// When the API does not answer, or there is no such letter.
pub async fn run(command: Dead, settings: &Settings) -> Result<(), Failure> {
    match command {
        Dead::List { pool, limit, api } => list(pool.as_deref(), limit, &api, settings).await,
        Dead::Replay { id, api } => {
            let path = format!("{PATH}/{}/replay", in_path(&id));
            let answer = Client::new(&api, settings)?.post(&path).await?;
            one(&answer, "back in its queue", &api)
        }
        Dead::Discard {
            id: Some(id), api, ..
        } => {
            let path = format!("{PATH}/{}", in_path(&id));
            let answer = Client::new(&api, settings)?.delete(&path).await?;
            one(&answer, "discarded", &api)
        }
        Dead::Discard { pool, api, .. } => {
            let path = format!("{PATH}{}", query(&[("pool", pool.as_deref())]));
            let answer = Client::new(&api, settings)?.delete(&path).await?;
            if api.json {
                return Ok(output::document(&answer)?);
            }
            let discarded = figures::value(&answer["discarded"]);
            Ok(output::say(format!("{discarded} discarded"))?)
        }
    }
}

async fn list(
    pool: Option<&str>,
    limit: u32,
    api: &Api,
    settings: &Settings,
) -> Result<(), Failure> {
    let limit = limit.to_string();
    let query = query(&[("pool", pool), ("limit", Some(&limit))]);
    let answer = Client::new(api, settings)?
        .get(&format!("{PATH}{query}"))
        .await?;
    if api.json {
        return Ok(output::document(&answer)?);
    }
    let head = ["ID", "CODE", "POOL", "TASK", "UNIT", "REASON"];
    let head = head.map(str::to_owned).to_vec();
    let row = |letter: &Value| {
        let names = ["id", "code", "pool", "task_id", "unit", "reason"];
        names.map(|name| figures::value(&letter[name])).to_vec()
    };
    let letters = answer["items"].as_array().map_or(&[][..], Vec::as_slice);
    let rows: Vec<_> = std::iter::once(head)
        .chain(letters.iter().map(row))
        .collect();
    for line in output::columns(&rows) {
        output::say(line)?;
    }
    output::note(format!(
        "{} of {} shown; replay or discard them by their id",
        letters.len(),
        figures::value(&answer["total"])
    ));
    Ok(())
}

fn one(letter: &Value, what: &str, api: &Api) -> Result<(), Failure> {
    if api.json {
        return Ok(output::document(letter)?);
    }
    let (id, reason) = (
        figures::value(&letter["id"]),
        figures::value(&letter["reason"]),
    );
    Ok(output::say(format!(
        "{id} {what}; it was dead because {reason}"
    ))?)
}

/// A query of the values that are given.
fn query(pairs: &[(&str, Option<&str>)]) -> String {
    let given = pairs
        .iter()
        .filter_map(|(name, value)| Some((name, (*value)?)));
    let mut url: Url = "http://host".parse().expect("a constant URL");
    url.query_pairs_mut().extend_pairs(given);
    url.query()
        .filter(|q| !q.is_empty())
        .map_or_else(String::new, |query| format!("?{query}"))
}

/// An id as a part of a path.
fn in_path(id: &str) -> String {
    let mut url: Url = "http://host/".parse().expect("a constant URL");
    if let Ok(mut path) = url.path_segments_mut() {
        path.push(id);
    }
    url.path().trim_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_users_write_stays_within_its_place() {
        assert_eq!(query(&[("pool", None)]), "");
        assert_eq!(
            query(&[("pool", Some("a&b")), ("limit", Some("3"))]),
            "?pool=a%26b&limit=3"
        );
        assert_eq!(in_path("0af1"), "0af1");
        assert_eq!(in_path("a/b?c"), "a%2Fb%3Fc");
    }
}
