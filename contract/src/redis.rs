//! Where a Redis is, as a URL says it: one server, a cluster, or whoever Sentinels name.

/// A Redis to reach. All URLs in here are ones of single servers, which any client knows.
#[derive(Clone, PartialEq, Eq)]
pub enum Place {
    /// One server, by its URL.
    Server(String),
    /// A cluster.
    Cluster {
        /// Some of its servers, each as `HOST:PORT`.
        seeds: Vec<String>,
        /// How each of its servers is reached.
        servers: Reach,
    },
    /// The primary that Sentinels know by a name.
    Sentinel {
        /// The URLs of the Sentinels, with a login of their own where they want one.
        sentinels: Vec<String>,
        /// The name.
        name: String,
        /// How a primary is reached.
        servers: Reach,
    },
}

/// What the URLs of servers have in common that differ in their host.
#[derive(Clone, PartialEq, Eq)]
pub struct Reach {
    before: String,
    after: String,
}

impl Reach {
    /// The URL of the server at `HOST:PORT`.
    pub fn at(&self, host: &str) -> String {
        format!("{}{host}{}", self.before, self.after)
    }
}

/// What such URLs look like.
pub const URLS: &str = "redis://HOST:PORT/DB, redis-cluster://HOST:PORT,HOST:PORT or \
                        redis-sentinel://HOST:PORT,HOST:PORT/NAME/DB, with rediss instead of redis for TLS";

/// The place that a URL means.
///
/// `redis-cluster://[USER:PASSWORD@]HOST:PORT[,HOST:PORT…]` and
/// `redis-sentinel://[USER:PASSWORD@]HOST:PORT[,HOST:PORT…]/NAME[/DB]`, each also with `rediss`; every
/// other URL is one of a single server. The login is that of the servers. Sentinels have none, or their own:
/// `?sentinel_user=USER&sentinel_password=PASSWORD`, escaped as in any URL.
///
/// # Errors
/// When the URL lacks a host or a name, or has a parameter that nobody knows. The error never repeats the
/// URL, which may hold a password.
pub fn place(url: &str) -> Result<Place, String> {
    let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
    let Some((scheme @ ("redis" | "rediss"), kind @ ("cluster" | "sentinel"))) =
        scheme.split_once('-')
    else {
        return Ok(Place::Server(url.to_owned()));
    };
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (login, rest) = rest.rsplit_once('@').map_or(("", rest), |(login, rest)| (login, rest));
    let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
    if hosts.split(',').any(str::is_empty) {
        return Err(format!("the URL lacks a host: expected {URLS}"));
    }
    let at = if login.is_empty() { "" } else { "@" };
    let before = format!("{scheme}://{login}{at}");
    let hosts = hosts.split(',');
    if kind == "cluster" {
        if !parameters.is_empty() {
            return Err("the URL of a Redis cluster has no parameters".to_owned());
        }
        if !["", "0"].contains(&path) {
            return Err("a Redis cluster has no database but 0: leave it out of the URL".to_owned());
        }
        let servers = Reach { before, after: String::new() };
        return Ok(Place::Cluster { seeds: hosts.map(str::to_owned).collect(), servers });
    }
    let (name, database) = path.split_once('/').unwrap_or((path, "0"));
    if name.is_empty() {
        return Err(format!("the URL lacks the name that the Sentinels know: expected {URLS}"));
    }
    let login = login_of_sentinels(parameters)?;
    Ok(Place::Sentinel {
        sentinels: hosts.map(|host| format!("{scheme}://{login}{host}")).collect(),
        name: name.to_owned(),
        servers: Reach { before, after: format!("/{database}") },
    })
}

