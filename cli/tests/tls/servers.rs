//! PostgreSQL and RabbitMQ with TLS, and programs that are run against them.

use crate::certificates::{Authority, Issued};
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Long enough for anything that ends at all on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Passwords and a key, in pieces between characters that mean something in an address: no piece may
/// be seen anywhere.
pub const PG_PASSWORD: &str = "gehe1m@pgpw:secr3t?x";
pub const AMQP_PASSWORD: &str = "k4nin/amqpw@ver8orgen";
pub const API_KEY: &str = "sch1uessel-sch1uessel-sch1uessel-sch1uessel";
const PIECES: [&str; 7] = [
    "gehe1m",
    "pgpw",
    "secr3t",
    "k4nin",
    "amqpw",
    "ver8orgen",
    "sch1uessel",
];

/// A text with everything but letters and digits percent-encoded.
pub fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

/// The servers, whose certificate is made out to `localhost` and to nothing else.
pub struct Servers {
    pub folder: PathBuf,
    pub right: Authority,
    pub wrong: Authority,
    /// For the API.
    pub identity: Issued,
    ports: HashMap<String, String>,
    runs: std::cell::Cell<usize>,
}

/// How a program ended, and everything that it said.
pub struct Ended {
    pub status: ExitStatus,
    pub said: String,
}

fn root() -> PathBuf {
    let cli = Path::new(env!("CARGO_MANIFEST_DIR"));
    cli.parent().expect("cli has a parent").to_path_buf()
}

impl Servers {
    pub async fn start() -> Self {
        trialmill_tls::install_default();
        let base = std::env::var_os("TRIALMILL_SERVICES_DIR")
            .map_or_else(|| root().join(".services"), PathBuf::from);
        let folder = base.join(format!("tls-{}", std::process::id()));
        let files = folder.join("files");
        std::fs::create_dir_all(&files).unwrap();
        let right = Authority::new(&files, "right");
        let wrong = Authority::new(&files, "wrong");
        let identity = right.issue(&files, "server", &["localhost"]);
        std::fs::write(files.join("password"), PG_PASSWORD).unwrap();
        let mut servers = Self {
            folder,
            right,
            wrong,
            identity,
            ports: HashMap::new(),
            runs: std::cell::Cell::default(),
        };
        servers.services("start");
        let ports = std::fs::read_to_string(servers.folder.join("ports")).unwrap();
        let pair = |line: &str| {
            line.split_once('=')
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
        };
        servers.ports = ports.lines().filter_map(pair).collect();
        servers.add_rabbitmq_user().await;
        servers
    }

    fn services(&self, verb: &str) {
        let output = Command::new(root().join("scripts/services"))
            .arg(verb)
            .env("TRIALMILL_SERVICES_DIR", &self.folder)
            .env("TRIALMILL_SERVICES_TLS", self.folder.join("files"))
            .env("TRIALMILL_SERVICES_ENGINE", "debian")
            .env("TRIALMILL_SERVICES_FSYNC", "off")
            .env_remove("DATABASE_URL")
            .env_remove("AMQP_URL")
            .stdin(Stdio::null())
            .output()
            .expect("scripts/services runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "services {verb}: {error}");
    }

    pub fn port(&self, name: &str) -> &str {
        &self.ports[name]
    }

    /// PostgreSQL by the right name, with `tail` after the database's.
    pub fn database(&self, tail: &str) -> String {
        let (password, port) = (encoded(PG_PASSWORD), self.port("PG_PORT"));
        format!("postgres://guarded:{password}@localhost:{port}/trialmill{tail}")
    }

    /// RabbitMQ by the right name.
    pub fn amqps(&self) -> String {
        let (password, port) = (encoded(AMQP_PASSWORD), self.port("AMQPS_PORT"));
        format!("amqps://guarded:{password}@localhost:{port}/%2f")
    }

    /// The settings of programs for which everything is right.
    pub fn right_settings(&self) -> HashMap<&'static str, String> {
        let authority = self.right.file.display().to_string();
        HashMap::from([
            ("DATABASE_URL", self.database("?sslmode=verify-full")),
            ("TRIALMILL_DATABASE_CA_FILE", authority.clone()),
            ("AMQP_URL", self.amqps()),
            ("TRIALMILL_AMQP_CA_FILE", authority),
            ("TRIALMILL_API_KEY", API_KEY.to_owned()),
        ])
    }

