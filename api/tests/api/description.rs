use crate::schema::{answer, departures, operations};
use crate::service::{Answer, Holder, Service, TASKS, announce, id_of, sphere};
use serde_json::Value;
use std::collections::BTreeSet;
use trialmill_backtest::synthetic::{self, Kind};
use trialmill_store::Store;

const OF_A_TASK: [(&str, &str); 16] = [
    ("POST", ""),
    ("GET", ""),
    ("GET", "/{id}"),
    ("DELETE", "/{id}"),
    ("GET", "/{id}/status"),
    ("GET", "/{id}/trials"),
    ("GET", "/{id}/trials/{n}"),
    ("POST", "/{id}/trials/{n}/replay"),
    ("GET", "/{id}/best"),
    ("GET", "/{id}/pareto-front"),
    ("GET", "/{id}/param-importance"),
    ("GET", "/{id}/figures/{name}"),
    ("GET", "/{id}/events"),
    ("GET", "/{id}/explain"),
    ("POST", "/{id}/cancel"),
    ("POST", "/{id}/pause"),
];

const OTHERS: [&str; 15] = [
    "/",
    "/healthz",
    "/readyz",
    "/openapi.json",
    "/docs",
    "/api/v1/strategies",
    "/api/v1/samplers",
    "/api/v1/metrics-catalogue",
    "/api/v1/workers",
    "/api/v1/queues",
    "/api/v1/dead",
    "/api/v1/market-data",
    "/api/v1/market-data/{symbol}",
    "/api/v1/keys",
    "/api/v1/audit",
];

const OF_KEYS: [(&str, &str); 2] = [("POST", "/api/v1/keys"), ("DELETE", "/api/v1/keys/{name}")];

fn expected() -> BTreeSet<(String, String)> {
    let of_tasks = ["/api/v1/optimization/tasks", "/api/v1/tasks"]
        .into_iter()
        .flat_map(|prefix| {
            let more = [
                "resume",
                "retry",
                "clone",
                "extend",
                "ask",
                "trials",
                "trials/{n}/report",
                "trials/{n}/tell",
            ];
            let more = more.map(|what| format!("/{{id}}/{what}"));
            let more = more.map(|path| ("POST", path));
            let routes = OF_A_TASK.map(|(method, path)| (method, path.to_owned()));
            let routes = routes.into_iter().chain(more);
            routes.map(move |(method, path)| (method.to_owned(), format!("{prefix}{path}")))
        });
    let others = OTHERS
        .into_iter()
        .map(|path| ("GET".to_owned(), path.to_owned()));
    let of_dead = [
        ("DELETE", "/api/v1/dead"),
        ("DELETE", "/api/v1/dead/{id}"),
        ("POST", "/api/v1/dead/{id}/replay"),
    ];
    let more = of_dead
        .into_iter()
        .chain(OF_KEYS)
        .map(|(method, path)| (method.to_owned(), path.to_owned()));
    of_tasks.chain(others).chain(more).collect()
}

#[tokio::test]
async fn the_document_lists_exactly_the_routes_that_are_served() {
    let service = Service::start().await;
    let document = service.get("/openapi.json").await.body;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert_eq!(operations(&document), expected());
    for (method, path) in operations(&document) {
        let real = path
            .replace("{id}", "019a3f0e-8c2b-7d51-9d55-1f0f6a1c2b3d")
            .replace("{n}", "0")
            .replace("{symbol}", "600000.SH")
            .replace("{name}", "nobody");
        let request = service
            .http
            .request(method.parse().unwrap(), format!("{}{real}", service.base));
        let answer = Answer::of(request.send().await.unwrap()).await;
        assert_ne!(answer.status, 405, "{method} {path}");
        let detail = answer.body["detail"].as_str().unwrap_or_default();
        assert!(
            !detail.starts_with("there is nothing at"),
            "{method} {path}: {detail}"
        );
    }
}

