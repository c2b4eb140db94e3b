//! The fields of a request, wherever its form puts them.
//!
//! Older clients wrap the fields of a task in `config`, and some of those of a search once more in
//! `optimization_config`. Each field may stand in any place that its form gives it, but in one only.

use super::findings::Findings;
use super::node::{Node, Object};

/// Where older clients put the fields of a task.
pub(super) const CONFIG: &str = "config";
/// Where older clients put some of the fields of a search.
pub(super) const NESTED: &str = "optimization_config";
/// The fields that may stand in `optimization_config`.
pub(super) const NESTED_FIELDS: [&str; 6] = [
    "strategy_name",
    "param_space",
    "objective_config",
    "n_trials",
    "optimization_method",
    "timeout",
];

/// An object of the request and the fields that it may hold.
struct Place<'a> {
    object: Object<'a>,
    fields: &'a [&'static str],
}

/// The places of a request, the outermost first.
pub(super) struct Request<'a> {
    places: Vec<Place<'a>>,
    /// Fields of a place that is no object: they are unknown rather than missing.
    unreadable: Vec<&'static str>,
}

impl<'a> Request<'a> {
    /// A request whose fields all stand at the top.
    pub(super) fn flat(top: Object<'a>, fields: &'a [&'static str]) -> Self {
        Self {
            places: vec![Place {
                object: top,
                fields,
            }],
            unreadable: Vec::new(),
        }
    }

    /// A request of a kind: the fields at the top beside `task_type`, or in `config`; for a search
    /// some of them in `optimization_config`, at the top or in `config`.
    pub(super) fn of_kind(
        top: Object<'a>,
        fields: &'a [&'static str],
        nests: bool,
        findings: &mut Findings,
    ) -> Self {
        let nested: &[&str] = if nests { &[NESTED] } else { &[] };
        let outer = [fields, &["task_type", CONFIG], nested].concat();
        top.only(&outer, findings);
        let mut request = Self {
            places: Vec::new(),
            unreadable: Vec::new(),
        };
        let config = request.inner(&top, CONFIG, &[fields, nested].concat(), fields, findings);
        let mut inner = Vec::new();
        if nests {
            for object in std::iter::once(&top).chain(&config) {
                let place = request.inner(object, NESTED, &NESTED_FIELDS, &NESTED_FIELDS, findings);
                inner.extend(place);
            }
        }
        let outer = std::iter::once(top).chain(config);
        let outer = outer.map(|object| Place { object, fields });
        let inner = inner.into_iter().map(|object| Place {
            object,
            fields: &NESTED_FIELDS,
        });
        request.places = outer.chain(inner).collect();
        request
    }

    /// The object of that name in `object`, if it is there.
    fn inner(
        &mut self,
        object: &Object<'a>,
        name: &str,
        known: &[&str],
        fields: &[&'static str],
        findings: &mut Findings,
    ) -> Option<Object<'a>> {
        let node = object.field(name);
        node.value?;
        let inner = node.object(known, findings);
        if inner.is_none() {
            self.unreadable.extend(fields);
        }
        inner
    }

    /// A field. Given in several places, it is a fault, as nobody can know which one was meant.
    pub(super) fn field(&self, name: &str, findings: &mut Findings) -> Node<'a> {
        let places = self.places.iter();
        let nodes: Vec<Node<'a>> = places
            .filter(|place| place.fields.contains(&name))
            .map(|place| place.object.field(name))
            .collect();
        let mut given = nodes.iter().filter(|node| node.value.is_some()).rev();
        let Some(innermost) = given.next() else {
            // The innermost place is where this form would have it.
            let last = nodes.last().expect("a field of the form has a place");
            return last.clone();
        };
        let (place, _) = innermost.pointer.rsplit_once('/').unwrap_or_default();
        for again in given {
            let detail = format!(
                "{name} is given here and in {}; keep one",
                place.trim_start_matches('/')
            );
            findings.fault(again.fault("given_twice", detail));
        }
        innermost.clone()
    }

    /// A field that must be there.
    pub(super) fn required(&self, name: &'static str, findings: &mut Findings) -> Node<'a> {
        let node = self.field(name, findings);
        self.require(node, name, findings)
    }

    /// The node of a field that must be there, unless its place cannot be read.
    pub(super) fn require(
        &self,
        node: Node<'a>,
        name: &'static str,
        findings: &mut Findings,
    ) -> Node<'a> {
        if self.unreadable.contains(&name) {
            node
        } else {
            node.required(findings)
        }
    }

    /// A field with an older name: given under both, it is a fault.
    pub(super) fn aliased(
        &self,
        name: &'static str,
        alias: &'static str,
        findings: &mut Findings,
    ) -> Node<'a> {
        let (node, old) = (self.field(name, findings), self.field(alias, findings));
        match (node.value, old.value) {
            (Some(_), Some(_)) => {
                let detail = format!("{alias} is another name of {name}; keep one");
                findings.fault(old.fault("given_twice", detail));
                node
            }
            (None, Some(_)) => old,
            (_, None) => node,
        }
    }
}
