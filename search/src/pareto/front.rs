//! The Pareto front, kept up as trials end.

use super::dominance::dominates;

/// A trial on a front.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Its number within the study.
    pub number: u32,
    /// Its costs.
    pub costs: Vec<f64>,
}

/// The trials that no other one dominates, in the order of their numbers.
///
/// Add every feasible trial once, in any order: the front is the same. Trials with equal costs do not
/// dominate each other, and all of them are kept. Infeasible trials do not belong here.
///
/// ```
/// use trialmill_search::pareto::Front;
///
/// let mut front = Front::default();
/// assert!(front.add(3, &[2.0, 2.0]));
/// assert!(front.add(1, &[1.0, 3.0]));
/// assert!(!front.add(4, &[2.0, 3.0]), "trial 3 is better");
/// assert!(front.add(5, &[1.5, 1.5]), "and trial 3 has to go");
/// let numbers: Vec<u32> = front.members().iter().map(|member| member.number).collect();
/// assert_eq!(numbers, [1, 5]);
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Front {
    members: Vec<Member>,
}

impl Front {
    /// The front of these trials, of which none dominates another one: what [`Self::members`] gave of
    /// a front. That is not checked again.
    ///
    /// ```
    /// use trialmill_search::pareto::Front;
    ///
    /// let mut front = Front::default();
    /// front.add(3, &[2.0, 1.0]);
    /// front.add(1, &[1.0, 2.0]);
    /// assert_eq!(Front::of(front.members().to_vec()), front);
    /// ```
    #[must_use]
    pub fn of(mut members: Vec<Member>) -> Self {
        members.sort_unstable_by_key(|member| member.number);
        Self { members }
    }

    /// Takes a trial in, unless a member dominates it or has its number, and drops the
    /// members that it dominates. Whether it was taken. As many comparisons as there are members.
    pub fn add(&mut self, number: u32, costs: &[f64]) -> bool {
        let of_number = |member: &Member| member.number.cmp(&number);
        if self.members.binary_search_by(of_number).is_ok()
            || self
                .members
                .iter()
                .any(|member| dominates(&member.costs, costs))
        {
            return false;
        }
        self.members
            .retain(|member| !dominates(costs, &member.costs));
        self.insert(number, costs);
        true
    }

    /// The same, unless a member has the same costs: then only the first to come is kept of such trials, and
    /// many equal ones cost no more than one.
    ///
    /// ```
    /// use trialmill_search::pareto::Front;
    ///
    /// let mut front = Front::default();
    /// assert!(front.add_new(3, &[2.0, 2.0]));
    /// assert!(!front.add_new(4, &[2.0, 2.0]));
    /// assert!(front.has(&[2.0, 2.0]));
    /// ```
    pub fn add_new(&mut self, number: u32, costs: &[f64]) -> bool {
        self.add_within(usize::MAX, number, costs)
    }

    /// The same for a front that has no more than `most` members: one that joins a full front and dominates none of its
    /// members is not kept. Whether it joined, kept or not.
    ///
    /// ```
    /// use trialmill_search::pareto::Front;
    ///
    /// let mut front = Front::default();
    /// assert!(front.add_within(1, 3, &[2.0, 2.0]));
    /// assert!(front.add_within(1, 4, &[1.0, 3.0]), "not kept");
    /// assert!(front.add_within(1, 5, &[1.0, 3.0]), "so nobody knows that it is not new");
    /// assert!(!front.add_within(1, 6, &[2.0, 3.0]));
    /// assert!(front.add_within(1, 7, &[2.0, 1.0]));
    /// assert_eq!(front.members()[0].number, 7);
    /// ```
    pub fn add_within(&mut self, most: usize, number: u32, costs: &[f64]) -> bool {
        let mut outdone = false;
        for member in &self.members {
            let is_known = member.costs == costs || member.number == number;
            if is_known || dominates(&member.costs, costs) {
                return false;
            }
            outdone = outdone || dominates(costs, &member.costs);
        }
        if outdone {
            self.members
                .retain(|member| !dominates(costs, &member.costs));
        }
        if self.members.len() < most {
            self.insert(number, costs);
        }
        true
    }

    fn insert(&mut self, number: u32, costs: &[f64]) {
        let place = self
            .members
            .partition_point(|member| member.number < number);
        let costs = costs.to_vec();
        self.members.insert(place, Member { number, costs });
    }

    /// Whether a member has these costs.
    #[must_use]
    pub fn has(&self, costs: &[f64]) -> bool {
        self.members.iter().any(|member| member.costs == costs)
    }

    /// The member with the smallest cost of an objective (by its place, from 0); the lowest number among
    /// equals.
    ///
    /// ```
    /// use trialmill_search::pareto::Front;
    ///
    /// let mut front = Front::default();
    /// front.add(3, &[2.0, 1.0]);
    /// front.add(4, &[1.0, 3.0]);
    /// assert_eq!(front.least(0).map(|member| member.number), Some(4));
    /// assert_eq!(front.least(1).map(|member| member.number), Some(3));
    /// assert_eq!(Front::default().least(0), None);
    /// ```
    #[must_use]
    pub fn least(&self, objective: usize) -> Option<&Member> {
        let cost = |member: &Member| member.costs.get(objective).copied().unwrap_or(f64::NAN);
        // The first of equals: numbers ascend.
        self.members
            .iter()
            .min_by(|a, b| cost(a).total_cmp(&cost(b)))
    }

    /// The members in the order of their numbers.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn the_front_after_each_trial_is_what_nothing_dominates_so_far_in_any_order() {
        for objectives in 1..5 {
            for levels in [None, Some(3)] {
                let costs = samples::costs(11, 150, objectives, levels);
                let mut front = Front::default();
                // 67 and 150 have no common factor.
                let numbers: Vec<usize> = (0..150).map(|k| k * 67 % 150).collect();
                for (told, &number) in numbers.iter().enumerate() {
                    let known = &numbers[..=told];
                    let free =
                        |own: &usize| !known.iter().any(|o| dominates(&costs[*o], &costs[*own]));
                    let taken = front.add(u32::try_from(number).unwrap(), &costs[number]);
                    assert_eq!(taken, free(&number));
                    let mut expected: Vec<usize> = known.iter().copied().filter(free).collect();
                    expected.sort_unstable();
                    let members = front.members().iter();
                    let found: Vec<usize> = members.map(|member| member.number as usize).collect();
                    assert_eq!(found, expected);
                    assert!(
                        !front.add(u32::try_from(number).unwrap(), &costs[number]),
                        "twice"
                    );
                }
            }
        }
    }
}
