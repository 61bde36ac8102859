use std::fs;

use proptest::prelude::*;
use redis::IntoConnectionInfo;

use super::*;

/// Made for these tests; nobody has its key.
const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBmzCCAUGgAwIBAgIUXxKBBXK7E4+DLbbJokc0krxaPSYwCgYIKoZIzj0EAwIw\n\
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNjE2NDEwOVoYDzIxMjYxMTAy\n\
MTY0MTA5WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO\n\
PQMBBwNCAATwB+G2jE2u5TN1iTCmIOp6IFno1OeBl1lvW7RJsb1jOqoJghbG+Zr3\n\
kXP9WtfQktWkBI8CBsRBKyx+rA4DECGpo28wbTAdBgNVHQ4EFgQUEILI6g09Jw+A\n\
UhdL/cbXnVxJAOwwHwYDVR0jBBgwFoAUEILI6g09Jw+AUhdL/cbXnVxJAOwwDwYD\n\
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI\n\
zj0EAwIDSAAwRQIhANwRp3s5KwLdgu4avp2TmZOWgscvcQO/4TQNubP+v2r+AiBY\n\
9sVxwAo4X/WSprWe6qCv8k7NsRefGxpI/mkF1k0TzQ==\n\
-----END CERTIFICATE-----\n\
";
const SECRET: &str = "xyzzy";

fn parse(urls: &[&str]) -> Result<Topology, TopologyError> {
    let urls: Vec<_> = urls.iter().map(|url| (*url).to_owned()).collect();
    Topology::parse(&urls)
}

fn masters(urls: &[&str]) -> Vec<ConnectionInfo> {
    match parse(urls).unwrap() {
        Topology::Masters(masters) => masters,
        other @ (Topology::Sentinel { .. } | Topology::Cluster { .. }) => panic!("{other:?}"),
    }
}

fn addresses(infos: &[ConnectionInfo]) -> Vec<String> {
    infos.iter().map(|info| info.addr().to_string()).collect()
}

fn said(url: &str) -> String {
    match parse(&[url]) {
        Err(error) => error.to_string(),
        Ok(topology) => panic!("{url} was taken: {topology:?}"),
    }
}

#[test]
fn masters_keep_their_order_and_have_credentials_of_their_own() {
    let infos = masters(&[
        "redis://b:6380",
        "redis://chat:p%40ss%3a@a",
        "redis://:only@[::1]:7000/0",
    ]);

    assert_eq!(addresses(&infos), ["b:6380", "a:6379", "::1:7000"]);
    let users: Vec<_> = infos
        .iter()
        .map(|info| {
            (
                info.redis_settings().username(),
                info.redis_settings().password(),
            )
        })
        .collect();
    assert_eq!(
        users,
        [
            (None, None),
            (Some("chat"), Some("p@ss:")),
            (None, Some("only"))
        ]
    );
}

#[test]
fn connections_speak_resp3_without_delay_and_notice_a_peer_that_vanished() {
    let info = masters(&["redis://a"]).remove(0);
    assert_eq!(info.redis_settings().protocol(), ProtocolVersion::RESP3);
    assert!(info.tcp_settings().nodelay());
    assert!(info.tcp_settings().keepalive().is_some());
    #[cfg(target_os = "linux")]
    assert_eq!(info.tcp_settings().user_timeout(), Some(UNCONFIRMED));
}

#[test]
fn sentinels_and_data_nodes_have_different_credentials() {
    let url = "redis+sentinel://chat:one@s1,s2:1234/first,second\
               ?sentinel_username=watch&sentinel_password=two";
    let Topology::Sentinel {
        sentinels,
        services,
        node,
    } = parse(&[url]).unwrap()
    else {
        panic!("no sentinels");
    };

    assert_eq!(addresses(&sentinels), ["s1:26379", "s2:1234"]);
    assert_eq!(services, ["first", "second"]);
    let sentinel = sentinels[0].redis_settings();
    assert_eq!(sentinel.username(), Some("watch"));
    assert_eq!(sentinel.password(), Some("two"));
    let data = node.connection_info("10.0.0.1", 6379);
    assert_eq!(data.addr().to_string(), "10.0.0.1:6379");
    assert_eq!(data.redis_settings().username(), Some("chat"));
    assert_eq!(data.redis_settings().password(), Some("one"));
}

