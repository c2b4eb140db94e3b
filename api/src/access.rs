//! Who may do what: the key of a request, its scope, its rate, and who is told of a refusal.
//!
//! A key is looked up in the store and believed for [`KEY_BELIEVED`]. A store that does not answer
//! is 503 and never 401: nobody is turned away because the database is away.

mod denied;
mod description;
mod host;
mod rate;
mod scope;

pub(crate) use description::{SCHEME, describe};
pub use rate::RateLimit;

use crate::key::ApiKey;
use crate::limits::{
    DEFAULT_RATE_BURST, DEFAULT_RATE_PER_SECOND, KEY_BELIEVED, KEY_TOUCH, MAX_KEYS_KEPT,
    MIN_KEY_CHARS,
};
use crate::problem::{Class, Problem};
use crate::state::AppState;
use aide::OperationInput;
use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use denied::{Denial, Denied};
use moka::future::Cache;
use rate::{Rates, Who};
use scope::Need;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use trialmill_common::fault::Fault;
use trialmill_common::key::{
    DEFAULT_MAX_ACTIVE_TASKS, DEFAULT_MAX_BACKLOG_TRIALS, ENVIRONMENT, Quota,
};
use trialmill_common::state::KeyScope;
use trialmill_store::keys::KeyRow;
use trialmill_store::{Store, StoreError};

/// What a service is told about access, once, at its start.
#[derive(Debug, Clone)]
pub struct AccessSettings {
    /// The key of the environment; it may do everything.
    pub environment: Option<ApiKey>,
    /// Whether a key is needed even when there is none: on addresses that others reach.
    pub demanded: bool,
    /// Requests per key, or per address without one.
    pub rate: Option<RateLimit>,
    /// What a key may have in work, unless it has bounds of its own.
    pub quota: Quota,
}

impl Default for AccessSettings {
    fn default() -> Self {
        Self {
            environment: None,
            demanded: false,
            rate: RateLimit::new(DEFAULT_RATE_PER_SECOND, DEFAULT_RATE_BURST),
            quota: Quota {
                active_tasks: Some(DEFAULT_MAX_ACTIVE_TASKS),
                backlog_trials: Some(DEFAULT_MAX_BACKLOG_TRIALS),
            },
        }
    }
}

/// Why a service must not start.
#[derive(Debug, thiserror::Error)]
pub enum NoAccess {
    /// Others reach it, and nobody has a key that could manage it.
    #[error(
        "others can reach {0}, and there is neither TRIALMILL_API_KEY nor a live key with the \
         scope admin in the database; set TRIALMILL_API_KEY to at least {MIN_KEY_CHARS} random \
         characters, or make a key with `trialmill keys create NAME --scope admin`, or listen on \
         127.0.0.1:8080"
    )]
    NoKey(SocketAddr),
    /// Whether there is one is not known.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether a service may listen at `address`: beyond loopback it needs `environment`, or a live
/// admin key in the database. Returns what [`AccessSettings::demanded`] is to be.
///
/// # Errors
/// When it has neither, or the database does not answer.
pub async fn may_listen(
    address: SocketAddr,
    environment: Option<&ApiKey>,
    store: &dyn Store,
) -> Result<bool, NoAccess> {
    if address.ip().is_loopback() {
        return Ok(false);
    }
    if environment.is_none() && store.key_census().await?.live_admins == 0 {
        return Err(NoAccess::NoKey(address));
    }
    Ok(true)
}

/// Who sent a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Caller {
    name: Option<Arc<str>>,
    /// What it may have in work.
    pub quota: Quota,
}

impl Caller {
    /// Name of its key.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Name of its key; "" without one.
    pub fn key(&self) -> &str {
        self.name().unwrap_or_default()
    }

    /// Who it is, for a sentence.
    pub fn title(&self) -> String {
        self.name().map_or_else(
            || "who sends no key".to_owned(),
            |name| format!("the key '{name}'"),
        )
    }

