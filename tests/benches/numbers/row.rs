//! A row of the table.

use crate::median::Median;

/// The goal for a number.
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// No goal.
    None,
}

/// The cells of the row.
pub(crate) struct Row {
    what: String,
    ours: String,
    bare: String,
    ratio: Option<Median>,
    goal: String,
    met: &'static str,
}

/// The unit of the numbers.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    /// From nanoseconds.
    Nanos,
    /// From nanoseconds.
    Micros,
    /// From nanoseconds.
    Millis,
    Seconds,
    /// From KiB.
    MiB,
    PerSecond,
    Times,
    Count,
}

impl Unit {
    fn write(self, median: Median) -> String {
        let Median { middle, least, most } = median;
        match self {
            Self::Nanos => format!("{middle:.1} ns ({least:.1}–{most:.1})"),
            Self::Micros => {
                format!("{:.2} µs ({:.2}–{:.2})", middle / 1e3, least / 1e3, most / 1e3)
            }
            Self::Millis => {
                format!("{:.2} ms ({:.2}–{:.2})", middle / 1e6, least / 1e6, most / 1e6)
            }
            Self::Seconds => format!("{middle:.2} s ({least:.2}–{most:.2})"),
            Self::MiB => {
                format!("{:.2} MiB ({:.2}–{:.2})", middle / 1024.0, least / 1024.0, most / 1024.0)
            }
            Self::PerSecond => format!("{middle:.0}/s ({least:.0}–{most:.0})"),
            Self::Times => format!("{middle:.2} ({least:.2}–{most:.2})"),
            Self::Count => format!("{middle:.0} ({least:.0}–{most:.0})"),
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
            Self::AtMost(most) if number <= *most => "met",
            Self::AtLeast(least) if number >= *least => "met",
            Self::None => "",
            _ => "missed",
        }
    }

    fn write(&self, of: &str, unit: Unit) -> String {
        match self {
            Self::AtMost(most) => format!("{of} ≤ {}", unit.plain(*most)),
            Self::AtLeast(least) => format!("{of} ≥ {}", unit.plain(*least)),
            Self::None => String::new(),
        }
    }
}

impl Row {
    /// The head of the table.
    pub(crate) fn head() {
        println!("| what | ours | bare | ratio | goal | |\n|---|---|---|---|---|---|");
    }

    /// Ours compared with theirs, by neighbours. The goal is for the ratio.
    pub(crate) fn ratio<M>(
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
    pub(crate) fn difference<M>(
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
    pub(crate) fn absolute<M>(
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
    pub(crate) fn alone(what: impl Into<String>, unit: Unit, values: &[f64], goal: &Goal) -> Self {
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
    pub(crate) fn worst(what: impl Into<String>, unit: Unit, values: &[f64], goal: &Goal) -> Self {
        let most = Median::of(values.iter().copied()).most;
        let row = Self::alone(what, unit, values, &Goal::None);
        Self { met: goal.met(most), goal: goal.write("the most", unit), ..row }
    }

    /// Prints it.
    pub(crate) fn print(&self) {
        let Self { what, ours, bare, ratio, goal, met } = self;
        let ratio = ratio.map(|ratio| Unit::Times.write(ratio)).unwrap_or_default();
        println!("| {what} | {ours} | {bare} | {ratio} | {goal} | {met} |");
    }
}

fn columns<M>(pairs: &[(M, M)], value: fn(&M) -> f64) -> (Vec<f64>, Vec<f64>) {
    pairs.iter().map(|(ours, bare)| (value(ours), value(bare))).unzip()
}
