use std::sync::atomic::{AtomicU32, Ordering};

/// How many retries a client may make, all its sends together: 10, and one more for every 10 exchanges that go well. When
/// nothing works, retrying adds next to nothing to the load.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    /// In tenths of a retry.
    left: AtomicU32,
}

impl RetryBudget {
    const RETRY: u32 = 10;
    const MOST: u32 = 10 * Self::RETRY;

    pub(crate) fn new() -> Self {
        Self { left: AtomicU32::new(Self::MOST) }
    }

    /// Takes one retry out, if there is one.
    pub(crate) fn withdraw(&self) -> bool {
        let less = |left: u32| left.checked_sub(Self::RETRY);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    /// An exchange went well.
    pub(crate) fn deposit(&self) {
        // Mostly it is full, and then threads need not fight over it.
        if self.left.load(Ordering::Relaxed) < Self::MOST {
            self.left.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_retries_and_one_more_for_every_ten_successes() {
        let budget = RetryBudget::new();
        assert_eq!((0..20).filter(|_| budget.withdraw()).count(), 10);
        (0..9).for_each(|_| budget.deposit());
        assert!(!budget.withdraw());
        budget.deposit();
        assert!(budget.withdraw() && !budget.withdraw());
        (0..10_000).for_each(|_| budget.deposit());
        assert_eq!((0..20).filter(|_| budget.withdraw()).count(), 10);
        (0..9).for_each(|_| budget.deposit());
        assert!(!budget.withdraw(), "it was full, not more than full");
    }
}
