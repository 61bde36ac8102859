//! One row per token: what it is, and the verdict on it.

use parlance_auth::{AuthConfig, Keyring};
use parlance_core::{
    identity::{Conversations, Identity},
    ports::{Denied, Verifier},
};
use parlance_protocol::ConversationId;
use serde_json::{Value, json};

use crate::forge::{
    NOW_SECS, OTHER_SECRET, SECRET, at, claims_with, encoded, good_claims, hmac_config, hmac_key,
    hmac_ring, hs256, hs256_with_header, now, signed,
};

fn verdict(token: &str) -> Result<Identity, Denied> {
    hmac_ring().verify(token, now())
}

fn check_all(rows: &[(&str, String, Result<(), Denied>)]) {
    let ring = hmac_ring();
    for (what, token, expected) in rows {
        let found = ring.verify(token, now()).map(drop);
        assert_eq!(found, *expected, "{what}");
    }
}

fn with(changes: Value) -> String {
    hs256(claims_with(changes).to_string())
}

/// The good claims with one raw member more, so that JSON can be written that `Value` cannot hold.
fn with_raw(member: &str) -> String {
    hs256(format!(
        r#"{{"sub":"ann","conversations":["one"],{member}}}"#
    ))
}

const FINE: Result<(), Denied> = Ok(());
const MALFORMED: Result<(), Denied> = Err(Denied::Malformed);
const BAD_CLAIM: Result<(), Denied> = Err(Denied::BadClaim);
const EXPIRED: Result<(), Denied> = Err(Denied::Expired);
const NOT_YET: Result<(), Denied> = Err(Denied::NotYet);

#[test]
fn the_form_is_judged_first() {
    let good = hs256(good_claims().to_string());
    let (signed_part, signature) = good.rsplit_once('.').unwrap();
    let (header, claims) = signed_part.split_once('.').unwrap();
    let padded_header = format!("{header}=");
    check_all(&[
        ("a good token", good.clone(), FINE),
        ("no token", String::new(), Err(Denied::Missing)),
        ("one part", "abc".into(), MALFORMED),
        ("two parts", signed_part.into(), MALFORMED),
        ("four parts", format!("{good}.{signature}"), MALFORMED),
        ("an empty fourth part", format!("{good}."), MALFORMED),
        ("five parts", format!("{good}.a.b"), MALFORMED),
        ("only dots", "..".into(), MALFORMED),
        (
            "an empty header",
            format!(".{claims}.{signature}"),
            MALFORMED,
        ),
        (
            "empty claims",
            format!("{header}..{signature}"),
            Err(Denied::BadSignature),
        ),
        (
            "an empty signature",
            format!("{header}.{claims}."),
            Err(Denied::BadSignature),
        ),
        (
            "a padded header",
            format!("{padded_header}.{claims}.{signature}"),
            MALFORMED,
        ),
        ("a padded signature", format!("{good}="), MALFORMED),
        ("a blank before", format!(" {good}"), MALFORMED),
        ("a line feed after", format!("{good}\n"), MALFORMED),
        (
            "the other alphabet",
            format!("{header}.{claims}.+/+/"),
            MALFORMED,
        ),
        (
            "another alphabet altogether",
            format!("{header}.{claims}.ÄÖ"),
            MALFORMED,
        ),
        ("a cut signature", good[..good.len() - 2].into(), MALFORMED),
        (
            "half a signature",
            good[..good.len() - 23].into(),
            Err(Denied::BadSignature),
        ),
        ("a scheme before", format!("Bearer {good}"), MALFORMED),
        (
            "too long",
            with(json!({"x": "y".repeat(16 * 1024)})),
            MALFORMED,
        ),
        ("long", with(json!({"x": "y".repeat(11 * 1024)})), FINE),
    ]);
}

