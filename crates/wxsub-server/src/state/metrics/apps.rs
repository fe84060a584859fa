//! Metrics of each app: gauges encoded from its status, and counters in one small array.
//!
//! A series in the registry takes some 150 bytes, and an app has up to 25 of them, so thousands of apps would take most of the
//! memory of an idle server. For the same reason a counter of messages exists from the first message on, and is encoded as 0
//! before.

use std::array;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use wxsub_core::clock::UnixMillis;
use wxsub_core::store::StoreErrorKind;
use wxsub_outbox::app::{Pauses, StoredApp};
use wxsub_outbox::state::{MessageState, WaitingFor};
use wxsub_outbox::webhook::EndpointStatus;
use wxsub_proto::AppId;

/// What is counted for each app.
#[derive(Debug, Clone, Copy)]
pub(crate) enum AppCount {
    FetchIssued,
    FetchAdopted,
    FetchUnchanged,
    FetchWithoutLease,
    FetchFailed,
    ReportAnswered,
    ReportWithoutToken,
    ReportRateLimited,
    InvalidatedExternally,
}

use AppCount::{
    FetchAdopted, FetchFailed, FetchIssued, FetchUnchanged, FetchWithoutLease, InvalidatedExternally,
    ReportAnswered, ReportRateLimited, ReportWithoutToken,
};

const COUNTS: usize = InvalidatedExternally as usize + 1;

const FETCHES: [(&str, AppCount); 5] = [
    ("issued", FetchIssued),
    ("adopted", FetchAdopted),
    ("unchanged", FetchUnchanged),
    ("without_lease", FetchWithoutLease),
    ("failed", FetchFailed),
];

const REPORTS: [(&str, AppCount); 3] =
    [("ok", ReportAnswered), ("no_token", ReportWithoutToken), ("rate_limited", ReportRateLimited)];

/// Counters that exist from the first event of their key on, several for each key.
#[derive(Debug)]
pub(super) struct Counters<K, const N: usize>(RwLock<BTreeMap<K, [AtomicU64; N]>>);

/// The counters of each app. They begin at 0, so that `increase()` sees the first event.
pub(super) type AppCounters = Counters<AppId, COUNTS>;

/// The counters of messages by app, client and outcome.
pub(super) type SendCounters = Counters<(AppId, String, &'static str), 1>;

impl<K, const N: usize> Default for Counters<K, N> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<K: Ord, const N: usize> Counters<K, N> {
    pub(super) fn increment(&self, key: K, index: usize) {
        let add =
            |counters: &[AtomicU64; N]| counters.get(index).map(|one| one.fetch_add(1, Ordering::Relaxed));
        // Each change is complete before it could panic.
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(counters) = known.get(&key) {
            add(counters);
            return;
        }
        drop(known);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        add(known.entry(key).or_insert_with(|| array::from_fn(|_| AtomicU64::default())));
    }
}

/// Returns the clients that may send messages of an app.
pub(crate) type Senders = dyn Fn(&AppId) -> Vec<String> + Send + Sync;

/// What the ledger has now.
pub(crate) struct OutboxStatus {
    pub(crate) is_ledger_up: bool,
    /// Each with the time at which its first queued message is due.
    pub(crate) apps: Vec<(AppId, StoredApp, Option<UnixMillis>)>,
    pub(crate) now: UnixMillis,
}

/// The gauges of the token of an app. A server with thousands of apps has all of them in memory while it encodes.
pub(crate) struct TokenGauges {
    pub(crate) appid: AppId,
    /// In seconds. 0 without a usable token.
    pub(crate) expires_in: u64,
    /// 0 without a usable token.
    pub(crate) generation: u64,
    pub(crate) in_doubt: bool,
    /// 0 if no response was lost.
    pub(crate) in_doubt_from: UnixMillis,
    pub(crate) store_problem: Option<StoreErrorKind>,
}

/// Encodes the metrics of the apps as they are now.
#[derive(derive_more::Debug)]
#[debug("AppCollector")]
pub(super) struct AppCollector {
    pub(super) gauges: Vec<TokenGauges>,
    pub(super) senders: Box<Senders>,
    pub(super) outbox: Option<OutboxStatus>,
    pub(super) endpoints: Vec<EndpointStatus>,
    pub(super) counters: Arc<AppCounters>,
    pub(super) sends: Arc<SendCounters>,
}

impl Collector for AppCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_tokens(&mut encoder)?;
        self.encode_counters(&mut encoder)?;
        self.encode_sends(&mut encoder)?;
        let Some(outbox) = &self.outbox else { return Ok(()) };
        encode_outbox(outbox, &mut encoder)?;
        self.encode_webhooks(outbox.now, &mut encoder)
    }
}

