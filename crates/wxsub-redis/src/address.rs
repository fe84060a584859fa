//! Where Redis is: one server, or the sentinels that know it.

use redis::{ConnectionInfo, IntoConnectionInfo, ProtocolVersion};

use crate::RedisConfigError;

/// Every host of the address, each as an address of its own. Several stand for sentinels.
pub(crate) fn parse_addresses(address: &str) -> Result<Vec<ConnectionInfo>, RedisConfigError> {
    let (scheme, rest) = address.split_once("://").ok_or(RedisConfigError::Address)?;
    if !["redis", "rediss"].contains(&scheme) {
        return Err(RedisConfigError::Address);
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (format!("{user}@"), hosts),
        None => (String::new(), authority),
    };
    let one = |host: &str| {
        let address = format!("{scheme}://{user}{host}/{path}");
        let host = address.into_connection_info().map_err(|_| RedisConfigError::Address)?;
        // The protocol in which what is published comes over the same connection as the answers.
        let settings = host.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        Ok(host.set_redis_settings(settings))
    };
    hosts.split(',').map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_apart() {
        let found = parse_addresses("rediss://user@a:1,b:2/3").unwrap();
        let shown: Vec<_> = found.iter().map(|info| info.addr().to_string()).collect();
        assert_eq!(shown, ["a:1", "b:2"]);
        assert!(found.iter().all(|info| info.redis_settings().db() == 3));
        assert!(found.iter().all(|info| info.redis_settings().username() == Some("user")));
    }

    #[test]
    fn what_is_no_address_is_refused_without_showing_it() {
        for wrong in ["", "localhost", "http://h", "redis://", "redis://h:x", "redis://h/x", "redis://a:1,"] {
            assert_eq!(parse_addresses(wrong).unwrap_err(), RedisConfigError::Address, "{wrong}");
        }
    }
}
