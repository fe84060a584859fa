//! Why a request is denied.

use serde::{Serialize, Serializer};

/// The reason of a denial, for audit and metrics. Responses do not tell these reasons apart where that would help to guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Denial {
    /// There is no key.
    NoKey,
    /// The key belongs to no client.
    UnknownKey,
    /// The key of a client has expired.
    KeyExpired,
    /// The client may not use its keys from this address.
    AddressNotAllowed,
    /// The client lacks a scope that the request needs.
    MissingScope,
    /// The client may not use the app.
    AppNotAllowed,
    /// The app is not configured. The client may use all apps.
    UnknownApp,
    /// No app has the access token that authorizes the request.
    UnknownToken,
}

impl Denial {
    pub(crate) const ALL: [Self; 8] = [
        Self::NoKey,
        Self::UnknownKey,
        Self::KeyExpired,
        Self::AddressNotAllowed,
        Self::MissingScope,
        Self::AppNotAllowed,
        Self::UnknownApp,
        Self::UnknownToken,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NoKey => "no_key",
            Self::UnknownKey => "unknown_key",
            Self::KeyExpired => "key_expired",
            Self::AddressNotAllowed => "address_not_allowed",
            Self::MissingScope => "missing_scope",
            Self::AppNotAllowed => "app_not_allowed",
            Self::UnknownApp => "unknown_app",
            Self::UnknownToken => "unknown_token",
        }
    }
}

impl Serialize for Denial {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
