//! Identifiers: UUIDs of version 7, so that they sort by the time at which they were made.

use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use derive_more::{Debug, Display};
use serde_with::{DeserializeFromStr, SerializeDisplay};
use uuid::{Builder, Uuid};
use wxsub_core::clock::UnixMillis;
use wxsub_proto::LocalizedText;

/// A text that is not a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("id: is not a UUID; copy it from the output that names it")]
pub struct InvalidId;

/// The system's random number generator failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no id was made: the system gave no random bytes; check its random number generator")]
pub struct NoRandomBytes;

impl NoRandomBytes {
    /// Returns the error in every language.
    #[must_use]
    pub fn localized(&self) -> LocalizedText<String> {
        let chinese = "没有生成 id：系统没有给出随机数；请检查系统的随机数生成器";
        LocalizedText::new(self.to_string(), chinese.to_owned())
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Display)]
        #[derive(SerializeDisplay, DeserializeFromStr)]
        #[debug("{_0}")]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String))]
        pub struct $name(Uuid);

        impl $name {
            /// The id with these 16 bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// Its 16 bytes, in the order in which ids sort.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl From<[u8; 16]> for $name {
            fn from(bytes: [u8; 16]) -> Self {
                Self::from_bytes(bytes)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::try_parse(text).map(Self).map_err(|_| InvalidId)
            }
        }
    };
}

id! {
    /// Identifies a message of the outbox.
    MessageId
}
id! {
    /// Identifies a grant.
    GrantId
}
id! {
    /// Identifies a worker: one start of one process, never a host.
    WorkerId
}

/// Makes ids. Those of one generator grow, also when the clock is set back.
#[derive(Debug)]
pub struct IdGenerator(Mutex<Sequence>);

#[derive(Debug)]
struct Sequence {
    millis: u64,
    /// Of the ids that share a millisecond.
    counter: u16,
    /// Instead of the system's random bytes, so that a run can be repeated.
    seed: Option<u64>,
}

/// Of the counter, as many as version 7 has bits between its version and its variant.
const COUNTER_LIMIT: u16 = 1 << 12;

impl IdGenerator {
    /// With the system's random bytes, or with those made from a seed, so that a run can be repeated.
    #[must_use]
    pub fn new(seed: Option<u64>) -> Self {
        Self(Mutex::new(Sequence { millis: 0, counter: 0, seed }))
    }

    /// The id of a new message.
    ///
    /// # Errors
    /// [`NoRandomBytes`] if the system's random number generator failed.
    pub fn message(&self, now: UnixMillis) -> Result<MessageId, NoRandomBytes> {
        self.next(now).map(MessageId)
    }

    /// The id of a new grant.
    ///
    /// # Errors
    /// [`NoRandomBytes`] if the system's random number generator failed.
    pub fn grant(&self, now: UnixMillis) -> Result<GrantId, NoRandomBytes> {
        self.next(now).map(GrantId)
    }

    /// The id of a new worker.
    ///
    /// # Errors
    /// [`NoRandomBytes`] if the system's random number generator failed.
    pub fn worker(&self, now: UnixMillis) -> Result<WorkerId, NoRandomBytes> {
        self.next(now).map(WorkerId)
    }

    fn next(&self, now: UnixMillis) -> Result<Uuid, NoRandomBytes> {
        let mut sequence = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let random = match &mut sequence.seed {
            Some(seed) => split_mix(seed),
            None => getrandom::u64().map_err(|_| NoRandomBytes)?,
        };
        sequence.advance(now.get());
        let mut bytes = [0; 10];
        let (counter, rest) = bytes.split_at_mut(2);
        counter.copy_from_slice(&sequence.counter.to_be_bytes());
        rest.copy_from_slice(&random.to_be_bytes());
        Ok(Builder::from_unix_timestamp_millis(sequence.millis, &bytes).into_uuid())
    }
}

impl Sequence {
    fn advance(&mut self, now: u64) {
        if now > self.millis {
            (self.millis, self.counter) = (now, 0);
        } else if self.counter + 1 < COUNTER_LIMIT {
            self.counter += 1;
        } else {
            (self.millis, self.counter) = (self.millis + 1, 0);
        }
    }
}

/// SplitMix64: spreads a seed.
pub(crate) fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_also_when_the_clock_is_set_back() {
        let ids = IdGenerator::new(Some(1));
        let times = [5_000_u64, 5_000, 4_000, 6_000].into_iter().chain(std::iter::repeat_n(6_000, 5_000));
        let made: Vec<_> = times.map(|at| ids.message(UnixMillis::new(at)).unwrap()).collect();
        assert!(made.is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn an_id_is_a_uuid_of_version_7_and_reads_back() {
        let id = IdGenerator::new(None).worker(UnixMillis::new(1_780_000_000_000)).unwrap();
        let text = id.to_string();
        assert!(text.len() == 36 && text.chars().nth(14) == Some('7'), "{text}");
        assert_eq!(text.parse::<WorkerId>(), Ok(id));
        assert_eq!("17".parse::<WorkerId>(), Err(InvalidId));
        assert_eq!(serde_json::from_str::<WorkerId>(&serde_json::to_string(&id).unwrap()).unwrap(), id);
    }
}
