//! What this build can run: strategies, samplers, metrics.

use crate::answer::{
    MetricAnswer, MetricList, ParameterAnswer, RefusedMetricAnswer, RetiredParameter,
    SamplerAnswer, SamplerList, StrategyAnswer, StrategyList,
};
use crate::docs::operation;
use crate::state::AppState;
use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use axum::Json;
use trialmill_backtest::metrics::{Direction, METRICS, REFUSED};
use trialmill_backtest::strategy::{self, ParamKind, StrategyInfo};
use trialmill_common::objective::{CLIENT, TestFunction};
use trialmill_search::Method;

pub(crate) fn routes() -> ApiRouter<AppState> {
    let doc = |name: &str, summary| operation(name.to_owned(), "Catalogue", summary);
    ApiRouter::new()
        .api_route(
            "/api/v1/strategies",
            get_with(
                strategies,
                doc("strategies", "Strategies and test functions"),
            ),
        )
        .api_route(
            "/api/v1/samplers",
            get_with(samplers, doc("samplers", "Samplers")),
        )
        .api_route(
            "/api/v1/metrics-catalogue",
            get_with(
                metrics,
                doc(
                    "metrics_catalogue",
                    "Metrics: definition, direction, source",
                ),
            ),
        )
}

async fn strategies() -> Json<StrategyList> {
    let on_bars = strategy::all()
        .iter()
        .map(|strategy| on_bars(strategy.info()));
    let functions = TestFunction::ALL.iter().copied().map(function);
    Json(StrategyList {
        items: on_bars.chain(functions).chain([at_client()]).collect(),
    })
}

fn on_bars(info: &StrategyInfo) -> StrategyAnswer {
    let parameters = info.parameters.iter().map(|parameter| ParameterAnswer {
        name: parameter.name.to_owned(),
        kind: match parameter.kind {
            ParamKind::Int => "int",
            ParamKind::Float => "float",
        }
        .to_owned(),
        default: parameter.default,
        min: parameter.min,
        max: parameter.max,
        description: parameter.description.to_owned(),
    });
    StrategyAnswer {
        key: info.key.to_owned(),
        name: info.name.to_owned(),
        kind: "strategy".to_owned(),
        category: info.category.to_owned(),
        description: info.description.to_owned(),
        formula: Some(info.formula.to_owned()),
        legs: Some(info.legs),
        parameters: parameters.collect(),
        retired_parameters: info
            .retired
            .iter()
            .map(|(name, reason)| RetiredParameter {
                name: (*name).to_owned(),
                reason: (*reason).to_owned(),
            })
            .collect(),
    }
}

fn function(function: TestFunction) -> StrategyAnswer {
    let description = match function {
        TestFunction::Sphere => "Sum of the squares of all numeric parameters.",
        TestFunction::Sleep => {
            "Waits 'seconds' (a parameter, default 0.1), then gives the sphere of the others."
        }
        TestFunction::Schaffer => {
            "Two values that pull apart: f1, the sum of the squares of all numeric parameters, and f2, that \
             of their distances to 2. Waits 'seconds' first, where it has such a parameter."
        }
        #[allow(
            unreachable_patterns,
            reason = "more functions exist with a feature of common"
        )]
        _ => "Misbehaves on purpose, for tests.",
    };
    StrategyAnswer {
        key: function.name().to_owned(),
        name: function.name().to_owned(),
        kind: "test_function".to_owned(),
        category: "test".to_owned(),
        description: description.to_owned(),
        formula: None,
        legs: None,
        parameters: Vec::new(),
        retired_parameters: Vec::new(),
    }
}

fn at_client() -> StrategyAnswer {
    StrategyAnswer {
        key: CLIENT.to_owned(),
        name: CLIENT.to_owned(),
        kind: CLIENT.to_owned(),
        category: CLIENT.to_owned(),
        description: "What your own program does with the parameters: it asks for each trial and tells what it came \
                      to. It takes any parameters and metrics."
            .to_owned(),
        formula: None,
        legs: None,
        parameters: Vec::new(),
        retired_parameters: Vec::new(),
    }
}

async fn samplers() -> Json<SamplerList> {
    let items = Method::ALL.into_iter().map(|method| SamplerAnswer {
        name: method.name().to_owned(),
        description: match method {
            Method::Auto => {
                "Chooses for each trial: a Gaussian process where it foretells the results, else CMA-ES or \
                 TPE by the space, and these alone after 150 results; TPE for several objectives. \
                 resolved.sampler_plan of a task says which and why."
            }
            Method::Random => "Independent draws from every parameter.",
            Method::Grid => {
                "Every combination that the constraints allow once, in a shuffled order."
            }
            Method::Sobol => {
                "Points of an Owen-scrambled Sobol sequence, which fill the space more evenly than \
                 independent draws."
            }
            Method::Tpe => {
                "Tree-structured Parzen estimator, multivariate: draws where good trials are dense \
                 against the others; with several objectives (also under the name motpe) those of the best \
                 fronts are good."
            }
            Method::Gp => {
                "Gaussian process (Matern 5/2) with logarithmic expected improvement: the most of few \
                 trials; a suggestion takes tens of milliseconds."
            }
            Method::CmaEs => {
                "CMA-ES with margin: a normal distribution that moves towards the better trials and takes \
                 their shape; margins for integers, a distribution for choices."
            }
            Method::Nsga2 => {
                "NSGA-II: a genetic algorithm that keeps the best trials as parents; for long searches."
            }
        }
        .to_owned(),
        repeatable_in_parallel: !method.reads_history(),
        several_objectives: method.takes_several_objectives(),
    });
    Json(SamplerList {
        items: items.collect(),
        default: Method::Auto.name().to_owned(),
    })
}

async fn metrics() -> Json<MetricList> {
    let items = METRICS.iter().map(|metric| MetricAnswer {
        name: metric.name.to_owned(),
        alias: metric.alias.map(ToOwned::to_owned),
        direction: match metric.direction {
            Direction::Maximize => "maximize",
            Direction::Minimize => "minimize",
        }
        .to_owned(),
        unit: metric.unit.to_owned(),
        scale: metric.scale,
        formula: metric.formula.to_owned(),
        source: metric.source.to_owned(),
        undefined: metric.undefined.to_owned(),
    });
    let refused = REFUSED.iter().map(|metric| RefusedMetricAnswer {
        name: metric.name.to_owned(),
        hint: metric.hint.to_owned(),
    });
    Json(MetricList {
        items: items.collect(),
        refused: refused.collect(),
    })
}
