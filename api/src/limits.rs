//! Every bound of the HTTP side, with its reason.

use std::time::Duration;

/// Largest request body. A task with 100 parameters of 1,000 choices each is far below it.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// How much of a body that is too large is still read and thrown away, so that a client that sends
/// before it listens sees the answer instead of a broken connection.
pub const DISCARD_BYTES: u64 = 96 * 1024 * 1024;

/// Largest sum of header names and values. A bearer key and an idempotency key take below 1 kB.
pub const MAX_HEADER_BYTES: usize = 16 * 1024;

/// Longest `Idempotency-Key`, in characters: what the draft of the IETF and most services allow.
pub const MAX_IDEMPOTENCY_KEY: usize = 255;

/// Checks of submitted tasks at a time, each on a thread of its own: most take far below a
/// millisecond, and one that lists a large space with long conditions a second or two of one core.
/// More submissions wait in order.
pub const CHECK_THREADS: usize = 2;

/// Computations over the trials of a search at a time (fronts, importances, pictures), each on a thread of
/// its own: most take milliseconds, and a front of many thousand trials or a fANOVA a second of one core.
/// More wait in order.
pub const INSIGHT_THREADS: usize = 2;

/// Most trials that a front is made of, the first ones by number: read in some tenths of a second, and some 20 MB
/// while it is made.
pub const MAX_FRONT_TRIALS: u32 = 100_000;

/// Most members of a front that further trials are compared with: with [`MAX_FRONT_TRIALS`] these are a
/// second of one core. Beyond it, a front is most of its trials and says nothing.
pub const MAX_FRONT_COMPARED: usize = 5_000;

/// Most members of a front in one answer, some 300 bytes each.
pub const MAX_FRONT_SHOWN: usize = 1_000;

/// Most points of the history of a hypervolume.
pub const MAX_VOLUME_POINTS: usize = 1_000;

/// Most trials that importances and pictures are made of, the first ones by number: what fANOVA reads, and
/// more points than a picture has room for.
pub const MAX_INSIGHT_TRIALS: u32 = 10_000;

/// Most values of parameters in one picture, some 50 bytes each.
pub const MAX_FIGURE_VALUES: usize = 200_000;

/// Fronts that are remembered: at most half a megabyte each, mostly a few kB.
pub const MAX_FRONTS_KEPT: u64 = 64;

/// Importances that are remembered: below 10 kB each.
pub const MAX_IMPORTANCES_KEPT: u64 = 256;

/// Points drawn and pruners asked at a time for trials that clients run, each on a thread of its own: most take
/// far below a millisecond. More wait in order.
pub const STUDY_THREADS: usize = 2;

/// Kilobytes of trials of searches of clients that are kept in memory: some 200 bytes a trial, and 12 a report where
/// a pruner reads them. The least recently used search goes first, and is read again when it is asked for.
pub const MAX_STUDIES_KILOBYTES: u64 = 256 * 1_000;

/// How long the trials of a search are kept after a client was last heard of.
pub const STUDY_IDLE: Duration = Duration::from_secs(600);

/// Most trials read of an earlier task that another one begins from, the latest of them.
pub const MAX_WARM_READ: u32 = 2_000;

/// Most trials that a retry or an extension copies: they are copied in the transaction that accepts
/// the task, which must end well within [`REQUEST_TIME`].
pub const MAX_COPIED_TRIALS: u32 = 1_000_000;

/// Largest page of a list.
pub const MAX_PAGE: u32 = trialmill_store::MAX_PAGE;

/// Page size when a request names none.
pub const DEFAULT_PAGE: u32 = 100;

/// Longest time from the request's head to the answer's head. Every operation is a short
/// transaction; what takes longer is a fault, and the client should know. Streams of events are
/// answered at once and are not cut by it.
pub const REQUEST_TIME: Duration = Duration::from_secs(30);

/// Longest time for the choice of partners within a request: below [`REQUEST_TIME`], so that the
/// client is told what was slow. 300 symbols take about a tenth of a second for each stock.
pub const PARTNER_TIME: Duration = Duration::from_secs(25);

/// Stocks whose partners are chosen at a time: each keeps a core busy.
pub const PARTNER_THREADS: usize = 1;

/// Requests whose candidates are in memory at a time, with the bars of three years: at most 80 MB
/// each. Their stocks take turns.
pub const PARTNER_LISTS: usize = 3;

