//! Why a request is denied.

use wxsub_proto::named_enum;

named_enum! {
    /// The reason of a denial, for audit and metrics. Responses do not tell these reasons apart where that would help to guess.
    pub(crate) enum Denial {
        /// There is no key.
        NoKey = "no_key",
        /// The key belongs to no client.
        UnknownKey = "unknown_key",
        /// The key of a client has expired.
        KeyExpired = "key_expired",
        /// The client may not use its keys from this address.
        AddressNotAllowed = "address_not_allowed",
        /// The client lacks a scope that the request needs.
        MissingScope = "missing_scope",
        /// The client may not use the app.
        AppNotAllowed = "app_not_allowed",
        /// The app is not configured. The client may use all apps.
        UnknownApp = "unknown_app",
        /// No app has the access token that authorizes the request.
        UnknownToken = "unknown_token",
    }
}
