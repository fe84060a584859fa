use std::sync::atomic::{AtomicU32, Ordering};

/// The retries that all sends of a client share: 10, and one more for every 10 successful exchanges. During an
/// outage, retries add almost no load.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    /// In tenths of a retry.
    balance: AtomicU32,
}

impl RetryBudget {
    const RETRY_COST: u32 = 10;
    const CAPACITY: u32 = 10 * Self::RETRY_COST;

    pub(crate) fn new() -> Self {
        Self { balance: AtomicU32::new(Self::CAPACITY) }
    }

    /// Takes one retry, if there is one.
    pub(crate) fn withdraw(&self) -> bool {
        let less = |balance: u32| balance.checked_sub(Self::RETRY_COST);
        self.balance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    /// Records a successful exchange.
    pub(crate) fn deposit(&self) {
        // The budget is full most of the time. A load is cheaper than a write that threads contend for.
        if self.balance.load(Ordering::Relaxed) < Self::CAPACITY {
            self.balance.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_is_ten_retries_and_one_for_ten_successes() {
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