    /// Scope of its idempotency keys. That of the environment's key is the one of no key: so it was
    /// before there were others, and a request that is repeated across an upgrade is known again.
    pub fn idempotency_scope(&self) -> &str {
        self.name()
            .filter(|name| *name != ENVIRONMENT)
            .unwrap_or_default()
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}

impl OperationInput for Caller {}

/// The address of the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub IpAddr);

/// The guard of the router.
pub(crate) struct Access {
    settings: AccessSettings,
    /// Nobody is asked: the requests come from this very process.
    trusting: bool,
    /// What a digest was found to be; nothing: no valid key.
    known: Cache<[u8; 32], Option<Arc<KeyRow>>>,
    /// Whether the database has a key that is not revoked.
    any: Cache<(), bool>,
    touched: moka::sync::Cache<i64, ()>,
    rates: Rates,
    denied: Arc<Denied>,
}

impl Access {
    pub fn new(settings: AccessSettings) -> Self {
        Self {
            trusting: false,
            known: Cache::builder()
                .max_capacity(MAX_KEYS_KEPT)
                .time_to_live(KEY_BELIEVED)
                .build(),
            any: Cache::builder().time_to_live(KEY_BELIEVED).build(),
            touched: moka::sync::Cache::builder()
                .max_capacity(MAX_KEYS_KEPT)
                .time_to_live(KEY_TOUCH)
                .build(),
            rates: Rates::new(settings.rate),
            denied: Arc::default(),
            settings,
        }
    }

    /// Lets everybody do everything.
    pub fn trusting() -> Self {
        let settings = AccessSettings {
            rate: None,
            quota: Quota::NONE,
            ..AccessSettings::default()
        };
        Self {
            trusting: true,
            ..Self::new(settings)
        }
    }

    /// Forgets what it believes of keys: they were changed here.
    pub fn keys_changed(&self) {
        self.known.invalidate_all();
        self.any.invalidate_all();
    }

    /// Whether requests need a key. On loopback without the environment's key that is so once there
    /// is a key in the database that is not revoked.
    async fn needs_key(&self, store: &Arc<dyn Store>) -> Result<bool, Problem> {
        if self.settings.demanded || self.settings.environment.is_some() {
            return Ok(true);
        }
        let store = Arc::clone(store);
        let count = async move { Ok::<_, Problem>(store.key_census().await?.kept > 0) };
        let any = self.any.try_get_with((), count).await;
        any.map_err(|problem: Arc<Problem>| (*problem).clone())
    }

    async fn look_up(
        &self,
        store: &Arc<dyn Store>,
        digest: [u8; 32],
    ) -> Result<Option<Arc<KeyRow>>, Problem> {
        let store = Arc::clone(store);
        let find = async move { Ok::<_, Problem>(store.key_by_hash(digest).await?.map(Arc::new)) };
        let found = self.known.try_get_with(digest, find).await;
        found.map_err(|problem: Arc<Problem>| (*problem).clone())
    }

    /// Who sends the request, if it may do what needs `needed`.
    async fn admit(
        &self,
        store: &Arc<dyn Store>,
        request: &Parts,
        peer: Option<IpAddr>,
        needed: KeyScope,
    ) -> Result<Caller, Problem> {
        let nobody = Caller {
            name: None,
            quota: self.settings.quota,
        };
        if self.trusting {
            return Ok(nobody);
        }
        if !self.needs_key(store).await? {
            self.rates.take_peer(peer)?;
            if let Some(name) = host::foreign(&request.headers, &request.uri) {
                return Err(misdirected(name));
            }
            return Ok(nobody);
        }
        let Some(offered) = offered(&request.headers) else {
            self.rates.take_peer(peer)?;
            return Err(self.unknown(store, peer, "none was sent"));
        };
        let environment = self.settings.environment.as_ref();
        if environment.is_some_and(|key| key.is(&offered)) {
            self.rates.take(Who::Environment, ENVIRONMENT)?;
            return Ok(Caller {
                name: Some(ENVIRONMENT.into()),
                ..nobody
            });
        }
        // What is not known to be a key is counted against the address, before the store is asked.
        let believed = self.known.get(&offered.digest()).await.flatten();
        let key = match believed {
            Some(key) => key,
            None => {
                self.rates.take_peer(peer)?;
                match self.look_up(store, offered.digest()).await? {
                    Some(key) => key,
                    None => {
                        let why = "the one that was sent is unknown, expired or revoked";
                        return Err(self.unknown(store, peer, why));
                    }
                }
            }
        };
        self.rates.take(Who::Key(key.id), &key.name)?;
        self.touch(store, key.id);
        if !key.may(needed) {
            return Err(self.forbidden(store, &key, needed));
        }
        let own = key.quota;
        Ok(Caller {
            name: Some(key.name.as_str().into()),
            quota: Quota {
                active_tasks: own.active_tasks.or(nobody.quota.active_tasks),
                backlog_trials: own.backlog_trials.or(nobody.quota.backlog_trials),
            },
        })
    }