/// Choices of partners that are remembered, some 3 kB each: repeated submissions repeat the same
/// tests, and a request that was too slow goes on where it stopped, which takes all of its stocks.
pub const MAX_PARTNER_CHOICES_KEPT: usize = 2 * trialmill_common::draft::MAX_STOCK_CODES;

/// The most series of a strategy of one leg whose prices are looked at for what no session allows,
/// when a task is accepted: 50 series of twenty years are 12 MB. A pair's are always looked at.
pub const MAX_SERIES_LOOKED_AT: usize = 50;

/// Series read from the store at a time; bounds the bytes of one answer.
pub const SERIES_PER_READ: usize = 32;

/// Longest time from the request's head to the end of its body. Shorter than [`REQUEST_TIME`], so
/// that a slow sender is told what was slow: 20 s are 50 kB/s for the largest body.
pub const BODY_TIME: Duration = Duration::from_secs(20);

/// How long a connection may refuse to take bytes that are ready for it before it is dropped.
pub const WRITE_STALL: Duration = Duration::from_secs(30);

/// How long a connection may live without being sent a byte, from its beginning or the byte before:
/// a request is answered within [`REQUEST_TIME`] of its head and a stream is sent a comment every
/// [`KEEP_ALIVE`], so that only those are dropped that ask nothing, or never end their head. Longer
/// than the 90 s for which common clients keep an idle connection.
pub const QUIET: Duration = Duration::from_secs(120);
/// How long a TLS handshake may take: two round trips and a signature. A peer that is slower holds up
/// only its own connection.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// Events read from the store at a time for one watcher: what a slow watcher holds in memory.
pub const EVENT_PAGE: u32 = 100;

/// Watchers of this process at a time. Each costs a connection and at most one page of events.
pub const MAX_EVENT_STREAMS: usize = 512;

/// How often is looked for new events without being woken: a wake-up may be lost.
pub const EVENT_POLL: Duration = Duration::from_secs(1);

/// Wake-ups of this long count as one: a busy store commits often.
pub const EVENT_COALESCE: Duration = Duration::from_millis(50);

/// A comment is sent on a silent stream this often, so that proxies keep it open and a vanished
/// client is noticed.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What a client is told to wait after a 503, in seconds.
pub const RETRY_AFTER_SECONDS: u32 = 5;

/// Fewest characters of an API key: 32 random ones of a 64 letter alphabet are 192 bits.
pub const MIN_KEY_CHARS: usize = 32;

/// Series named in one answer of `/market-data`; the rest is counted.
pub const MAX_SERIES_LISTED: usize = 10_000;

/// How long a key that was looked up is believed: for so long a revoked key still works in another
/// process than the one that revoked it, and a new one is still unknown where it was tried before.
pub const KEY_BELIEVED: Duration = Duration::from_secs(3);

/// Keys that are remembered, known and unknown ones: some 300 bytes each.
pub const MAX_KEYS_KEPT: u64 = 10_000;

/// The use of a key is written at most this often by each process.
pub const KEY_TOUCH: Duration = Duration::from_secs(60);

/// Requests per second of one key, or of one address without a key, where nobody says: more than a
/// script sends one after the other, and about what two cores answer.
pub const DEFAULT_RATE_PER_SECOND: u32 = 500;

/// Requests at once before the rate counts, where nobody says: a page with all of its parts, or 500
/// watchers that come back together.
pub const DEFAULT_RATE_BURST: u32 = 1_000;

/// Highest rate and burst that can be set; beyond it none is meant.
pub const MAX_RATE: u32 = 1_000_000;

/// Keys and addresses whose rate is remembered, some 200 bytes each; the longest unseen goes first.
pub const MAX_RATES_KEPT: u64 = 10_000;

/// Refused requests are gathered for this long before they become events of the audit.
pub const DENIED_GATHERED: Duration = Duration::from_secs(60);

/// Callers whose refused requests are told apart while they are gathered; the rest is one event. So
/// an attacker with many addresses makes at most eleven rows a minute.
pub const MAX_DENIED_CALLERS: usize = 10;

/// What a client whose key has too much in work is told to wait, in seconds: tasks take their time.
pub const RETRY_QUOTA_SECONDS: u32 = 60;

/// Submissions that copy the trials of another task at a time: each may hold a connection of the
/// eight for half a minute.
pub const COPIES_AT_A_TIME: usize = 2;
