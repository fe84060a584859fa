//! The address of Redis: one server, or the sentinels that know the master.

use redis::{ConnectionInfo, IntoConnectionInfo, ProtocolVersion};

use crate::RedisConfigError;

/// Splits an address into one connection info per host. Several hosts are sentinels.
pub(crate) fn parse_addresses(address: &str) -> Result<Vec<ConnectionInfo>, RedisConfigError> {
    let (scheme, rest) = address.split_once("://").ok_or(RedisConfigError::Address)?;
    if !["redis", "rediss"].contains(&scheme) {
        return Err(RedisConfigError::Address);
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (userinfo, hosts) = match authority.rsplit_once('@') {
        Some((userinfo, hosts)) => (format!("{userinfo}@"), hosts),
        None => (String::new(), authority),
    };
    let parse_host = |host: &str| {
        let address = format!("{scheme}://{userinfo}{host}/{path}");
        let host = address.into_connection_info().map_err(|_| RedisConfigError::Address)?;
        // RESP3 delivers published messages on the connection that also carries the responses.
        let settings = host.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        Ok(host.set_redis_settings(settings))
    };
    hosts.split(',').map(parse_host).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_gets_user_and_database() {
        let found = parse_addresses("rediss://user@a:1,b:2/3").unwrap();
        let shown: Vec<_> = found.iter().map(|info| info.addr().to_string()).collect();
        assert_eq!(shown, ["a:1", "b:2"]);
        assert!(found.iter().all(|info| info.redis_settings().db() == 3));
        assert!(found.iter().all(|info| info.redis_settings().username() == Some("user")));
    }

    #[test]
    fn invalid_address_is_an_error_that_does_not_show_it() {
        for invalid in ["", "localhost", "http://h", "redis://", "redis://h:x", "redis://h/x", "redis://a:1,"]
        {
            assert_eq!(parse_addresses(invalid).unwrap_err(), RedisConfigError::Address, "{invalid}");
        }
    }
}