    /// Writes that a key was used, now and then, while the request goes on.
    fn touch(&self, store: &Arc<dyn Store>, id: i64) {
        if !self.touched.entry(id).or_insert(()).is_fresh() {
            return;
        }
        let store = Arc::clone(store);
        tokio::spawn(async move {
            if let Err(error) = store.touch_key(id).await {
                tracing::debug!(key.id = id, %error, "the use of a key was not written");
            }
        });
    }

    fn unknown(&self, store: &Arc<dyn Store>, peer: Option<IpAddr>, why: &str) -> Problem {
        let from = peer.map_or_else(|| "this process".to_owned(), |peer| peer.to_string());
        self.denied.note(
            store,
            Denial {
                key: String::new(),
                target: from,
                detail: "401: no key, or no valid one",
            },
        );
        let detail = format!("send an API key as 'Authorization: Bearer <key>'; {why}");
        Problem::new(Class::Unauthorized, detail)
    }

    fn forbidden(&self, store: &Arc<dyn Store>, key: &KeyRow, needed: KeyScope) -> Problem {
        self.denied.note(
            store,
            Denial {
                key: key.name.clone(),
                target: needed.name().to_owned(),
                detail: "403: the scope is missing",
            },
        );
        let has: Vec<_> = key.scopes.iter().map(|scope| scope.name()).collect();
        let detail = format!(
            "this needs the scope {needed}, and the key '{}' has {}; use a key that has it",
            key.name,
            has.join(", ")
        );
        let fault = Fault::new("#Authorization", "missing_scope", detail);
        let fault = fault.value(&has.into()).allowed([needed.name()]);
        Problem::of_fault(Class::Forbidden, fault)
    }
}

/// Refuses what has no valid key, or not its scope, or comes too fast; names the caller to the rest.
pub(crate) async fn admit(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<Peer>>();
    let peer = peer.map(|ConnectInfo(Peer(address))| *address);
    let needed = match scope::need(request.method(), request.uri().path()) {
        Need::Nothing => return next.run(request).await,
        Need::NoKey => match state.access.rates.take_peer(peer) {
            Ok(()) => return next.run(request).await,
            Err(problem) => return problem.into_response(),
        },
        Need::Key(needed) => needed,
    };
    let (mut parts, body) = request.into_parts();
    let admitted = state.access.admit(&state.store, &parts, peer, needed).await;
    match admitted {
        Ok(caller) => {
            parts.extensions.insert(caller);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// A request that somebody else's page may have sent.
fn misdirected(name: &str) -> Problem {
    let detail = format!(
        "this service has no keys, so it serves requests to 127.0.0.1 and localhost only, and this \
         one is to '{name}'; write the address, or make a key with `trialmill keys create NAME \
         --scope admin` and send it"
    );
    let fault = Fault::new("#Host", "foreign_host", detail);
    let fault = fault.value(&name.into());
    Problem::of_fault(Class::Forbidden, fault)
}

fn offered(headers: &HeaderMap) -> Option<ApiKey> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !key.is_empty()).then(|| ApiKey::sent(key))
}
