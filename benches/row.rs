//! A row of a table: medians of ours and of theirs, their ratio, and a goal.

/// The median of many numbers, with minimum and maximum.
#[derive(Debug, Clone, Copy)]
pub struct Median {
    /// The median.
    pub middle: f64,
    /// The smallest number.
    pub min: f64,
    /// The largest number.
    pub max: f64,
}

impl Median {
    /// The median of these numbers, of which there must be one.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
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
    /// No goal.
    None,
}

/// The cells of the row.
#[derive(Debug)]
pub struct Row {
    what: String,
    ours: String,
    bare: String,
    ratio: Option<Median>,
    goal: String,
    met: &'static str,
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
    fn write(self, median: Median) -> String {
        let Median { middle, min, max } = median;
        match self {
            Self::Nanos => format!("{middle:.1} ns ({min:.1}–{max:.1})"),
            Self::Micros => {
                format!("{:.2} µs ({:.2}–{:.2})", middle / 1e3, min / 1e3, max / 1e3)
            }
            Self::Millis => {
                format!("{:.2} ms ({:.2}–{:.2})", middle / 1e6, min / 1e6, max / 1e6)
            }
            Self::Seconds => format!("{middle:.2} s ({min:.2}–{max:.2})"),
            Self::MiB => {
                format!("{:.2} MiB ({:.2}–{:.2})", middle / 1024.0, min / 1024.0, max / 1024.0)
            }
            Self::PerSecond => format!("{middle:.0}/s ({min:.0}–{max:.0})"),
            Self::Times => format!("{middle:.2} ({min:.2}–{max:.2})"),
            Self::Count => format!("{middle:.0} ({min:.0}–{max:.0})"),
        }
    }

    fn plain(self, number: f64) -> String {
        match self {
            Self::Nanos => format!("{number:.0} ns"),
            Self::Micros => format!("{:.0} µs", number / 1e3),
            Self::Millis => format!("{:.0} ms", number / 1e6),
            Self::Seconds => format!("{number:.0} s"),
            Self::MiB => format!("{:.0} MiB", number / 1024.0),
            Self::PerSecond => format!("{number:.0}/s"),
            Self::Times => format!("{number:.2}"),
            Self::Count => format!("{number:.0}"),
        }
    }
}

impl Goal {
    fn met(&self, number: f64) -> &'static str {
        match self {
            Self::AtMost(max) if number <= *max => "met",
            Self::AtLeast(min) if number >= *min => "met",
            Self::None => "",
            _ => "missed",
        }
    }

    fn write(&self, of: &str, unit: Unit) -> String {
        match self {
            Self::AtMost(max) => format!("{of} ≤ {}", unit.plain(*max)),
            Self::AtLeast(min) => format!("{of} ≥ {}", unit.plain(*min)),
            Self::None => String::new(),
        }
    }
}

impl Row {
    /// The head of the table.
    pub fn head() {
        println!("| what | ours | bare | ratio | goal | |\n|---|---|---|---|---|---|");
    }

    /// Ours compared with theirs, by neighbours. The goal is for the ratio.
    pub fn ratio<M>(
        what: impl Into<String>,
        unit: Unit,
        pairs: &[(M, M)],
        value: fn(&M) -> f64,
        goal: &Goal,
    ) -> Self {
        let (ours, bare) = columns(pairs, value);
        let ratio = Median::of(ours.iter().zip(&bare).map(|(ours, bare)| ours / bare));
        Self {
            what: what.into(),
            ours: unit.write(Median::of(ours)),
            bare: unit.write(Median::of(bare)),
            met: goal.met(ratio.middle),
            goal: goal.write("ratio", Unit::Times),
            ratio: Some(ratio),
        }
    }

    /// Ours compared with theirs. The goal is for the difference.
    pub fn difference<M>(
        what: impl Into<String>,
        unit: Unit,
        pairs: &[(M, M)],
        value: fn(&M) -> f64,
        goal: &Goal,
    ) -> Self {
        let (ours, bare) = columns(pairs, value);
        let more = Median::of(ours.iter().zip(&bare).map(|(ours, bare)| ours - bare));
        let row = Self::ratio(what, unit, pairs, value, &Goal::None);
        Self { met: goal.met(more.middle), goal: goal.write("difference", unit), ..row }
    }

    /// Ours compared with theirs. The goal is for ours.
    pub fn absolute<M>(
        what: impl Into<String>,
        unit: Unit,
        pairs: &[(M, M)],
        value: fn(&M) -> f64,
        goal: &Goal,
    ) -> Self {
        let (ours, _) = columns(pairs, value);
        let row = Self::ratio(what, unit, pairs, value, &Goal::None);
        Self { met: goal.met(Median::of(ours).middle), goal: goal.write("ours", unit), ..row }
    }

    /// A number without comparison.
    pub fn alone(what: impl Into<String>, unit: Unit, values: &[f64], goal: &Goal) -> Self {
        let median = Median::of(values.iter().copied());
        Self {
            what: what.into(),
            ours: unit.write(median),
            bare: String::new(),
            ratio: None,
            met: goal.met(median.middle),
            goal: goal.write("ours", unit),
        }
    }

    /// Numbers whose maximum must meet the goal.
    pub fn worst(what: impl Into<String>, unit: Unit, values: &[f64], goal: &Goal) -> Self {
        let max = Median::of(values.iter().copied()).max;
        let row = Self::alone(what, unit, values, &Goal::None);
        Self { met: goal.met(max), goal: goal.write("the most", unit), ..row }
    }

    /// Prints it.
    pub fn print(&self) {
        let Self { what, ours, bare, ratio, goal, met } = self;
        let ratio = ratio.map(|ratio| Unit::Times.write(ratio)).unwrap_or_default();
        println!("| {what} | {ours} | {bare} | {ratio} | {goal} | {met} |");
    }
}

fn columns<M>(pairs: &[(M, M)], value: fn(&M) -> f64) -> (Vec<f64>, Vec<f64>) {
    pairs.iter().map(|(ours, bare)| (value(ours), value(bare))).unzip()
}