/// What stands before the host of a Sentinel.
fn login_of_sentinels(parameters: &str) -> Result<String, String> {
    let (mut user, mut password) = ("", None);
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=') {
            Some(("sentinel_user", told)) => user = told,
            Some(("sentinel_password", told)) => password = Some(told),
            Some(_) | None => {
                let known = "the URL may end in ?sentinel_user=USER&sentinel_password=PASSWORD";
                return Err(format!("{known}, and has another parameter"));
            }
        }
    }
    match password {
        Some(password) => Ok(format!("{user}:{password}@")),
        None if user.is_empty() => Ok(String::new()),
        None => Err("the URL has a sentinel_user and no sentinel_password".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Place {
        place(url).unwrap_or_else(|e| panic!("{url}: {e}"))
    }

    #[test]
    fn one_server_is_what_every_client_knows() {
        for url in ["redis://h:1/0", "rediss://u:p@h/3", "redis+unix:///run/r.sock", "redis:h"] {
            assert!(read(url) == Place::Server(url.to_owned()), "{url}");
        }
    }

    #[test]
    fn a_cluster_is_reached_by_each_of_its_servers_with_the_same_login() {
        for (url, hosts, reached) in [
            ("redis-cluster://a:1,b:2", &["a:1", "b:2"][..], "redis://c:3"),
            ("redis-cluster://a:1/", &["a:1"], "redis://c:3"),
            ("redis-cluster:a:1", &["a:1"], "redis://c:3"),
            ("rediss-cluster://u:p@a:1,b/0", &["a:1", "b"], "rediss://u:p@c:3"),
        ] {
            let Place::Cluster { seeds, servers } = read(url) else { panic!("{url}") };
            assert_eq!((seeds, servers.at("c:3").as_str()), (owned(hosts), reached));
        }
    }

    #[test]
    fn sentinels_are_asked_for_a_name_without_the_login_of_the_primary() {
        for (url, reached) in [
            ("rediss-sentinel://a:1,b:2/main", "rediss://c:3/0"),
            ("rediss-sentinel://:p@a:1,b:2/main/3", "rediss://:p@c:3/3"),
        ] {
            let Place::Sentinel { sentinels, name, servers } = read(url) else { panic!("{url}") };
            assert_eq!(
                (sentinels, name.as_str()),
                (owned(&["rediss://a:1", "rediss://b:2"]), "main")
            );
            assert_eq!(servers.at("c:3"), reached);
        }
    }

    #[test]
    fn sentinels_have_a_login_of_their_own() {
        for (parameters, login) in [
            ("", ""),
            ("?", ""),
            ("?sentinel_password=s%40t", ":s%40t@"),
            ("?sentinel_user=u&sentinel_password=s", "u:s@"),
            ("?sentinel_password=s&sentinel_user=u", "u:s@"),
        ] {
            let url = format!("redis-sentinel://x:p@a:1,b:2/main/3{parameters}");
            let Place::Sentinel { sentinels, servers, .. } = read(&url) else { panic!("{url}") };
            let expected = ["a:1", "b:2"].map(|host| format!("redis://{login}{host}"));
            assert_eq!(sentinels, expected, "{url}");
            assert_eq!(servers.at("c:3"), "redis://x:p@c:3/3", "{url}");
        }
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn what_is_missing_is_named_and_no_password_is() {
        for (url, named) in [
            ("redis-cluster://:secret@", "lacks a host"),
            ("redis-cluster://:secret@a:1,,b:2", "lacks a host"),
            ("redis-cluster://:secret@a:1/3", "no database but 0"),
            ("redis-sentinel://:secret@a:1", "lacks the name"),
            ("redis-sentinel://:secret@a:1//3", "lacks the name"),
            ("redis-sentinel:///main", "lacks a host"),
            ("redis-sentinel://a:1/main?password=secret", "another parameter"),
            ("redis-sentinel://a:1/main?sentinel_user=secret", "no sentinel_password"),
            ("redis-cluster://a:1?password=secret", "has no parameters"),
        ] {
            let error = place(url).err().unwrap_or_default();
            assert!(error.contains(named) && !error.contains("secret"), "{url}: {error}");
        }
    }
}
