//! Requests of plugins: to hosts that are granted, at addresses that were looked up and checked first and are the ones
//! connected to, so that a name cannot lead elsewhere in between. No proxy, no redirect, bounded in size and time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use kith_runtime::{AbilityError, Grants, HttpRequest, HttpResponse};
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, Url};

const TIME_MOST: Duration = Duration::from_secs(10);
const REQUEST_BYTES_MOST: usize = 1 << 20;
const RESPONSE_BYTES_MOST: usize = 1 << 20;
const HEADERS_MOST: usize = 64;
/// What the host says itself.
const OWN_HEADERS: [&str; 7] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Makes one request.
pub async fn fetch(grants: &Grants, request: HttpRequest) -> Result<HttpResponse, AbilityError> {
    let wanted = match request.timeout_ms {
        0 => TIME_MOST,
        ms => Duration::from_millis(ms.into()).min(TIME_MOST),
    };
    let late = |_| AbilityError::Timeout(format!("no answer within {} ms", wanted.as_millis()));
    tokio::time::timeout(wanted, answer(grants, request))
        .await
        .map_err(late)?
}

async fn answer(grants: &Grants, request: HttpRequest) -> Result<HttpResponse, AbilityError> {
    let url = Url::parse(&request.url)
        .map_err(|error| AbilityError::Invalid(format!("the URL cannot be read: {error}")))?;
    let private = admit(grants, &url)?;
    let client = client(&url, private).await?;
    let built = build(&client, url, request)?;
    let failed = |error: reqwest::Error| {
        AbilityError::Unavailable(match error.is_connect() {
            true => "the host could not be reached".to_owned(),
            false => "the exchange broke off".to_owned(),
        })
    };
    let mut response = client.execute(built).await.map_err(failed)?;
    let header = |(name, value): (&HeaderName, &HeaderValue)| {
        let value = value.to_str().ok()?.to_owned();
        let name = name.as_str().to_owned();
        Some(kith_runtime::HttpHeader { name, value })
    };
    let status = response.status().as_u16();
    let headers = response
        .headers()
        .iter()
        .filter_map(header)
        .take(HEADERS_MOST)
        .collect();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > RESPONSE_BYTES_MOST {
            return Err(AbilityError::Quota(format!(
                "the answer has more than {RESPONSE_BYTES_MOST} bytes"
            )));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(HttpResponse {
        status,
        headers,
        body,
    })
}

/// Whether a granted host is meant, and one whose addresses may be private.
fn admit(grants: &Grants, url: &Url) -> Result<bool, AbilityError> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err(AbilityError::Invalid("the URL names a user".to_owned()));
    }
    for private in [false, true] {
        let key = if private { "private" } else { "host" };
        if grants
            .scope("http", key)
            .any(|granted| is_granted(granted, url))
        {
            return Ok(private);
        }
    }
    let host = url.host_str().unwrap_or_default();
    Err(AbilityError::Denied(format!(
        "{}://{host} is not granted",
        url.scheme()
    )))
}

/// `[SCHEME://]HOST[:PORT]`; the scheme is https where none is said, the port the scheme's.
fn is_granted(granted: &str, url: &Url) -> bool {
    let whole = match granted.contains("://") {
        true => granted.to_owned(),
        false => format!("https://{granted}"),
    };
    Url::parse(&whole).is_ok_and(|granted| {
        granted.scheme() == url.scheme()
            && granted.host() == url.host()
            && granted.port_or_known_default() == url.port_or_known_default()
    })
}

/// A client that reaches this host at the addresses that were checked, and nothing else.
async fn client(url: &Url, private: bool) -> Result<reqwest::Client, AbilityError> {
    let unknown = || AbilityError::Unavailable("the host's name cannot be looked up".to_owned());
    let port = url.port_or_known_default().ok_or_else(unknown)?;
    let name = url.host_str().ok_or_else(unknown)?;
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<SocketAddr> = match bare.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => {
            let found = tokio::net::lookup_host((bare, port)).await;
            found.map_err(|_| unknown())?.collect()
        }
    };
    if addresses.is_empty() {
        return Err(unknown());
    }
    if !private && addresses.iter().any(|address| is_private(address.ip())) {
        return Err(AbilityError::Denied(
            "the host has an address inside a private network".to_owned(),
        ));
    }
    // A process that never served has none yet; a second one is refused, which changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .resolve_to_addrs(bare, &addresses)
        .timeout(TIME_MOST)
        .build()
        .map_err(|_| AbilityError::Unavailable("no request can be made".to_owned()))
}