impl AppCollector {
    fn encode_tokens(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauge = |name: &str, help: &str, value: fn(&TokenGauges) -> u64| {
            let series = self.gauges.iter().map(|app| ([("appid", app.appid.as_str())], value(app)));
            encode_gauges(encoder, name, help, series)
        };
        gauge(
            "wxsub_token_expires_in_seconds",
            "How long a client may cache the token, in seconds; 0 without a usable token.",
            |app| app.expires_in,
        )?;
        gauge(
            "wxsub_token_generation",
            "Generation of the current token; 0 without a usable token.",
            |app| app.generation,
        )?;
        gauge("wxsub_token_in_doubt", "1 if the token may have been invalidated.", |app| {
            app.in_doubt.into()
        })?;
        gauge(
            "wxsub_token_in_doubt_from_timestamp_seconds",
            "When the token gets in doubt because a response was lost, in seconds since 1970; 0 if none was lost.",
            |app| app.in_doubt_from.get() / 1000,
        )?;
        gauge(
            "wxsub_token_store_up",
            "1 unless the token store was unavailable when it was last needed.",
            |app| app.store_problem.is_none_or(|problem| problem == StoreErrorKind::OtherEndpoint).into(),
        )?;
        let problems = self.gauges.iter().filter_map(|app| {
            let (kind, remedy) = (app.store_problem?.as_str(), app.store_problem?.remedy().as_str());
            Some(([("appid", app.appid.as_str()), ("kind", kind), ("remedy", remedy)], 1))
        });
        let help = "1 while the token store fails, with the kind of the failure and the remedy.";
        encode_gauges(encoder, "wxsub_token_store_problem", help, problems)
    }

    fn encode_counters(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut known = self.counters.0.write().unwrap_or_else(PoisonError::into_inner);
        for app in &self.gauges {
            if !known.contains_key(&app.appid) {
                known.insert(app.appid.clone(), Default::default());
            }
        }
        let value = |counters: &[AtomicU64; COUNTS], count: AppCount| {
            counters.get(count as usize).map_or(0, |counter| counter.load(Ordering::Relaxed))
        };
        for (name, help, results) in [
            ("wxsub_token_fetches", "Token fetches by result.", FETCHES.as_slice()),
            ("wxsub_token_reports", "Reports of rejected tokens.", REPORTS.as_slice()),
        ] {
            let series = known.iter().flat_map(|(appid, counters)| {
                results.iter().map(move |(result, count)| {
                    ([("appid", appid.as_str()), ("result", *result)], value(counters, *count))
                })
            });
            encode_counters(encoder, name, help, series)?;
        }
        let series = known
            .iter()
            .map(|(appid, counters)| ([("appid", appid.as_str())], value(counters, InvalidatedExternally)));
        let help = "Tokens that a fetch outside this service invalidated.";
        encode_counters(encoder, "wxsub_token_external_invalidations", help, series)
    }

    /// Counters of messages that may have been sent begin at 0, so that `increase()` sees the first event.
    fn encode_sends(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Messages by outcome; client is empty if an access_token authorized the message.";
        let mut metric = encoder.encode_descriptor("wxsub_sends", help, None, MetricType::Counter)?;
        let mut encode = |(appid, client, outcome): &(AppId, String, &'static str), value: u64| {
            let labels = [("appid", appid.as_str()), ("client", client), ("outcome", outcome)];
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
        };
        // The lock is not held while the clients of each app are looked up.
        let counted: BTreeMap<_, _> = {
            let counters = self.sends.0.read().unwrap_or_else(PoisonError::into_inner);
            counters.iter().map(|(key, [counter])| (key.clone(), counter.load(Ordering::Relaxed))).collect()
        };
        for (key, count) in &counted {
            encode(key, *count)?;
        }
        for app in &self.gauges {
            for client in (self.senders)(&app.appid).into_iter().chain([String::new()]) {
                let key = (app.appid.clone(), client, "maybe_sent");
                if !counted.contains_key(&key) {
                    encode(&key, 0)?;
                }
            }
        }
        Ok(())
    }