#[test]
fn nodes_of_a_cluster_are_connected_to_like_its_seeds() {
    let url = "redis+cluster://chat:one@a,b:7001";
    let Topology::Cluster { seeds, node } = parse(&[url]).unwrap() else {
        panic!("no cluster");
    };
    assert_eq!(addresses(&seeds), ["a:6379", "b:7001"]);
    let other = node.connection_info("c", 7002);
    assert_eq!(other.redis_settings().password(), Some("one"));
    assert_eq!(seeds[0].redis_settings().password(), Some("one"));
}

#[test]
fn tls_carries_the_certificates_that_were_named() {
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca file.pem");
    fs::write(&ca, CERTIFICATE).unwrap();
    let escaped = ca.display().to_string().replace(' ', "%20");
    let url = format!("rediss+cluster://a?ca={escaped}");

    let Topology::Cluster { seeds, node } = parse(&[&url]).unwrap() else {
        panic!("no cluster");
    };

    for info in [seeds[0].clone(), node.connection_info("b", 1)] {
        let ConnectionAddr::TcpTls { tls_params, .. } = info.addr() else {
            panic!("no TLS: {info:?}");
        };
        assert!(tls_params.is_some());
        let settings = info.into_connection_info().unwrap();
        assert_eq!(settings.redis_settings().protocol(), ProtocolVersion::RESP3);
    }
}