#[tokio::test]
async fn every_operation_has_an_id_a_summary_and_the_problem_it_may_answer() {
    let document = serde_json::to_value(trialmill_api::openapi()).unwrap();
    let mut ids = BTreeSet::new();
    for (method, path) in operations(&document) {
        let operation = &document["paths"][&path][method.to_lowercase()];
        let id = operation["operationId"]
            .as_str()
            .unwrap_or_else(|| panic!("{method} {path}"));
        assert!(ids.insert(id.to_owned()), "{id} is used twice");
        assert!(operation["summary"].is_string(), "{method} {path}");
        if path.starts_with("/api/v1/optimization") {
            let problem = &operation["responses"]["default"]["content"];
            assert!(
                problem["application/problem+json"].is_object(),
                "{method} {path}"
            );
        }
    }
    for path in [TASKS, "/api/v1/tasks"] {
        let responses = &document["paths"][path]["post"]["responses"];
        for code in [
            "401", "403", "408", "409", "413", "415", "422", "429", "503",
        ] {
            let problem = &responses[code]["content"]["application/problem+json"];
            assert!(problem.is_object(), "{path} {code}");
            let waits = responses[code]["headers"]["Retry-After"].is_object();
            assert_eq!(waits, ["429", "503"].contains(&code), "{path} {code}");
        }
        assert!(responses["400"]["description"].is_string(), "{path}");
    }
}

#[test]
fn every_operation_says_which_scope_it_needs_and_how_it_refuses() {
    let document = serde_json::to_value(trialmill_api::openapi()).unwrap();
    let mut scopes = std::collections::BTreeMap::<String, usize>::new();
    for (method, path) in operations(&document) {
        let operation = &document["paths"][&path][method.to_lowercase()];
        let requirement = &operation["security"][0];
        let said = operation["description"].as_str().unwrap();
        let Some(scope) = requirement["api_key"][0].as_str() else {
            assert!(said.ends_with("Needs no key."), "{method} {path}: {said}");
            assert!(!path.starts_with("/api/"), "{method} {path} needs a key");
            continue;
        };
        let expected = format!("Needs a key with the scope `{scope}`, where keys are needed.");
        assert!(said.ends_with(&expected), "{method} {path}: {said}");
        for code in ["401", "403", "429"] {
            let problem = &operation["responses"][code]["content"]["application/problem+json"];
            assert!(
                problem["schema"]["$ref"].is_string(),
                "{method} {path} {code}"
            );
        }
        *scopes.entry(scope.to_owned()).or_default() += 1;
    }
    // Two deletions of tasks, three operations on keys, the audit, four on dead letters.
    assert_eq!(scopes["admin"], 10, "{scopes:?}");
    // Of tasks under both prefixes: submit, replay, retry, clone, extend, cancel, pause, resume, ask, report,
    // tell, enqueue.
    assert_eq!(scopes["submit"], 24, "{scopes:?}");
}