fn build(
    client: &reqwest::Client,
    url: Url,
    request: HttpRequest,
) -> Result<reqwest::Request, AbilityError> {
    let invalid = |what: String| AbilityError::Invalid(what);
    let method = match request.method.to_ascii_uppercase().as_str() {
        "GET" => Method::GET,
        "HEAD" => Method::HEAD,
        "POST" => Method::POST,
        "PUT" => Method::PUT,
        "PATCH" => Method::PATCH,
        "DELETE" => Method::DELETE,
        other => return Err(invalid(format!("there is no method {other:.16?}"))),
    };
    if request.body.len() > REQUEST_BYTES_MOST || request.headers.len() > HEADERS_MOST {
        return Err(AbilityError::Quota(format!(
            "a request has at most {REQUEST_BYTES_MOST} bytes and {HEADERS_MOST} headers"
        )));
    }
    let mut built = client.request(method, url);
    for header in request.headers {
        let name = header.name.to_ascii_lowercase();
        let named = HeaderName::from_bytes(name.as_bytes());
        let valued = HeaderValue::from_str(&header.value);
        match (named, valued) {
            (Ok(named), Ok(valued)) if !OWN_HEADERS.contains(&name.as_str()) => {
                built = built.header(named, valued);
            }
            _ => return Err(invalid(format!("the header {name:.64?} cannot be sent"))),
        }
    }
    let built = built.body(request.body).build();
    built.map_err(|_| invalid("the request cannot be made".to_owned()))
}

/// Not an address of the public network, however it is written.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => is_private_v6(address),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19))
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([w, x], [y, z]) = (high.to_be_bytes(), low.to_be_bytes());
        is_private_v4(Ipv4Addr::new(w, x, y, z))
    };
    match (a, b) {
        // Compatible and mapped ones, the loopback and the unspecified address among them.
        (0, 0) if (c, d, e) == (0, 0, 0) && (f == 0 || f == 0xffff) => embedded(g, h),
        (0x64, 0xff9b) => (c, d, e, f) != (0, 0, 0, 0) || embedded(g, h),
        (0x2002, _) => embedded(b, c),
        (0x2001, 0 | 0xdb8) => true,
        // Everything but global unicast.
        _ => a & 0xe000 != 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_lead_inside_are_known_however_they_are_written() {
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::7f00:1",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "2001:db8::1",
        ] {
            assert!(is_private(inside.parse().expect("an address")), "{inside}");
        }
        for outside in [
            "1.1.1.1",
            "93.184.216.34",
            "2606:4700::1111",
            "64:ff9b::101:101",
        ] {
            assert!(
                !is_private(outside.parse().expect("an address")),
                "{outside}"
            );
        }
    }

    #[test]
    fn only_the_granted_scheme_host_and_port_are_let_through() {
        let grants = Grants::parse("http:host=a.example,http:private=http://127.0.0.1:8080");
        let grants = grants.expect("grants");
        let asked = |url: &str| admit(&grants, &Url::parse(url).expect("a URL")).ok();
        assert_eq!(asked("https://a.example/x"), Some(false));
        assert_eq!(asked("http://127.0.0.1:8080/x"), Some(true));
        for refused in [
            "http://a.example/",
            "https://a.example:8443/",
            "https://b.example/",
            "https://a.example.b.example/",
            "http://127.0.0.1:8081/",
            "https://u:p@a.example/",
        ] {
            assert_eq!(asked(refused), None, "{refused}");
        }
    }

    #[tokio::test]
    async fn a_granted_name_that_leads_inside_is_denied() {
        let url = Url::parse("https://localhost/").expect("a URL");
        let denied = client(&url, false).await.err();
        assert!(
            matches!(denied, Some(AbilityError::Denied(_))),
            "{denied:?}"
        );
        assert!(client(&url, true).await.is_ok());
    }
}
