use std::fmt;

use wxsub_proto::Remedy;

/// The store failed, or it is unknown whether the operation took effect. It never contains a token or a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreError {
    kind: StoreErrorKind,
    detail: String,
}

impl StoreError {
    /// Creates an error. `detail` is the cause, and must not contain a secret.
    pub fn new(kind: StoreErrorKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }

    /// Returns what is wrong.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Returns what to do about it. [`Remedy::FixConfig`] if time will not help.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        self.kind.remedy()
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.kind, self.detail, self.kind.advice())
    }
}

impl std::error::Error for StoreError {}

/// What is wrong with a store. `Display` is one clause for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// There is no connection, or no response in time.
    Unreachable,
    /// The name of its host cannot be resolved.
    UnknownHost,
    /// Its certificate is not trusted, or TLS fails in another way.
    Certificate,
    /// It refuses the user or the password.
    WrongCredentials,
    /// The user may not use a command or a key.
    MissingRight,
    /// It refuses writes, because it is a replica.
    ReadOnly,
    /// It refuses writes, because its memory is full.
    OutOfMemory,
    /// It is one node of a cluster, which is not supported.
    Cluster,
    /// The record was encrypted with a key that this process does not have.
    EncryptionKey,
    /// The record cannot be read. The next lease holder replaces it.
    BrokenRecord,
    /// A newer version wrote the record. It is never changed.
    NewerLayout,
    /// The record belongs to another upstream: another base URL.
    OtherUpstream,
    /// The token in the record is from the other token endpoint. It is used until the next refresh.
    OtherEndpoint,
    /// One peer has held the lease for longer than an attempt takes.
    LeaseHeld,
    /// The store failed in another way.
    Failed,
}

impl StoreErrorKind {
    /// All kinds.
    pub const ALL: [Self; 15] = [
        Self::Unreachable,
        Self::UnknownHost,
        Self::Certificate,
        Self::WrongCredentials,
        Self::MissingRight,
        Self::ReadOnly,
        Self::OutOfMemory,
        Self::Cluster,
        Self::EncryptionKey,
        Self::BrokenRecord,
        Self::NewerLayout,
        Self::OtherUpstream,
        Self::OtherEndpoint,
        Self::LeaseHeld,
        Self::Failed,
    ];

    /// The `snake_case` name in JSON and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::UnknownHost => "unknown_host",
            Self::Certificate => "certificate",
            Self::WrongCredentials => "wrong_credentials",
            Self::MissingRight => "missing_right",
            Self::ReadOnly => "read_only",
            Self::OutOfMemory => "out_of_memory",
            Self::Cluster => "cluster",
            Self::EncryptionKey => "encryption_key",
            Self::BrokenRecord => "broken_record",
            Self::NewerLayout => "newer_layout",
            Self::OtherUpstream => "other_upstream",
            Self::OtherEndpoint => "other_endpoint",
            Self::LeaseHeld => "lease_held",
            Self::Failed => "failed",
        }
    }

    /// Returns what to do about it. [`Remedy::FixConfig`] if time will not help.
    #[must_use]
    pub const fn remedy(self) -> Remedy {
        match self {
            Self::Unreachable | Self::BrokenRecord | Self::OtherEndpoint => Remedy::RetryLater,
            Self::LeaseHeld | Self::Failed => Remedy::Investigate,
            _ => Remedy::FixConfig,
        }
    }

    /// What to do, as one clause for people.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Unreachable => {
                "the server tries again; check that the store runs and can be reached from here"
            }
            Self::UnknownHost => "correct the host in the address of the store, or the DNS",
            Self::Certificate => {
                "name the certificate authority of the store, and the host as in its certificate"
            }
            Self::WrongCredentials => "correct the password file, or the user in the address of the store",
            Self::MissingRight => "grant the rights that docs/cluster.md lists",
            Self::ReadOnly => "use the address of the master, or sentinels, which name it",
            Self::OutOfMemory => "raise maxmemory, or set an eviction policy",
            Self::Cluster => "use one Redis server, or one with sentinels",
            Self::EncryptionKey => "give all servers the same encryption key",
            Self::BrokenRecord => "nothing: the next server that fetches replaces it",
            Self::NewerLayout => "update wxsub on this server",
            Self::OtherUpstream => {
                "give each environment its own prefix, and all servers of one the same api_base"
            }
            Self::OtherEndpoint => {
                "nothing: it is valid, and a refresh replaces it; if this stays, give all servers the same token_endpoint"
            }
            Self::LeaseHeld => "look at the server that holds it",
            Self::Failed => "read the cause",
        }
    }
}

impl fmt::Display for StoreErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "the token store does not answer",
            Self::UnknownHost => "the host of the token store is unknown",
            Self::Certificate => "the certificate of the token store is not accepted",
            Self::WrongCredentials => "the token store refuses the user or the password",
            Self::MissingRight => "the user of the token store lacks a right",
            Self::ReadOnly => "the token store is read-only",
            Self::OutOfMemory => "the token store has no memory left",
            Self::Cluster => "the token store is a cluster, which is not supported",
            Self::EncryptionKey => "the record in the token store was encrypted with another key",
            Self::BrokenRecord => "the record in the token store is broken",
            Self::NewerLayout => "the record in the token store has a newer layout",
            Self::OtherUpstream => "the record in the token store belongs to another upstream",
            Self::OtherEndpoint => "the token in the token store is from the other token endpoint",
            Self::LeaseHeld => "a peer does not give the lease back",
            Self::Failed => "the token store failed",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_kind_has_its_own_name_and_words() {
        let all = StoreErrorKind::ALL;
        let names: HashSet<_> = all.iter().map(|kind| kind.as_str()).collect();
        let words: HashSet<_> = all.iter().map(ToString::to_string).collect();
        let advice: HashSet<_> = all.iter().map(|kind| kind.advice()).collect();
        assert_eq!([names.len(), words.len(), advice.len()], [all.len(); 3]);
    }

    #[test]
    fn error_names_kind_cause_and_advice() {
        let error = StoreError::new(StoreErrorKind::ReadOnly, "READONLY");
        let text = "the token store is read-only: READONLY; use the address of the master, or sentinels, which name it";
        assert_eq!((error.to_string().as_str(), error.remedy()), (text, Remedy::FixConfig));
        assert_eq!(StoreErrorKind::Unreachable.remedy(), Remedy::RetryLater);
    }
}
