//! The progress bar of a search, on standard error; there is none where that is no terminal.

use crate::figures::{count, duration, figure};
use crate::output;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Characters of the bar.
const WIDTH: usize = 24;

/// The bar.
pub struct Progress {
    bar: ProgressBar,
}

/// What the bar shows.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Standing {
    /// Trials that ended.
    pub ended: u64,
    /// Trials that there will be.
    pub planned: u64,
    /// Trials a second.
    pub rate: Option<f64>,
    /// Number and first value of the best trial.
    pub best: Option<(u64, f64)>,
    /// Of several objectives, the values of the trial that leads.
    pub leads: Option<String>,
    /// Seconds left, as far as one can tell.
    pub left: Option<f64>,
    /// What is to be said instead of the time left, such as `paused`.
    pub remark: Option<String>,
}

impl Progress {
    /// A bar at its start.
    pub fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template(&format!("{{bar:{WIDTH}}} {{msg}}"))
            .expect("the template is sound")
            .progress_chars("█▉▊▋▌▍▎▏ ");
        bar.set_style(style);
        Self { bar }
    }

    /// Draws where the search stands.
    pub fn show(&self, standing: &Standing) {
        self.bar.set_length(standing.planned.max(1));
        self.bar.set_position(standing.ended);
        self.bar.set_message(sentence(standing));
    }

    /// Whether anybody sees it.
    pub fn is_drawn(&self) -> bool {
        !self.bar.is_hidden()
    }

    /// Says something while the bar stands.
    pub fn say(&self, line: &str) {
        self.bar.suspend(|| output::note(line));
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// Where a search stands, in one line.
pub fn sentence(standing: &Standing) -> String {
    let mut parts = vec![format!(
        "{}/{}",
        count(standing.ended),
        count(standing.planned)
    )];
    if let Some(rate) = standing.rate {
        parts.push(format!("{rate:.0} trials/s"));
    }
    if let Some((number, value)) = standing.best {
        parts.push(format!("best #{number} {}", figure(value)));
    }
    if let Some(values) = &standing.leads {
        parts.push(format!("leads {values}"));
    }
    match (&standing.remark, standing.left) {
        (Some(remark), _) => parts.push(remark.clone()),
        (None, Some(left)) => parts.push(format!("{} left", duration(left))),
        (None, None) => {}
    }
    parts.join("   ")
}

/// A bar that is full, for the record of a finished search.
pub fn full_bar() -> String {
    "█".repeat(WIDTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_running_search_has_rate_best_and_time_left() {
        let standing = Standing {
            ended: 1_200,
            planned: 1_800,
            rate: Some(612.4),
            best: Some((734, 1.31)),
            leads: None,
            left: Some(0.98),
            remark: None,
        };
        let line = "1,200/1,800   612 trials/s   best #734 1.31   0.98 s left";
        assert_eq!(sentence(&standing), line);
        let paused = Standing {
            remark: Some("paused".to_owned()),
            rate: None,
            ..standing
        };
        assert_eq!(sentence(&paused), "1,200/1,800   best #734 1.31   paused");
    }
}
