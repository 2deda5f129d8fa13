//! Where campaigns are kept, as flags and environment say it.

use std::ffi::OsString;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// Where campaigns are kept.
pub(crate) enum Place {
    /// The URL.
    Redis(String),
    /// The URL.
    Postgres(String),
    /// The file.
    Sqlite(PathBuf),
}

impl Place {
    /// Never repeats a URL, which may hold a password.
    pub(crate) fn of(store: Option<&str>) -> anyhow::Result<Self> {
        let Some(store) = store else {
            let address = environment("REDIS_ADDR")?.unwrap_or_else(|| "localhost:6379".to_owned());
            if !is_host_and_port(&address) {
                bail!("REDIS_ADDR must be HOST:PORT, such as localhost:6379");
            }
            return Ok(Self::Redis(format!("redis://{address}/0")));
        };
        let scheme = store.split_once("://").map_or("", |(scheme, _)| scheme);
        let plain = scheme.replacen("rediss", "redis", 1);
        if ["redis", "redis-cluster", "redis-sentinel"].contains(&plain.as_str()) {
            return Ok(Self::Redis(store.to_owned()));
        }
        if ["postgres", "postgresql"].contains(&scheme) {
            return Ok(Self::Postgres(store.to_owned()));
        }
        match contract::sqlite::path(store) {
            Some("") => bail!("--store sqlite: lacks a path, such as sqlite:coupons.db"),
            Some(path) => Ok(Self::Sqlite(path.into())),
            None => {
                bail!(
                    "--store must be sqlite:PATH, redis://HOST:PORT/DB, redis-cluster://HOST:PORT,HOST:PORT, \
                     redis-sentinel://HOST:PORT,HOST:PORT/NAME or postgres://USER@HOST:PORT/DB"
                )
            }
        }
    }
}

impl Place {
    /// The certificates that are trusted instead of the system's, from their file.
    pub(crate) fn authority(&self, file: Option<&Path>) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(file) = file else { return Ok(None) };
        let speaks_tls = match self {
            Self::Redis(url) => url.starts_with("rediss"),
            Self::Postgres(_) => true,
            Self::Sqlite(_) => false,
        };
        if !speaks_tls {
            bail!(
                "--store-ca is for TLS: leave it out, or pass --store rediss://… or postgres://…"
            );
        }
        let place = file.display();
        let pem = std::fs::read(file).with_context(|| format!("cannot read --store-ca {place}"))?;
        let begin: &[u8] = b"-----BEGIN CERTIFICATE-----";
        if !pem.windows(begin.len()).any(|at| at == begin) {
            bail!("{place} holds no certificate in PEM");
        }
        Ok(Some(pem))
    }
}

/// `localhost:6379`, `10.0.0.5:6379` or `[::1]:6379`, and nothing around it.
fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_is_one = match inner {
        Some(v6) => v6.parse::<Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        }
    };
    host_is_one
        && port.bytes().all(|b| b.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|p| p > 0)
}

/// A URL without login and parameters.
pub(crate) fn redacted(url: &str) -> String {
    // First of all, for a password in the parameters may hold an @, and one before the host a question mark.
    let url = contract::secrets::without_password(url);
    let (scheme, rest) = url.split_once("://").unwrap_or(("", &url));
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    // Parameters may hold anything.
    format!("{scheme}://{}", place.split_once('?').map_or(place, |(place, _)| place))
}

/// A variable that is set and not empty.
pub(crate) fn environment(name: &str) -> anyhow::Result<Option<String>> {
    let value: Option<OsString> = std::env::var_os(name);
    match value.map(OsString::into_string) {
        None => Ok(None),
        Some(Ok(value)) => Ok(Some(value).filter(|value| !value.is_empty())),
        Some(Err(_)) => bail!("{name} is not text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_a_password_is_shown() {
        for (url, shown) in [
            ("redis://h:1/0", "redis://h:1/0"),
            ("redis://me:sec@ret@h:1/0", "redis://h:1/0"),
            ("redis://:sec?ret@h:1/0", "redis://h:1/0"),
            ("postgres://h/db?user=me&password=sec@ret", "postgres://h/db"),
            ("redis-sentinel://:sec@h:1/main?sentinel_password=r@t", "redis-sentinel://h:1/main"),
        ] {
            assert_eq!(redacted(url), shown);
        }
    }
}
