//! The measurement of one run of one contender.

/// CPU time, elapsed time and memory.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Measured {
    /// Nanoseconds of CPU time per piece of work.
    pub(crate) cpu: f64,
    /// Pieces of work per second of elapsed time.
    pub(crate) rate: f64,
    /// Resident memory at the end, in KiB.
    pub(crate) resident: f64,
    /// Peak resident memory, in KiB.
    pub(crate) peak: f64,
    /// Another count.
    pub(crate) count: f64,
}

impl Measured {
    /// The text for the parent process.
    pub(crate) fn tell(&self) {
        let Self { cpu, rate, resident, peak, count } = self;
        println!("{cpu} {rate} {resident} {peak} {count}");
    }

    /// Parses that text.
    pub(crate) fn read(said: &str) -> Self {
        let numbers: Vec<f64> = said.split_whitespace().map(|number| number.parse().unwrap()).collect();
        let [cpu, rate, resident, peak, count] = numbers[..] else { panic!("not a result: {said:?}") };
        Self { cpu, rate, resident, peak, count }
    }
}