#[test]
fn certificates_that_cannot_be_used_are_named_with_their_file_or_fault() {
    let dir = tempfile::tempdir().unwrap();
    let junk = dir.path().join("junk.pem");
    fs::write(
        &junk,
        "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let junk = junk.display();

    let missing = said("rediss://a?ca=/no/such/file.pem");
    assert!(
        missing.contains("/no/such/file.pem, which cannot be read"),
        "{missing}"
    );
    let broken = said(&format!("rediss://a?ca={junk}"));
    assert!(
        broken.contains("certificates that cannot be used"),
        "{broken}"
    );
    let no_key = said(&format!("rediss://a?cert={junk}&key={junk}"));
    assert!(
        no_key.contains("certificates that cannot be used"),
        "{no_key}"
    );
    let half = said(&format!("rediss://a?cert={junk}"));
    assert!(half.contains("both cert and key"), "{half}");
}

#[test]
fn what_is_wrong_with_a_url_is_said_with_an_example() {
    for (url, what) in [
        ("", "has none of the schemes"),
        ("localhost:6379", "has none of the schemes"),
        ("http://a", "has none of the schemes"),
        ("redis://", "names no host"),
        ("redis://:6379", "names no host"),
        ("redis://a b", "neither a name nor an address"),
        ("redis://::1:6379", "names no host"),
        ("redis://[::1", "neither a name nor an address"),
        ("redis://[a]", "neither a name nor an address"),
        ("redis://0.0.0.0", "address of all interfaces"),
        ("redis://a:0", "no number from 1 to 65535"),
        ("redis://a:+1", "no number from 1 to 65535"),
        ("redis://a:65536", "no number from 1 to 65535"),
        ("redis://a,b", "one URL each"),
        ("redis://chat@a", "a user without a password"),
        ("redis://chat:@a", "a user without a password"),
        ("redis://chat:a%zz@a", "hexadecimal"),
        ("redis://chat:a%ff@a", "hexadecimal"),
        ("redis://a/5", "chooses database 5, but only 0"),
        ("redis+cluster://a/1", "chooses database 1, but only 0"),
        ("redis://a/b", "has a path"),
        ("redis://a#b", "fragment"),
        ("redis://a?ca=x", "ca, cert and key are for rediss"),
        ("rediss://a?insecure=1", "expected ca, cert and key"),
        ("rediss://a?ca=", "ca without a value"),
        ("rediss://a?ca=x&ca=y", "ca twice"),
        ("redis+sentinel://a", "names no service"),
        ("redis+sentinel://a/", "names no service"),
        ("redis+sentinel://a/b,b", "\"b\" twice"),
    ] {
        let said = said(url);
        assert!(said.contains(what), "{url}: {said}");
        assert!(said.contains("expected one like redis"), "{url}: {said}");
    }
}

#[test]
fn urls_that_contradict_each_other_are_refused() {
    for (urls, what) in [
        (&[][..], "no URL of Redis is given"),
        (
            &["redis://a", "redis://b:6379", "redis://b"],
            "two URLs lead to b:6379",
        ),
        (&["redis://a", "redis+cluster://b"], "expected it alone"),
        (
            &["redis+cluster://a", "redis+cluster://b"],
            "expected it alone",
        ),
        (&["redis+sentinel://a/s", "redis://b"], "expected it alone"),
    ] {
        let error = parse(urls).unwrap_err().to_string();
        assert!(error.contains(what), "{urls:?}: {error}");
    }
    let many: Vec<_> = (0..257).map(|host| format!("redis://h{host}")).collect();
    let error = Topology::parse(&many).unwrap_err().to_string();
    assert!(error.contains("257 masters are given"), "{error}");
}

#[test]
fn a_wrong_url_is_shown_as_far_as_it_is_no_secret() {
    for (url, shown) in [
        ("redis://chat:xyzzy@host:70000", "redis://…@host:70000"),
        ("redis://chat:xy/zzy@host", "redis://…@host"),
        ("redis://chat:xyzzy", "redis://chat:…"),
        ("redis://chat:xyzzy/xyzzy", "redis://chat:…"),
        ("redis://chat:xy?zzy@host", "redis://…"),
        (
            "redis+sentinel://host/s?sentinel_pass=xyzzy",
            "redis+sentinel://host/s?…",
        ),
        (
            "redis+sentinel://host/s?sentinel_pass=xy@zzy",
            "redis+sentinel://…",
        ),
        ("redis://chat:xy@zzy@host:+1", "redis://…@host:…"),
        ("redis://chat:/xyzzy", "redis://chat:…"),
        ("redis://chat:xy,zzy", "redis://chat:…"),
        ("redis://[xyzzy]:1", "redis://…"),
        ("chat:xyzzy@host", "…"),
    ] {
        let said = said(url);
        assert!(
            said.starts_with(&format!("the URL {shown} ")),
            "{url}: {said}"
        );
    }
}

/// Texts that resemble URLs, right or wrong, with the secret where a password would be.
fn resembling() -> impl Strategy<Value = String> {
    let scheme = prop::sample::select(vec![
        "redis://",
        "rediss://",
        "redis+sentinel://",
        "rediss+cluster://",
        "http://",
        "://",
        "",
    ]);
    let password = prop::sample::select(vec!["xyzzy", "1xyzzy", "%xyzzy", "xyzzy?", "/xyzzy"]);
    let tail = "[a-z0-9:/?#@,%&=.\\[\\] é-]{0,12}";
    (
        scheme,
        "[a-z@%é]{0,4}:",
        password,
        "@?",
        tail,
        any::<bool>(),
    )
        .prop_map(|(scheme, user, password, at, tail, in_query)| {
            if in_query {
                format!("{scheme}host/s?sentinel_password={password}{tail}")
            } else {
                format!("{scheme}{user}{password}{at}{tail}")
            }
        })
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(redis|rediss)?(\\+sentinel|\\+cluster)?(://)?\\PC{0,40}") {
        let _ = Topology::parse(&[text]);
    }

    #[test]
    fn a_password_is_never_shown(url in resembling()) {
        let shown = match Topology::parse(std::slice::from_ref(&url)) {
            Ok(topology) => format!("{topology:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        prop_assert!(!shown.contains(SECRET), "{url}: {shown}");
    }
}
