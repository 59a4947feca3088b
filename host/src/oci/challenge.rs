//! What a registry asks for before it answers: a password, or a token that another address gives. Reads the question and
//! sends nothing; where a password may go is decided here.

use reqwest::Url;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

use super::reference::is_loopback;

/// Who asks, as the registry knows them; nobody is anonymous.
#[derive(Clone, Default)]
pub struct Credentials {
    /// Name and password.
    pub basic: Option<(String, String)>,
    /// A token that is good as it is.
    pub token: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (basic, token) = (self.basic.is_some(), self.token.is_some());
        write!(f, "Credentials {{ basic: {basic}, token: {token} }}")
    }
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Challenge {
    /// A token, given by this address.
    Bearer(Box<Url>),
    Basic,
}

impl Challenge {
    /// The question of an answer 401; why it cannot be met, where it cannot.
    pub fn of(headers: &HeaderMap, repository: &str, plain: bool) -> Result<Self, &'static str> {
        let mut basic = false;
        for value in headers.get_all(WWW_AUTHENTICATE) {
            let known = value.to_str().ok().map(http_auth::parse_challenges);
            for challenge in known.and_then(Result::ok).into_iter().flatten() {
                if challenge.scheme.eq_ignore_ascii_case("bearer") {
                    let params = challenge.params.iter();
                    let params = params.map(|(key, value)| (*key, value.to_unescaped()));
                    return bearer(params, repository, plain);
                }
                basic |= challenge.scheme.eq_ignore_ascii_case("basic");
            }
        }
        match basic {
            true => Ok(Self::Basic),
            false => Err("wants proof of who asks, and not by a token or a password"),
        }
    }
}

fn bearer<'a>(
    params: impl Iterator<Item = (&'a str, String)>,
    repository: &str,
    plain: bool,
) -> Result<Challenge, &'static str> {
    let (mut realm, mut service, mut scope) = (None, None, None);
    for (key, value) in params {
        match key.to_ascii_lowercase().as_str() {
            "realm" => realm = Some(value),
            "service" => service = Some(value),
            "scope" => scope = Some(value),
            _ => {}
        }
    }
    let realm = realm.and_then(|realm| Url::parse(&realm).ok());
    let mut url = realm.ok_or("names no address that gives tokens")?;
    if !may_go(&url, plain) {
        return Err(
            "sends passwords where anybody could read them: its tokens are not given by https",
        );
    }
    let scope = scope.unwrap_or_else(|| format!("repository:{repository}:pull"));
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = &service {
            query.append_pair("service", service);
        }
        query.append_pair("scope", &scope);
    }
    Ok(Challenge::Bearer(Box::new(url)))
}

/// Whether a request may go there: by TLS anywhere, without it only on this machine and from a registry on it.
pub(super) fn may_go(url: &Url, plain: bool) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => plain && is_loopback(url),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(values: &[&str], plain: bool) -> Result<Challenge, &'static str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().expect("a header"));
        }
        Challenge::of(&headers, "team/words", plain)
    }

    #[test]
    fn a_token_is_asked_for_where_the_registry_says_and_only_by_tls() {
        let by = |realm: &str, plain| {
            let value = format!("Basic realm=\"x\", Bearer realm=\"{realm}\",service=\"a b\"");
            asked(&[&value], plain)
        };
        let Ok(Challenge::Bearer(url)) = by("https://auth.example.org/token", false) else {
            panic!("a token is asked for");
        };
        assert_eq!(
            url.as_str(),
            "https://auth.example.org/token?service=a+b&scope=repository%3Ateam%2Fwords%3Apull"
        );
        assert!(by("http://auth.example.org/token", true).is_err());
        assert!(by("http://127.0.0.1/token", false).is_err());
        assert!(by("http://127.0.0.1/token", true).is_ok());
        assert!(by("ftp://127.0.0.1/token", true).is_err());
    }

    #[test]
    fn a_password_is_asked_for_and_anything_else_is_refused() {
        assert_eq!(asked(&["Basic realm=\"x\""], false), Ok(Challenge::Basic));
        assert!(asked(&[], false).is_err());
        assert!(asked(&["Negotiate"], false).is_err());
        assert!(asked(&["Bearer service=\"x\""], false).is_err());
    }

    #[test]
    fn what_is_secret_is_never_printed() {
        let secret = Credentials {
            basic: Some(("ann".to_owned(), "secret".to_owned())),
            token: Some("secret".to_owned()),
        };
        assert!(!format!("{secret:?}").contains("secret"));
    }
}
