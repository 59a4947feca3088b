//! The bus's address: one server, a master that Sentinels name, or a Cluster; with what is needed to be let in.
//! Reads text and makes connection settings; connects to nothing.

use percent_encoding::percent_decode_str;
use redis::{
    ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo,
    RedisResult,
};

/// Where Redis listens when nothing is said.
const PORT: u16 = 6379;
/// Where a Sentinel does.
const SENTINEL_PORT: u16 = 26379;

pub type HostPort = (String, u16);

/// How the servers stand to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topology {
    Single(HostPort),
    Sentinel {
        sentinels: Vec<HostPort>,
        /// The name Sentinels have for the master.
        service: String,
        who: Credentials,
    },
    Cluster(Vec<HostPort>),
}

#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    user: Option<String>,
    password: Option<String>,
}

/// A parsed `bus.url`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub topology: Topology,
    pub db: i64,
    who: Credentials,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Address {
    /// `redis://[user:password@]host[:port][/db]`,
    /// `redis+sentinel://[user:password@]host[:port],…/service[/db][?sentinel_user=…&sentinel_password=…]`,
    /// `redis+cluster://[user:password@]host[:port],…`.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").ok_or("there is no :// in it")?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (login, hosts),
            None => ("", authority),
        };
        let who = Credentials::parse(login)?;
        let path: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let no_query = || match query {
            "" => Ok(()),
            _ => Err(format!("it has no use for ?{query}")),
        };
        let (topology, db) = match scheme {
            "redis" => {
                no_query()?;
                let mut hosts = hosts_of(hosts, PORT)?;
                if hosts.len() != 1 || path.len() > 1 {
                    return Err("redis:// is one server: redis://host:port/db".to_owned());
                }
                (Topology::Single(hosts.remove(0)), db_of(path.first())?)
            }
            "redis+sentinel" => {
                let (Some(service), 1..=2) = (path.first(), path.len()) else {
                    return Err("redis+sentinel:// needs the master's name: redis+sentinel://host:port,host:port/name".to_owned());
                };
                let topology = Topology::Sentinel {
                    sentinels: hosts_of(hosts, SENTINEL_PORT)?,
                    service: decoded(service)?,
                    who: Credentials::of_sentinels(query)?,
                };
                (topology, db_of(path.get(1))?)
            }
            "redis+cluster" => {
                no_query()?;
                if !path.is_empty() {
                    return Err("a cluster has one database: leave the path out".to_owned());
                }
                (Topology::Cluster(hosts_of(hosts, PORT)?), 0)
            }
            _ => {
                return Err(
                    "it must begin with redis://, redis+sentinel:// or redis+cluster://".to_owned(),
                );
            }
        };
        Ok(Self { topology, db, who })
    }

    /// What it is, without secrets.
    pub fn shown(&self) -> String {
        let listed = |hosts: &[HostPort]| {
            let each: Vec<String> = hosts
                .iter()
                .map(|(host, port)| format!("{host}:{port}"))
                .collect();
            each.join(",")
        };
        match &self.topology {
            Topology::Single((host, port)) => format!("redis://{host}:{port}/{}", self.db),
            Topology::Sentinel {
                sentinels, service, ..
            } => {
                format!(
                    "redis+sentinel://{}/{service}/{}",
                    listed(sentinels),
                    self.db
                )
            }
            Topology::Cluster(seeds) => format!("redis+cluster://{}", listed(seeds)),
        }
    }

    /// How data servers are connected to.
    pub fn settings(&self) -> RedisConnectionInfo {
        self.who.settings().set_db(self.db)
    }

    /// One data server.
    pub fn server(&self, (host, port): &HostPort) -> RedisResult<ConnectionInfo> {
        let info = ConnectionAddr::Tcp(host.clone(), *port).into_connection_info()?;
        Ok(info.set_redis_settings(self.settings()))
    }
}

impl Credentials {
    fn parse(login: &str) -> Result<Self, String> {
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        Ok(Self {
            user: some(decoded(user)?),
            password: some(decoded(password)?),
        })
    }

    fn of_sentinels(query: &str) -> Result<Self, String> {
        let mut who = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sentinel_user", user)) => who.user = some(decoded(user)?),
                Some(("sentinel_password", password)) => who.password = some(decoded(password)?),
                _ => return Err(format!("it has no use for ?{pair}")),
            }
        }
        Ok(who)
    }

    pub fn settings(&self) -> RedisConnectionInfo {
        let mut settings = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
        if let Some(user) = &self.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password);
        }
        settings
    }
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn decoded(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(String::from)
        .map_err(|_| "it is not UTF-8".to_owned())
}

fn db_of(part: Option<&&str>) -> Result<i64, String> {
    let number = |part: &&str| part.parse().ok().filter(|db| (0..65_536).contains(db));
    match part {
        None => Ok(0),
        Some(part) => number(part).ok_or_else(|| format!("{part} is no number of a database")),
    }
}

fn hosts_of(text: &str, port: u16) -> Result<Vec<HostPort>, String> {
    text.split(',')
        .map(|one| host_of(one.trim(), port))
        .collect()
}

fn host_of(text: &str, default: u16) -> Result<HostPort, String> {
    let wrong = || format!("{text} is no host:port");
    let (host, port) = match text.strip_prefix('[') {
        Some(six) => {
            let (host, rest) = six.split_once(']').ok_or_else(wrong)?;
            (host, rest.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() {
        return Err(wrong());
    }
    let port = port.map_or(Ok(default), |port| port.parse().map_err(|_| wrong()))?;
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> String {
        Address::parse(url).expect("an address").shown()
    }

    #[test]
    fn three_kinds_of_addresses_are_read_and_shown_without_secrets() {
        assert_eq!(shown("redis://cache"), "redis://cache:6379/0");
        assert_eq!(
            shown("redis://:pa%40ss@cache:7000/3"),
            "redis://cache:7000/3"
        );
        assert_eq!(shown("redis://[::1]:7000"), "redis://::1:7000/0");
        assert_eq!(
            shown("redis+sentinel://u:p@one,two:5/main/2?sentinel_password=s"),
            "redis+sentinel://one:26379,two:5/main/2"
        );
        assert_eq!(shown("redis+cluster://a:1,b:2"), "redis+cluster://a:1,b:2");
        let address = Address::parse("redis://ann:pa%40ss@cache").expect("an address");
        assert_eq!(address.settings().username(), Some("ann"));
        assert_eq!(address.settings().password(), Some("pa@ss"));
        assert!(!format!("{address:?}").contains("pa@ss"));
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        for (url, why) in [
            ("cache:6379", "://"),
            ("http://cache", "redis://"),
            ("redis://", "host:port"),
            ("redis://a,b", "one server"),
            ("redis://a/x", "database"),
            ("redis://a:port", "host:port"),
            ("redis://a?db=1", "db=1"),
            ("redis+sentinel://a:1", "name"),
            ("redis+sentinel://a:1/main?user=x", "user=x"),
            ("redis+cluster://a:1/1", "one database"),
        ] {
            let error = Address::parse(url).expect_err(url);
            assert!(error.contains(why), "{url}: {error}");
        }
    }
}
