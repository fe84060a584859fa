//! What goes wrong in a run, and when. All of it comes from the seed.

use std::time::Duration;

use fastrand::Rng;
use strum::VariantArray;

use super::fault_window::{FaultWindow, draw_windows};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// The run begins at 04:26:40 in Beijing; so long until noon.
const UNTIL_NOON: Duration = Duration::from_secs(7 * 3600 + 33 * 60 + 20);

/// How calls to Weixin fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub(super) enum NetworkFault {
    ConnectFails,
    RequestIsLost,
    RequestIsSlow,
    ResponseIsLost,
    Gateway,
    Hangs,
    /// Weixin responds, and the process is cut off from the ledger meanwhile.
    LedgerIsCutOff,
}

/// How Weixin responds to everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Token calls fail, and no token works.
    NoToken,
    /// 45011.
    MinuteQuota,
    /// 45009.
    DailyQuota,
    /// A code that concerns the message.
    Template,
}

/// What happens to a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub(super) enum CommitFault {
    Unavailable,
    ReplyIsLost,
    /// It is applied when its sender has given up.
    AppliedLate,
    Slow,
    CrashBefore,
    CrashAfter,
}

/// What happens to a call to the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub(super) enum InboxFault {
    Unavailable,
    Hangs,
    /// Another copier can read the rows at the same time.
    LocksAreLost,
    ReplyIsLost,
    CrashBefore,
    CrashAfter,
}

/// A defect that is planted, and must be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defect {
    /// A send without a response counts as not sent.
    RepeatsWhatIsUnknown,
    /// The rows of an inbox are deleted, and then recorded.
    DeletesBeforeItRecords,
    /// The ledger's time is that of the machine that commits.
    BelievesMachines,
}

/// What a run has, besides the seed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) processes: usize,
    /// Only the clocks of the machines are wrong.
    pub(crate) calm: bool,
    pub(crate) defect: Option<Defect>,
}

/// So many processes run on one machine.
const PROCESSES_PER_MACHINE: usize = 4;

/// What happens to one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProcessFault {
    /// It is killed, and started again after this long.
    Crash(Duration),
    /// It is stopped for this long.
    Stop(Duration),
    /// It is cut off from the ledger for this long.
    CutOff(Duration),
    /// Its wall clock is set by so many seconds.
    ClockSet(i64),
}

#[derive(Debug, Default)]
pub(super) struct Plan {
    /// From here on nothing goes wrong.
    pub(super) calm_from: Duration,
    pub(super) end: Duration,
    pub(super) network: Vec<FaultWindow<NetworkFault>>,
    pub(super) refusals: Vec<FaultWindow<Refusal>>,
    pub(super) commits: Vec<FaultWindow<CommitFault>>,
    pub(super) inbox: Vec<FaultWindow<InboxFault>>,
    /// Per process: by how many seconds the clock of its machine is ahead from the start.
    pub(super) ahead: Vec<i64>,
    /// Per process, in order.
    pub(super) processes: Vec<Vec<(Duration, ProcessFault)>>,
    /// When the ledger's clock is set, and by how many seconds.
    pub(super) ledger_clock: Vec<(Duration, i64)>,
    pub(super) messages: u32,
    pub(super) defect: Option<Defect>,
}

impl Plan {
    pub(super) fn new(rng: &mut Rng, setup: Setup) -> Self {
        let Setup { processes, calm, defect } = setup;
        let is_small = processes <= PROCESSES_PER_MACHINE;
        // A day with 45009 is long; most runs are short.
        let quota_day = is_small && !calm && rng.u8(0..12) == 0;
        let calm_from = match (quota_day, is_small) {
            (true, _) => UNTIL_NOON + 13 * HOUR,
            (false, true) => HOUR,
            (false, false) => 10 * MINUTE,
        };
        let end = calm_from + if is_small { 30 * MINUTE } else { 20 * MINUTE };
        let short = [Refusal::NoToken, Refusal::MinuteQuota, Refusal::Template];
        let mut refusals = draw_windows(rng, calm_from, 3, &short);
        if quota_day {
            let (from, to) = (UNTIL_NOON, UNTIL_NOON + 12 * HOUR);
            refusals.push(FaultWindow { from, to, fault: Refusal::DailyQuota, percent: 100 });
        }
        // The clocks of two machines are up to ten minutes apart.
        let machines: Vec<_> = (0..=processes / PROCESSES_PER_MACHINE).map(|_| rng.i64(-300..=300)).collect();
        let plan = Self {
            calm_from,
            end,
            network: draw_windows(rng, calm_from, 5, NetworkFault::VARIANTS),
            refusals,
            commits: draw_windows(rng, calm_from, 5, CommitFault::VARIANTS),
            inbox: draw_windows(rng, calm_from, 4, InboxFault::VARIANTS),
            ahead: (0..processes).map(|process| machines[process / PROCESSES_PER_MACHINE]).collect(),
            processes: (0..processes).map(|_| process_faults(rng, calm_from)).collect(),
            ledger_clock: clock_faults(rng, calm_from),
            messages: if quota_day || !is_small { 60 } else { rng.u32(20..60) },
            defect,
        };
        if calm { plan.without_faults() } else { plan }
    }

    /// The clocks stay wrong.
    fn without_faults(self) -> Self {
        let Self { calm_from, end, ahead, messages, defect, .. } = self;
        let processes = vec![Vec::new(); ahead.len()];
        Self { calm_from, end, ahead, messages, defect, processes, ..Self::default() }
    }
}

fn process_faults(rng: &mut Rng, end: Duration) -> Vec<(Duration, ProcessFault)> {
    let fault = |rng: &mut Rng| match rng.u8(0..4) {
        0 => ProcessFault::Crash(Duration::from_millis(rng.u64(1..180_000))),
        1 => ProcessFault::Stop(Duration::from_secs([3, 40, 100, 600][rng.usize(0..4)])),
        2 => ProcessFault::CutOff(Duration::from_secs([3, 40, 100, 600][rng.usize(0..4)])),
        _ => ProcessFault::ClockSet(seconds(rng)),
    };
    let mut faults: Vec<_> =
        (0..rng.u8(0..6)).map(|_| (Duration::from_secs(rng.u64(1..end.as_secs())), fault(rng))).collect();
    faults.sort_by_key(|(at, _)| *at);
    faults
}

fn clock_faults(rng: &mut Rng, end: Duration) -> Vec<(Duration, i64)> {
    let mut faults: Vec<_> = (0..rng.u8(0..6).saturating_sub(3))
        .map(|_| (Duration::from_secs(rng.u64(1..end.as_secs())), seconds(rng)))
        .collect();
    faults.sort_unstable();
    faults
}

/// The ledger keeps messages for a week, so its clock is not set by more than a day.
fn seconds(rng: &mut Rng) -> i64 {
    let max = [20, 90, 3_600, 86_400][rng.usize(0..4)];
    rng.i64(-max..=max)
}