#[tokio::test]
async fn a_body_is_accepted_where_the_schema_of_the_route_takes_it() {
    let service = Service::start().await;
    let document = service.get("/openapi.json").await.body;
    let plain = sphere(2);
    let mut typed = plain.clone();
    typed["task_type"] = "hyperparameter_optimization".into();
    let mut nested = typed.clone();
    let fields = nested.as_object_mut().unwrap();
    let moved: serde_json::Map<String, Value> = [
        "strategy_name",
        "param_space",
        "objective_config",
        "optimization_method",
        "n_trials",
    ]
    .into_iter()
    .map(|name| (name.to_owned(), fields.remove(name).unwrap()))
    .collect();
    fields.insert("optimization_config".to_owned(), moved.into());
    let mut wrapped = serde_json::json!({"config": nested});
    for name in ["task_type", "task_name"] {
        let config = wrapped["config"].as_object_mut().unwrap();
        wrapped[name] = config.remove(name).unwrap();
    }
    let mut unbuilt = typed.clone();
    unbuilt["task_type"] = "training".into();
    for (path, body, fits) in [
        (TASKS, &plain, true),
        (TASKS, &typed, true),
        (TASKS, &nested, false),
        ("/api/v1/tasks", &plain, false),
        ("/api/v1/tasks", &typed, true),
        ("/api/v1/tasks", &nested, true),
        (TASKS, &wrapped, false),
        ("/api/v1/tasks", &wrapped, true),
        ("/api/v1/tasks", &unbuilt, false),
    ] {
        let post = &document["paths"][path]["post"];
        let schema = &post["requestBody"]["content"]["application/json"]["schema"];
        let found = departures(&document, schema, body, path);
        assert_eq!(found.is_empty(), fits, "{found:#?}\n{body:#}");
        let request = service.http.post(format!("{}{path}", service.base));
        let answer = Answer::of(request.json(body).send().await.unwrap()).await;
        let status = if fits { 201 } else { 422 };
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn every_body_is_what_its_schema_says() {
    let service = Service::start().await;
    announce(&service.store, &["sphere"]).await;
    let day = |month, day| chrono::NaiveDate::from_ymd_opt(2022, month, day).unwrap();
    let bars = synthetic::series(Kind::RandomWalk, 7, 0, day(1, 1), day(3, 31)).unwrap();
    service.store.put_series(&[bars], "a test").await.unwrap();
    let symbol = service.get("/api/v1/market-data").await.body["items"][0]["symbol"].clone();
    let accepted = service.submit(&sphere(4)).await;
    let path = accepted.header("location").unwrap().to_owned();
    Holder::claim(&service.store, &path)
        .await
        .record(4, &[1], true)
        .await;
    let failed = service.accepted(&sphere(1)).await;
    Holder::claim(&service.store, &failed)
        .await
        .record(1, &[0], true)
        .await;
    let queued = service.accepted(&sphere(2)).await;

    let document = service.get("/openapi.json").await.body;
    let check = |method: &str, path: &str, status: &str, body: &Value| {
        let schema = answer(&document, method, path, status);
        let found = departures(&document, schema, body, path);
        assert!(found.is_empty(), "{found:#?}\n{body:#}");
    };
    check("POST", TASKS, "201", &accepted.body);
    let of_tasks = [
        "",
        "/status",
        "/trials",
        "/trials/1",
        "/trials/0",
        "/best",
        "/explain",
        "/pareto-front",
        "/param-importance",
        "/param-importance?method=fanova",
        "/figures/slice",
        "/figures/contour",
        "/figures/parallel_coordinate",
        "/figures/rank",
        "/figures/history",
        "/figures/edf",
        "/figures/pie",
    ];
    for task in [&path, &failed, &queued] {
        for rest in of_tasks {
            let answer = service.get(&format!("{task}{rest}")).await;
            let id = id_of(task).to_string();
            let at = format!("{task}{rest}").replace(&id, "{id}");
            let at = at
                .replace("/trials/1", "/trials/{n}")
                .replace("/trials/0", "/trials/{n}");
            let at = match at.split_once("/figures/") {
                Some((task, _)) => format!("{task}/figures/{{name}}"),
                None => at.split('?').next().unwrap().to_owned(),
            };
            let status = if answer.status == 200 {
                "200"
            } else {
                "default"
            };
            check("GET", &at, status, &answer.body);
        }
    }
    for verb in ["pause", "resume", "cancel"] {
        let answer = service.post(&format!("{queued}/{verb}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        check(
            "POST",
            &format!("{TASKS}/{{id}}/{verb}"),
            "200",
            &answer.body,
        );
    }
    let listed = [TASKS, "/api/v1/tasks"].into_iter().chain(OTHERS);
    for path in listed.filter(|path| !["/", "/docs", "/openapi.json"].contains(path)) {
        let real = path.replace("{symbol}", symbol.as_str().unwrap());
        let answer = service.get(&real).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        check("GET", path, "200", &answer.body);
    }
    let refused = service
        .submit(&serde_json::json!({"n_trials": 0, "constraints": ["a <"]}))
        .await;
    check(
        "POST",
        TASKS,
        "default",
        refused.problem(422, "invalid_request"),
    );
}

#[tokio::test]
async fn the_documentation_loads_nothing_from_elsewhere() {
    let service = Service::start().await;
    let home = service.get("/").await;
    assert_eq!((home.status, home.header("location")), (307, Some("/docs")));
    let page = service.get("/docs").await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("url: '/openapi.json'"));
    assert!(
        page.text.contains("withDefaultFonts: false"),
        "Scalar's template has changed"
    );
    // The page's own markup, without the text of the embedded script.
    let script = page.text.rfind("<script>").unwrap();
    let markup = &page.text[..script];
    for loads in [
        "src=",
        "<link",
        "@import",
        "url(http",
        "url('http",
        "url(\"http",
        "url(//",
    ] {
        assert!(!markup.contains(loads), "{loads} in the page");
    }
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert!(!policy.contains("http"), "{policy}");
    assert!(policy.contains("connect-src 'self'"), "{policy}");
}