    async fn management(&self, method: reqwest::Method, path: &str, body: String) -> String {
        let port = self.port("MANAGEMENT_PORT");
        let url = format!("http://guest:guest@127.0.0.1:{port}/api/{path}");
        let http = reqwest::Client::new();
        let answer = http.request(method, url).body(body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.text().await.unwrap()
    }

    async fn add_rabbitmq_user(&self) {
        let user = serde_json::json!({"password": AMQP_PASSWORD, "tags": ""}).to_string();
        let put = reqwest::Method::PUT;
        self.management(put.clone(), "users/guarded", user).await;
        let all = serde_json::json!({"configure": ".*", "write": ".*", "read": ".*"}).to_string();
        self.management(put, "permissions/%2F/guarded", all).await;
    }

    /// Whether each connection of our user is encrypted.
    pub async fn rabbitmq_connections(&self) -> Vec<bool> {
        let text = self
            .management(reqwest::Method::GET, "connections", String::new())
            .await;
        let all: serde_json::Value = serde_json::from_str(&text).unwrap();
        let all = all.as_array().expect("a list").iter();
        let ours = all.filter(|connection| connection["user"] == "guarded");
        ours.map(|connection| connection["ssl"] == true).collect()
    }

    /// Starts a program with these settings and no others; what it says goes to a file.
    pub fn spawn(
        &self,
        program: &str,
        words: &[&str],
        settings: &HashMap<&str, String>,
    ) -> Program {
        self.runs.set(self.runs.get() + 1);
        let log = self
            .folder
            .join(format!("{:03}-{program}.log", self.runs.get()));
        let said = File::create(&log).unwrap();
        let beside = Path::new(env!("CARGO_BIN_EXE_trialmill")).with_file_name(program);
        assert!(beside.exists(), "{program} is not built; run scripts/test");
        let mut command = Command::new(beside);
        for (name, _) in std::env::vars_os() {
            let ours = name.to_string_lossy().starts_with("TRIALMILL_");
            if ours || name == "DATABASE_URL" || name == "AMQP_URL" {
                command.env_remove(name);
            }
        }
        let child = command
            .args(words)
            .env("TRIALMILL_SERVICES_DIR", &self.folder)
            .env("TRIALMILL_LOG", "trace")
            .envs(settings)
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .spawn()
            .unwrap();
        Program { child, log }
    }

    /// Runs a program to its end.
    pub fn run(&self, program: &str, words: &[&str], settings: &HashMap<&str, String>) -> Ended {
        self.spawn(program, words, settings).end(&[])
    }

    /// Every piece of a secret that any program has said, with the line.
    pub fn leaks(&self) -> Vec<String> {
        let mut leaks = Vec::new();
        for entry in std::fs::read_dir(&self.folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            // The servers' own logs are theirs.
            if !name.ends_with(".log") || !name.starts_with(|c: char| c.is_ascii_digit()) {
                continue;
            }
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            let lines = text.lines();
            let leaking = lines.filter(|line| PIECES.iter().any(|piece| line.contains(piece)));
            leaks.extend(leaking.map(|line| format!("{name}: {line}")));
        }
        leaks
    }
}

/// A running program.
pub struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    /// Waits until it ends, or until it has said one of these words and is ended.
    pub fn end(mut self, words: &[&str]) -> Ended {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Ended {
                    status,
                    said: self.said(),
                };
            }
            let said = self.said();
            if words.iter().any(|word| said.contains(word)) {
                self.child.kill().unwrap();
            }
            assert!(began.elapsed() < PATIENCE, "it does not end: {said}");
            pause();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Between two looks at a condition.
#[expect(clippy::disallowed_methods, reason = "no runtime has to wait for this")]
pub fn pause() {
    std::thread::sleep(Duration::from_millis(50));
}

/// Looks until a condition holds.
pub async fn wait(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < PATIENCE, "waited too long until {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.services("stop");
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}