    fn encode_webhooks(&self, now: UnixMillis, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauge = |name: &str, help: &str, value: &dyn Fn(&EndpointStatus) -> u64| {
            let series = self.endpoints.iter();
            let series = series.map(|known| ([("endpoint", known.endpoint.name.as_str())], value(known)));
            encode_gauges(encoder, name, help, series)
        };
        gauge(
            "wxsub_webhook_pending",
            "Webhooks that are to be delivered; 1000 stands for more.",
            &|known| known.pending,
        )?;
        gauge(
            "wxsub_webhook_dead",
            "Webhooks that are not tried again until an operator wants it; 1000 stands for more.",
            &|known| known.dead,
        )?;
        gauge(
            "wxsub_webhook_disabled",
            "1 while the endpoint gets no webhooks because it responded with 410.",
            &|known| known.endpoint.disabled_at.is_some().into(),
        )?;
        gauge(
            "wxsub_webhook_oldest_due_age_seconds",
            "How long a webhook has been due that no server has attempted to deliver; 0 without one.",
            &|known| {
                let due_since = known.due_since.filter(|_| known.endpoint.disabled_at.is_none());
                due_since.map_or(0, |since| now.since(since).as_secs())
            },
        )
    }
}

fn encode_outbox(outbox: &OutboxStatus, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let ages = outbox.apps.iter().map(|(appid, _, first_due_at)| {
        // A message that is due later has no age.
        let age = first_due_at.map_or(Duration::ZERO, |due_at| outbox.now.since(due_at));
        ([("appid", appid.as_str())], age.as_secs())
    });
    let help = "How long the oldest queued message that is due has waited; 0 without one.";
    encode_gauges(encoder, "wxsub_outbox_oldest_due_age_seconds", help, ages)?;
    let apps = outbox.apps.iter().map(|(appid, app, _)| (appid.as_str(), app));
    let messages = apps.clone().flat_map(|(appid, app)| {
        MessageState::ALL.iter().map(move |state| {
            let count = app.counts.get(state).copied().unwrap_or_default();
            ([("appid", appid), ("state", state.as_str())], count)
        })
    });
    encode_gauges(encoder, "wxsub_outbox_messages", "Messages in the ledger by state.", messages)?;
    let undecided = apps.clone().map(|(appid, app)| ([("appid", appid)], app.undecided));
    let help = "Messages that may have been sent and wait for a decision.";
    encode_gauges(encoder, "wxsub_outbox_undecided", help, undecided)?;
    let paused = apps.flat_map(|(appid, app)| {
        pauses(app, outbox)
            .map(|(why, is_paused)| ([("appid", appid), ("why", why.as_str())], u64::from(is_paused)))
    });
    let help = "1 while the messages of the app wait for this reason.";
    encode_gauges(encoder, "wxsub_outbox_paused", help, paused)
}

fn pauses(app: &StoredApp, outbox: &OutboxStatus) -> [(WaitingFor, bool); 4] {
    let Pauses { operator, minute_quota_until, daily_quota, token } = &app.pauses;
    [
        (WaitingFor::Paused, operator.is_some()),
        (WaitingFor::Rate, minute_quota_until.is_some_and(|until| outbox.now < until)),
        (WaitingFor::Quota, daily_quota.is_some()),
        (WaitingFor::Token, token.is_some_and(|pause| outbox.now < pause.until)),
    ]
}

/// A metric without a series is absent.
fn encode_gauges<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: impl Iterator<Item = (L, u64)>,
) -> fmt::Result {
    let mut series = series.peekable();
    if series.peek().is_none() {
        return Ok(());
    }
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in series {
        metric.encode_family(&labels)?.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))?;
    }
    Ok(())
}

fn encode_counters<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: impl Iterator<Item = (L, u64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in series {
        metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
    }
    Ok(())
}
