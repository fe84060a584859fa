//! A row of a table: medians of ours and of theirs, their ratio, and a goal.

/// The median of many numbers, with minimum and maximum.
#[derive(Debug, Clone, Copy)]
struct Median {
    middle: f64,
    min: f64,
    max: f64,
}

impl Median {
    /// The median of these numbers, of which there must be one.
    fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Self { middle: f64::midpoint(low, high), min: sorted[0], max: sorted[sorted.len() - 1] }
    }
}

/// The goal for a number.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
}

/// The unit of the numbers.
#[derive(Debug, Clone, Copy)]
pub enum Unit {
    /// From nanoseconds.
    Nanos,
    /// From nanoseconds.
    Micros,
    /// From nanoseconds.
    Millis,
    /// Seconds.
    Seconds,
    /// From KiB.
    MiB,
    /// Per second.
    PerSecond,
    /// A ratio.
    Times,
    /// A whole number.
    Count,
}

impl Unit {
    /// The divisor, the digits of a measured number and of a goal, and the text behind a number.
    fn form(self) -> (f64, usize, usize, &'static str) {
        match self {
            Self::Nanos => (1.0, 1, 0, " ns"),
            Self::Micros => (1e3, 2, 0, " µs"),
            Self::Millis => (1e6, 2, 0, " ms"),
            Self::Seconds => (1.0, 2, 0, " s"),
            Self::MiB => (1024.0, 2, 0, " MiB"),
            Self::PerSecond => (1.0, 0, 0, "/s"),
            Self::Times => (1.0, 2, 2, ""),
            Self::Count => (1.0, 0, 0, ""),
        }
    }

    fn write(self, median: Median) -> String {
        let (divisor, digits, _, unit) = self.form();
        let [middle, min, max] = [median.middle, median.min, median.max].map(|number| number / divisor);
        format!("{middle:.digits$}{unit} ({min:.digits$}–{max:.digits$})")
    }

    fn plain(self, number: f64) -> String {
        let (divisor, _, digits, unit) = self.form();
        format!("{:.digits$}{unit}", number / divisor)
    }
}

/// A row of a table.
#[derive(Debug)]
pub struct Row {
    what: String,
    unit: Unit,
    ours: Vec<f64>,
    /// Theirs, each the neighbour of one of ours. Empty without comparison.
    bare: Vec<f64>,
    goal: String,
    met: &'static str,
}

impl Row {
    /// The head of the table.
    pub fn head() {
        println!("| what | ours | bare | ratio | goal | |\n|---|---|---|---|---|---|");
    }

    /// Ours compared with theirs, by neighbours.
    pub fn pairs<M>(what: impl Into<String>, unit: Unit, pairs: &[(M, M)], value: fn(&M) -> f64) -> Self {
        let (ours, bare) = pairs.iter().map(|(ours, bare)| (value(ours), value(bare))).unzip();
        Self { what: what.into(), unit, ours, bare, goal: String::new(), met: "" }
    }

    /// Numbers without comparison.
    pub fn alone(what: impl Into<String>, unit: Unit, values: &[f64]) -> Self {
        Self { what: what.into(), unit, ours: values.to_vec(), bare: vec![], goal: String::new(), met: "" }
    }

    /// Sets a goal for the ratio.
    #[must_use]
    pub fn ratio(self, goal: Goal) -> Self {
        let ratio = self.compared(|ours, bare| ours / bare).middle;
        self.with_goal("ratio", Unit::Times, ratio, goal)
    }

    /// Sets a goal for the difference.
    #[must_use]
    pub fn difference(self, goal: Goal) -> Self {
        let (difference, unit) = (self.compared(|ours, bare| ours - bare).middle, self.unit);
        self.with_goal("difference", unit, difference, goal)
    }

    /// Sets a goal for ours.
    #[must_use]
    pub fn ours(self, goal: Goal) -> Self {
        let (ours, unit) = (Median::of(self.ours.iter().copied()).middle, self.unit);
        self.with_goal("ours", unit, ours, goal)
    }

    /// Sets a goal for the largest of ours.
    #[must_use]
    pub fn worst(self, goal: Goal) -> Self {
        let (max, unit) = (Median::of(self.ours.iter().copied()).max, self.unit);
        self.with_goal("the most", unit, max, goal)
    }

    fn compared(&self, compare: fn(f64, f64) -> f64) -> Median {
        Median::of(self.ours.iter().zip(&self.bare).map(|(ours, bare)| compare(*ours, *bare)))
    }

    fn with_goal(mut self, of: &str, unit: Unit, number: f64, goal: Goal) -> Self {
        let (sign, bound, met) = match goal {
            Goal::AtMost(max) => ("≤", max, number <= max),
            Goal::AtLeast(min) => ("≥", min, number >= min),
        };
        self.goal = format!("{of} {sign} {}", unit.plain(bound));
        self.met = if met { "met" } else { "missed" };
        self
    }

    /// Prints it.
    pub fn print(&self) {
        let Self { what, unit, ours, bare, goal, met } = self;
        let ours = unit.write(Median::of(ours.iter().copied()));
        let (bare, ratio) = match bare.is_empty() {
            true => (String::new(), String::new()),
            false => (
                unit.write(Median::of(bare.iter().copied())),
                Unit::Times.write(self.compared(|ours, bare| ours / bare)),
            ),
        };
        println!("| {what} | {ours} | {bare} | {ratio} | {goal} | {met} |");
    }
}
