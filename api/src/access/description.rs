//! What the description of the API says of keys: from the same rule that the guard keeps.

use super::scope::{Need, need};
use crate::problem::Problem;
use aide::OperationOutput;
use aide::generate::in_context;
use aide::openapi::{OpenApi, Operation, ReferenceOr, Response, SecurityRequirement, StatusCode};
use axum::http::Method;

/// Name of the security scheme.
pub(crate) const SCHEME: &str = "api_key";

const REFUSALS: [(u16, &str); 3] = [
    (401, "No key was sent where one is needed, or no valid one."),
    (403, "The key lacks the scope."),
    (
        429,
        "The key or the address is at a limit; Retry-After says how long to wait.",
    ),
];

/// Adds to every operation which scope it needs, and how it refuses.
pub(crate) fn describe(document: &mut OpenApi) {
    let template = in_context(|ctx| Problem::operation_response(ctx, &mut Operation::default()));
    let template = template.expect("a problem always has a response");
    let paths = document.paths.iter_mut().flat_map(|all| &mut all.paths);
    for (path, item) in paths {
        let ReferenceOr::Item(item) = item else {
            continue;
        };
        let operations = [
            (Method::GET, &mut item.get),
            (Method::POST, &mut item.post),
            (Method::PUT, &mut item.put),
            (Method::PATCH, &mut item.patch),
            (Method::DELETE, &mut item.delete),
        ];
        for (method, operation) in operations {
            if let Some(operation) = operation {
                describe_operation(operation, need(&method, path), &template);
            }
        }
    }
}

fn describe_operation(operation: &mut Operation, need: Need, template: &Response) {
    let (requirement, codes, said): (SecurityRequirement, &[u16], String) = match need {
        Need::Nothing => (SecurityRequirement::new(), &[], "Needs no key.".to_owned()),
        Need::NoKey => (
            SecurityRequirement::new(),
            &[429],
            "Needs no key.".to_owned(),
        ),
        Need::Key(scope) => (
            [(SCHEME.to_owned(), vec![scope.name().to_owned()])].into(),
            &[401, 403, 429],
            format!("Needs a key with the scope `{scope}`, where keys are needed."),
        ),
    };
    operation.security = vec![requirement];
    operation.description = Some(match operation.description.take() {
        Some(before) => format!("{before}\n\n{said}"),
        None => said,
    });
    let responses = operation.responses.get_or_insert_default();
    for (code, description) in REFUSALS.iter().filter(|(code, _)| codes.contains(code)) {
        let mut refusal = template.clone();
        (*description).clone_into(&mut refusal.description);
        if *code != 429 {
            refusal.headers.clear();
        }
        let refusal = ReferenceOr::Item(refusal);
        responses
            .responses
            .entry(StatusCode::Code(*code))
            .or_insert(refusal);
    }
}