#[test]
fn a_header_that_is_not_understood_is_refused() {
    let claims = good_claims().to_string();
    let by = |header: &str| hs256_with_header(header, &claims);
    check_all(&[
        ("the shortest", by(r#"{"alg":"HS256"}"#), FINE),
        (
            "unknown members",
            by(r#"{"alg":"HS256","typ":"at+jwt","x":[1]}"#),
            FINE,
        ),
        (
            "a kid, with a single key",
            by(r#"{"alg":"HS256","kid":"any"}"#),
            FINE,
        ),
        (
            "a kid that is no string",
            by(r#"{"alg":"HS256","kid":1}"#),
            MALFORMED,
        ),
        ("crit", by(r#"{"alg":"HS256","crit":["exp"]}"#), MALFORMED),
        (
            "an empty crit",
            by(r#"{"alg":"HS256","crit":[]}"#),
            MALFORMED,
        ),
        (
            "crit that is null",
            by(r#"{"alg":"HS256","crit":null}"#),
            MALFORMED,
        ),
        ("no alg", by(r#"{"typ":"JWT"}"#), MALFORMED),
        ("alg in small letters", by(r#"{"alg":"hs256"}"#), MALFORMED),
        ("alg as a list", by(r#"{"alg":["HS256"]}"#), MALFORMED),
        (
            "alg twice",
            by(r#"{"alg":"HS256","alg":"HS256"}"#),
            MALFORMED,
        ),
        (
            "alg twice, once escaped",
            by(r#"{"alg":"none","\u0061lg":"HS256"}"#),
            MALFORMED,
        ),
        (
            "an unknown member twice",
            by(r#"{"alg":"HS256","x":1,"x":1}"#),
            MALFORMED,
        ),
        ("none", by(r#"{"alg":"none"}"#), MALFORMED),
        ("PS256", by(r#"{"alg":"PS256"}"#), MALFORMED),
        (
            "an algorithm without a key",
            by(r#"{"alg":"RS256"}"#),
            Err(Denied::UnknownKey),
        ),
        ("a list", by(r#"["HS256"]"#), MALFORMED),
        ("null", by("null"), MALFORMED),
        ("no JSON", by("HS256"), MALFORMED),
        (
            "something after the object",
            by(r#"{"alg":"HS256"}x"#),
            MALFORMED,
        ),
        (
            "too deep",
            by(&format!(r#"{{"alg":"HS256","x":{}"#, "[".repeat(500))),
            MALFORMED,
        ),
    ]);
    let not_utf8 = hs256_with_header(b"{\"alg\":\"HS256\",\"x\":\"\xff\"}", &claims);
    assert_eq!(verdict(&not_utf8), Err(Denied::Malformed));
}

#[test]
fn claims_that_are_no_object_with_unique_members_are_refused() {
    let exp = NOW_SECS + 60;
    check_all(&[
        ("nothing", hs256(""), MALFORMED),
        ("a string", hs256(r#""ann""#), MALFORMED),
        ("a list", hs256("[]"), MALFORMED),
        ("an empty object", hs256("{}"), BAD_CLAIM),
        ("cut", hs256(r#"{"sub":"ann""#), MALFORMED),
        (
            "something after",
            hs256(format!("{}{{}}", good_claims())),
            MALFORMED,
        ),
        (
            "sub twice",
            with_raw(&format!(r#""exp":{exp},"sub":"bob""#)),
            MALFORMED,
        ),
        (
            "exp twice",
            with_raw(&format!(r#""exp":1,"exp":{exp}"#)),
            MALFORMED,
        ),
        (
            "an unknown claim twice",
            with_raw(&format!(r#""exp":{exp},"x":1,"x":2"#)),
            MALFORMED,
        ),
        (
            "blanks about",
            hs256(format!(" {} \n", good_claims())),
            FINE,
        ),
        ("too deep", hs256("[".repeat(10_000)), MALFORMED),
    ]);
    assert_eq!(
        verdict(&hs256(b"{\"sub\":\"\xff\"}")),
        Err(Denied::Malformed)
    );
}

#[test]
fn the_subject_is_a_user_id() {
    check_all(&[
        ("none", with(json!({"sub": null})), BAD_CLAIM),
        ("empty", with(json!({"sub": ""})), BAD_CLAIM),
        ("a number", with(json!({"sub": 7})), BAD_CLAIM),
        ("a list", with(json!({"sub": ["ann"]})), BAD_CLAIM),
        ("128 bytes", with(json!({"sub": "a".repeat(128)})), FINE),
        (
            "129 bytes",
            with(json!({"sub": "a".repeat(129)})),
            BAD_CLAIM,
        ),
        (
            "129 bytes in 43 characters",
            with(json!({"sub": "€".repeat(43)})),
            BAD_CLAIM,
        ),
        ("a line feed", with(json!({"sub": "a\nb"})), BAD_CLAIM),
        ("a zero byte", with(json!({"sub": "a\0"})), BAD_CLAIM),
        (
            "a control character above ASCII",
            with(json!({"sub": "a\u{85}"})),
            BAD_CLAIM,
        ),
        ("an address", with(json!({"sub": "ann@example.org"})), FINE),
    ]);
    let null = with_raw(&format!(r#""exp":{},"name":null"#, NOW_SECS + 60));
    assert!(verdict(&null).is_ok(), "a null name is no name");
}

#[test]
fn times_are_numbers_and_hold_within_thirty_seconds() {
    check_all(&[
        ("no exp", with(json!({"exp": null})), BAD_CLAIM),
        ("exp null", with_raw(r#""exp":null"#), BAD_CLAIM),
        (
            "exp as text",
            with(json!({"exp": (NOW_SECS + 60).to_string()})),
            BAD_CLAIM,
        ),
        (
            "exp as a list",
            with(json!({"exp": [NOW_SECS + 60]})),
            BAD_CLAIM,
        ),
        ("exp negative", with(json!({"exp": -1})), BAD_CLAIM),
        (
            "exp a little negative",
            with(json!({"exp": -0.5})),
            BAD_CLAIM,
        ),
        ("exp far negative", with_raw(r#""exp":-1e300"#), BAD_CLAIM),
        ("exp 0", with(json!({"exp": 0})), EXPIRED),
        (
            "exp 2^53 - 1",
            with(json!({"exp": 9_007_199_254_740_991_u64})),
            FINE,
        ),
        (
            "exp 2^53",
            with(json!({"exp": 9_007_199_254_740_992_u64})),
            BAD_CLAIM,
        ),
        (
            "exp 2^63",
            with(json!({"exp": 9_223_372_036_854_775_808_u64})),
            BAD_CLAIM,
        ),
        (
            "exp 2^64",
            with_raw(r#""exp":18446744073709551616"#),
            BAD_CLAIM,
        ),
        ("exp 1e15", with_raw(r#""exp":1e15"#), FINE),
        ("exp 1e16", with_raw(r#""exp":1e16"#), BAD_CLAIM),
        ("exp 1e400", with_raw(r#""exp":1e400"#), MALFORMED),
        ("exp not a number", with_raw(r#""exp":NaN"#), MALFORMED),
        ("exp 30 s ago", with(json!({"exp": NOW_SECS - 30})), EXPIRED),
        ("exp 29 s ago", with(json!({"exp": NOW_SECS - 29})), FINE),
        (
            "exp 29.1 s ago",
            with(json!({"exp": NOW_SECS as f64 - 29.1})),
            EXPIRED,
        ),
        ("nbf as text", with(json!({"nbf": "0"})), BAD_CLAIM),
        ("nbf negative", with(json!({"nbf": -1})), BAD_CLAIM),
        (
            "nbf 2^53",
            with(json!({"nbf": 9_007_199_254_740_992_u64})),
            BAD_CLAIM,
        ),
        (
            "nbf null",
            with_raw(&format!(r#""exp":{},"nbf":null"#, NOW_SECS + 9)),
            BAD_CLAIM,
        ),
        ("nbf in 30 s", with(json!({"nbf": NOW_SECS + 30})), FINE),
        (
            "nbf in 30.9 s",
            with(json!({"nbf": NOW_SECS as f64 + 30.9})),
            FINE,
        ),
        ("nbf in 31 s", with(json!({"nbf": NOW_SECS + 31})), NOT_YET),
        (
            "nbf 2^53 - 1",
            with(json!({"nbf": 9_007_199_254_740_991_u64})),
            NOT_YET,
        ),
        ("iat in 30 s", with(json!({"iat": NOW_SECS + 30})), FINE),
        ("iat in 31 s", with(json!({"iat": NOW_SECS + 31})), NOT_YET),
        ("iat as text", with(json!({"iat": "now"})), BAD_CLAIM),
        ("iat true", with(json!({"iat": true})), BAD_CLAIM),
        (
            "expired, with a bad nbf",
            with(json!({"exp": 1, "nbf": "x"})),
            BAD_CLAIM,
        ),
    ]);
}

#[test]
fn a_token_ends_thirty_seconds_after_its_expiry_to_the_microsecond() {
    let token = with(json!({"exp": NOW_SECS}));
    let end = at(NOW_SECS + 30);
    let before = parlance_protocol::UnixMicros(end.0 - 1);
    assert_eq!(hmac_ring().verify(&token, before).map(drop), FINE);
    assert_eq!(hmac_ring().verify(&token, end).map(drop), EXPIRED);
}

#[test]
fn the_expiry_is_that_of_the_token_without_its_fraction() {
    let identity = verdict(&with(json!({"exp": NOW_SECS as f64 + 60.75}))).unwrap();
    assert_eq!(identity.expires_at, at(NOW_SECS + 60));
}

#[test]
fn an_expiry_in_the_far_future_leaves_room_to_calculate() {
    let token = with(json!({"exp": 9_007_199_254_740_991_u64}));
    let identity = verdict(&token).unwrap();
    assert_eq!(identity.expires_at.to_string(), "9999-12-31T23:59:59.000Z");
}

#[test]
fn signatures_are_checked() {
    let claims = good_claims().to_string();
    let header = r#"{"alg":"HS256"}"#;
    let foreign = signed(
        header,
        &claims,
        jsonwebtoken::Algorithm::HS256,
        &hmac_key(OTHER_SECRET),
    );
    let good = hs256_with_header(header, &claims);
    let (signed_part, signature) = good.rsplit_once('.').unwrap();
    let other_claims = encoded(claims_with(json!({"sub": "bob"})).to_string());
    let swapped = format!("{}.{other_claims}.{signature}", encoded(header));
    let other_hash = signed(
        header,
        &claims,
        jsonwebtoken::Algorithm::HS512,
        &hmac_key(SECRET),
    );
    let bad = Err(Denied::BadSignature);
    check_all(&[
        ("by another secret", foreign, bad),
        ("of other claims", swapped, bad),
        ("by another hash than the header says", other_hash, bad),
        (
            "of zeros",
            format!("{signed_part}.{}", encoded([0; 32])),
            bad,
        ),
        (
            "one byte short",
            format!("{signed_part}.{}", encoded([0; 31])),
            bad,
        ),
    ]);
}

#[test]
fn the_shown_name_is_the_first_that_is_there() {
    let name = |changes: Value| verdict(&with(changes)).unwrap().username;
    assert_eq!(&*name(json!({})), "ann");
    assert_eq!(&*name(json!({"name": "Ann"})), "Ann");
    let preferred = json!({"name": "Ann", "preferred_username": "a"});
    assert_eq!(&*name(preferred), "a");
    let all = json!({"name": "Ann", "preferred_username": "a", "username": "ann7"});
    assert_eq!(&*name(all), "ann7");
    let wrong = json!({"username": "", "preferred_username": 7, "name": "Ann"});
    assert_eq!(&*name(wrong), "Ann");
    let long = json!({"username": "é".repeat(100)});
    assert_eq!(*name(long), *"é".repeat(64));
}

#[test]
fn only_a_list_or_a_star_opens_conversations() {
    let opened = |claim: Value| {
        verdict(&with(json!({"conversations": claim})))
            .unwrap()
            .conversations
    };
    let only = |ids: &[&str]| {
        Conversations::Only(
            ids.iter()
                .map(|id| ConversationId::new(id).unwrap())
                .collect(),
        )
    };
    assert_eq!(opened(json!("*")), Conversations::All);
    assert_eq!(opened(json!(["a", "b"])), only(&["a", "b"]));
    assert_eq!(
        opened(json!(["a", 7, null, "b/c", "", "b"])),
        only(&["a", "b"])
    );
    assert_eq!(opened(json!(["*"])), only(&[]), "a star in a list is no id");
    assert_eq!(opened(json!([])), only(&[]));
    assert_eq!(opened(json!("a")), only(&[]));
    assert_eq!(opened(json!(7)), only(&[]));
    assert_eq!(opened(json!({"a": true})), only(&[]));
    assert_eq!(opened(Value::Null), only(&[]), "the claim was left out");
}

#[test]
fn only_the_role_moderator_is_a_moderator() {
    let moderates = |role: Value| verdict(&with(json!({"role": role}))).unwrap().moderator;
    assert!(moderates(json!("moderator")));
    assert!(!moderates(json!("Moderator")));
    assert!(!moderates(json!(["moderator"])));
    assert!(!moderates(json!(true)));
    assert!(!moderates(Value::Null));
}

#[test]
fn issuer_and_audience_are_judged_when_configured() {
    let ring = Keyring::new(AuthConfig {
        issuer: Some("https://id.example".into()),
        audience: Some("chat".into()),
        ..hmac_config()
    })
    .unwrap();
    let rows = [
        (json!({"iss": "https://id.example", "aud": "chat"}), FINE),
        (
            json!({"iss": "https://id.example", "aud": ["shop", "chat"]}),
            FINE,
        ),
        (
            json!({"iss": "https://id.example", "aud": ["shop"]}),
            BAD_CLAIM,
        ),
        (json!({"iss": "https://id.example", "aud": []}), BAD_CLAIM),
        (
            json!({"iss": "https://id.example", "aud": "chats"}),
            BAD_CLAIM,
        ),
        (
            json!({"iss": "https://id.example", "aud": {"chat": 1}}),
            BAD_CLAIM,
        ),
        (json!({"iss": "https://id.example"}), BAD_CLAIM),
        (
            json!({"iss": "https://id.example/", "aud": "chat"}),
            BAD_CLAIM,
        ),
        (
            json!({"iss": ["https://id.example"], "aud": "chat"}),
            BAD_CLAIM,
        ),
        (json!({"aud": "chat"}), BAD_CLAIM),
    ];
    for (changes, expected) in rows {
        let found = ring.verify(&with(changes.clone()), now()).map(drop);
        assert_eq!(found, expected, "{changes}");
    }
}

#[test]
fn issuer_and_audience_are_not_asked_when_not_configured() {
    let token = with(json!({"iss": 7, "aud": "somebody else"}));
    assert_eq!(verdict(&token).map(drop), FINE);
}

#[test]
fn a_minted_token_is_accepted() {
    let secret = crate::forge::secret(SECRET);
    let token = parlance_auth::mint(&secret, &good_claims()).unwrap();
    let identity = verdict(&token).unwrap();
    assert_eq!(identity.user.as_str(), "ann");
    assert!(identity.may_join(&ConversationId::new("two").unwrap()));
    assert!(!identity.may_join(&ConversationId::new("three").unwrap()));
}
