//! What one run of one contender took.

/// CPU time, elapsed time and memory.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Measured {
    /// Nanoseconds of CPU time per piece of work.
    pub(crate) cpu: f64,
    /// Pieces of work per second that passed.
    pub(crate) rate: f64,
    /// Resident memory at the end, in KiB.
    pub(crate) resident: f64,
    /// The most memory that was resident, in KiB.
    pub(crate) peak: f64,
    /// What else there is to count.
    pub(crate) count: f64,
}

impl Measured {
    /// As a process tells it to the one that started it.
    pub(crate) fn tell(&self) {
        let Self { cpu, rate, resident, peak, count } = self;
        println!("{cpu} {rate} {resident} {peak} {count}");
    }

    /// As it was told.
    pub(crate) fn read(said: &str) -> Self {
        let numbers: Vec<f64> = said.split_whitespace().map(|number| number.parse().unwrap()).collect();
        let [cpu, rate, resident, peak, count] = numbers[..] else { panic!("not a result: {said:?}") };
        Self { cpu, rate, resident, peak, count }
    }
}
