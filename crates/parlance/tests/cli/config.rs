//! `parlance config`, and what each layer and each fault of a configuration does.

use crate::support::{Place, SECRET};

/// A file with one fault, and what has to be said of it.
const FAULTS: &[(&str, &str)] = &[
    (
        "listem = \"127.0.0.1:1\"",
        "parlance.toml:1: unknown setting `listem`; did you mean `listen`?",
    ),
    (
        "\n[limits]\nconections = 1",
        "parlance.toml:3: unknown setting `limits.conections`; did you mean `limits.connections`?",
    ),
    (
        "listen = \"localhost\"",
        "parlance.toml:1: `listen` is \"localhost\"; expected an IP address and port",
    ),
    (
        "listen = 8080",
        "parlance.toml:1: `listen` is an integer; expected an IP address and port",
    ),
    (
        "shards = \"4\"",
        "parlance.toml:1: `shards` is \"4\"; expected a whole number from 1 to 1024, without quotes",
    ),
    (
        "shards = 0",
        "parlance.toml:1: `shards` is 0; expected a whole number from 1 to 1024",
    ),
    (
        "[limits]\nconnections = -1",
        "parlance.toml:2: `limits.connections` is -1; expected a whole number from 0",
    ),
    (
        "[drain]\nwindow = 30",
        "parlance.toml:2: `drain.window` is 30; expected a duration with its unit",
    ),
    (
        "[drain]\nwindow = \"30 seconds\"",
        "parlance.toml:2: `drain.window` is \"30 seconds\"; expected a duration with its unit",
    ),
    (
        "origins = \"https://a.example\"",
        "parlance.toml:1: `origins` is a string; expected an array",
    ),
    (
        "origins = [\"https://a.example/\"]",
        "parlance.toml:1: `origins` is \"https://a.example/\"; expected an origin as browsers send it",
    ),
    (
        "[access]\nmode = \"members\"",
        "parlance.toml:2: `access.mode` is \"members\"; expected \"claims\"",
    ),
    (
        "[log]\nkind = \"paper\"",
        "parlance.toml:2: `log.kind` is \"paper\"; expected \"embedded\" or \"redis\"",
    ),
    (
        "[log]\nkind = \"redis\"",
        "there is no Redis to keep the log in; set `redis.urls`",
    ),
    (
        "[log]\nkind = \"embedded\"\n[redis]\nurls = [\"redis://a\"]",
        "parlance.toml:4: `redis.urls` is set, but this node would keep its log in its data directory",
    ),
    (
        "[log]\nretention_entries = 0",
        "parlance.toml:2: `log.retention_entries` is 0; expected a whole number from 1",
    ),
    (
        "[log]\nretention_age = \"0d\"",
        "parlance.toml:2: `log.retention_age` is 0s; expected at least 1ms",
    ),
    (
        "[redis]\n\nurls = [\n  \"redis://a\",\n  \"redis://b:none\",\n]",
        "parlance.toml:3: `redis.urls` is not usable: the URL redis://b:… has a port that is no number",
    ),
    (
        "[store]\nnodes = [\"a:none\"]",
        "parlance.toml:2: `store.nodes` is \"a:none\"; expected a host and port",
    ),
    (
        "[store]\nkeyspace = \"my chat\"",
        "parlance.toml:2: `store.keyspace` is \"my chat\"; expected 1 to 48 letters",
    ),
    (
        "[store]\nusername = \"chat\"",
        "`store.username` is set; set `store.password` as well",
    ),
    (
        "[store]\npassword = \"xyzzy\"",
        "parlance.toml:2: `store.password` is set; set `store.username` as well",
    ),
    (
        "[store]\nca_file = \"ca.pem\"",
        "parlance.toml:2: `store.ca_file` is set, but nothing is encrypted",
    ),
    (
        "[store]\nstart_deadline = \"0s\"",
        "parlance.toml:2: `store.start_deadline` is 0s; expected at least 1ms",
    ),
    (
        "[log]\nkind = \"embedded\"\n[store]\nnodes = [\"a\"]",
        "parlance.toml:4: `store.nodes` is set, but `parlance serve` keeps everything",
    ),
    (
        "[redis]\nurls = \"redis://a\"",
        "parlance.toml:2: `redis.urls` is a string; expected an array of URLs like redis://",
    ),
    (
        "[redis]\nurls = []",
        "parlance.toml:2: `redis.urls` is not usable: no URL of Redis is given",
    ),
    (
        "[redis]\nurls = [\"redis://a\", \"redis://a:6379\"]",
        "parlance.toml:2: `redis.urls` is not usable: two URLs lead to a:6379",
    ),
    (
        "[redis]\nurls_file = \"missing\"",
        "parlance.toml:2: the file of `redis.urls` cannot be read: missing: No such file",
    ),
    (
        "[redis]\ndurability = \"safe\"",
        "parlance.toml:2: `redis.durability` is \"safe\"; expected \"local\" or \"replicated\"",
    ),
    (
        "[redis]\nstart_deadline = \"0s\"",
        "parlance.toml:2: `redis.start_deadline` is 0s; expected at least 1ms",
    ),
    (
        "[log]\nsync = \"no\"",
        "parlance.toml:2: `log.sync` is \"no\"; expected true or false, without quotes",
    ),
    (
        "[auth]\nalgorithms = [\"none\"]",
        "parlance.toml:2: `auth.algorithms` is \"none\"; expected one of HS256",
    ),
    (
        "[auth]\nhmac_secret_previous = \"shorter\"",
        "parlance.toml:2: `auth.hmac_secret_previous` is no usable secret: the HMAC secret has 7 bytes",
    ),
    (
        "[auth]\nhmac_secret_file = \"missing\"",
        "parlance.toml:2: the file of `auth.hmac_secret` cannot be read: missing: No such file",
    ),
    (
        "listen = \"127.0.0.1:9090\"",
        "`admin.listen` and `listen` are both 127.0.0.1:9090; give them different ports",
    ),
    (
        "[limits]\ncontent_bytes = 65536",
        "parlance.toml:2: `limits.content_bytes` is 65536, but a content travels in a frame and `limits.frame_bytes` is 65536",
    ),
    (
        "[limits]\nuser_actions_per_second = 5",
        "parlance.toml:2: `limits.user_actions_per_second` is 5, so no connection can reach",
    ),
    (
        "[limits]\nactions_burst = 0",
        "parlance.toml:2: `limits.actions_burst` is 0, so no action could be done at all",
    ),
    (
        "[limits]\nconnections = 4000000000",
        "parlance.toml:2: `limits.connections` is 4000000000, which needs 4000000256 file descriptors",
    ),
    (
        "[drain]\ntermination_grace = \"30s\"",
        "parlance.toml:2: `drain.termination_grace` is 30s, but `drain.window` (30s) and `drain.grace` (5s) take longer",
    ),
    (
        "listen = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"",
        "parlance.toml:2: is no TOML: duplicate key",
    ),
];

#[test]
fn every_fault_is_told_with_its_line_its_value_and_what_would_be_right() {
    for (file, said) in FAULTS {
        let place = Place::with_secret().file("parlance.toml", file);

        let ended = place.run(&["--config", "parlance.toml", "config", "check"]);

        assert_eq!(ended.code, Some(64), "{file}: {ended:?}");
        assert!(ended.stderr.contains(said), "{file}: {}", ended.stderr);
        assert!(
            ended.stderr.contains("is not valid: "),
            "more than one fault: {}",
            ended.stderr
        );
    }
}

#[test]
fn all_faults_of_all_layers_are_told_at_once() {
    let place = Place::new()
        .file("parlance.toml", "shards = 0\n[drain]\nwindow = 1\n")
        .variable("PARLANCE_LOG__KIND", "paper")
        .variable("PARLANCE_LISTEM", "127.0.0.1:1");

    let ended = place.run(&["config", "check", "--config", "parlance.toml"]);

    let told: Vec<_> = ended
        .stderr
        .lines()
        .skip(1)
        .map(|line| line.split(": ").next())
        .collect();
    let wanted = [
        "  parlance.toml:1",
        "  parlance.toml:3",
        "  PARLANCE_LISTEM",
        "  PARLANCE_LOG__KIND",
    ];
    assert_eq!(told[..4], wanted.map(Some), "{}", ended.stderr);
    assert!(
        told[4]
            .unwrap()
            .starts_with("  there is no key to verify tokens with")
    );
    assert_eq!(ended.code, Some(64));
}

#[test]
fn a_node_without_any_key_does_not_start() {
    for arguments in [["config", "check"].as_slice(), &["serve"]] {
        let ended = Place::new().run(arguments);
        assert_eq!(ended.code, Some(64));
        assert!(
            ended
                .stderr
                .contains("there is no key to verify tokens with"),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn a_higher_layer_counts_more_and_its_origin_is_shown() {
    let place = Place::new()
        .file(
            "parlance.toml",
            "shards = 3\norigins = [\"https://a.example\"]\n[drain]\ngrace = \"1s\"\n",
        )
        .variable("PARLANCE_ORIGINS", "https://b.example, https://c.example")
        .variable("PARLANCE_DRAIN__GRACE", "2s");

    let shown = place
        .run(&["--config", "parlance.toml", "config", "print", "--origins"])
        .stdout;

    for line in [
        "shards = 3  # parlance.toml:1",
        "origins = [\"https://b.example\", \"https://c.example\"]  # PARLANCE_ORIGINS",
        "drain.grace = \"2s\"  # PARLANCE_DRAIN__GRACE",
        "drain.window = \"30s\"  # default",
    ] {
        assert!(
            shown.lines().any(|shown| shown == line),
            "no {line} in:\n{shown}"
        );
    }
}

#[test]
fn a_flag_counts_more_than_a_variable() {
    let place = Place::with_secret().variable("PARLANCE_LISTEN", "127.0.0.1:1");
    let ended = place.run(&["serve", "--listen", "nowhere"]);
    let said = "--listen: `listen` is \"nowhere\"; expected an IP address and port";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    assert_eq!(ended.code, Some(64));
}

#[test]
fn the_file_can_be_named_before_or_after_the_command_or_by_a_variable() {
    let place = Place::new().file("parlance.toml", "shards = 3\n");
    let by_variable = Place::new().file("parlance.toml", "shards = 3\n");
    let by_variable = by_variable.variable("PARLANCE_CONFIG", "parlance.toml");
    for shown in [
        place.run(&["--config", "parlance.toml", "config", "print"]),
        place.run(&["config", "--config", "parlance.toml", "print"]),
        place.run(&["config", "print", "--config", "parlance.toml"]),
        by_variable.run(&["config", "print"]),
    ] {
        assert!(shown.stdout.contains("shards = 3\n"), "{shown:?}");
    }
}

#[test]
fn a_file_that_is_not_there_is_an_error() {
    let ended = Place::with_secret().run(&["--config", "missing.toml", "config", "check"]);
    assert_eq!(ended.code, Some(64));
    assert!(ended.stderr.contains("missing.toml"), "{}", ended.stderr);
}

#[test]
fn no_secret_is_ever_printed() {
    let broken = format!("[auth]\nhmac_secret = {SECRET}\n");
    let places = [
        Place::with_secret(),
        Place::new().file(
            "parlance.toml",
            &format!("[auth]\nhmac_secret = \"{SECRET}\"\n"),
        ),
        Place::new().file("parlance.toml", &broken),
        Place::new().file("parlance.toml", &format!("auth = \"{SECRET}\"\n")),
        Place::new().file(
            "parlance.toml",
            &format!("[auth]\nhmac_secret = [\"{SECRET}\"]\n"),
        ),
        Place::new().variable("PARLANCE_AUTH__HMAC_SECRT", SECRET),
        Place::new().variable("PARLANCE_AUTH__HMAC_SECRET", &SECRET[..20]),
        Place::with_secret().variable("PARLANCE_AUTH__HMAC_SECRET_PREVIOUS", SECRET),
    ];
    for place in places {
        for command in [["print", "--origins"].as_slice(), &["check"]] {
            let file = if place.path("parlance.toml").exists() {
                "parlance.toml"
            } else {
                "/dev/null"
            };
            let ended = place.run(&[["--config", file, "config"].as_slice(), command].concat());
            let said = ended.stdout + &ended.stderr;
            assert!(!said.contains(&SECRET[..12]), "{said}");
        }
    }
}

#[test]
fn a_secret_is_read_from_a_file_and_one_newline_at_its_end_is_cut() {
    let place = Place::new()
        .file("secret", &format!("{SECRET}\n"))
        .variable("PARLANCE_AUTH__HMAC_SECRET_FILE", "secret");
    let by_file = place.run(&["token", "--sub", "alice", "--ttl", "365d"]);
    assert_eq!(by_file.code, Some(0), "{by_file:?}");

    let same = place.variable("PARLANCE_AUTH__HMAC_SECRET_PREVIOUS", SECRET);
    let ended = same.run(&["config", "check"]);

    assert!(
        ended.stderr.contains("is the same as `auth.hmac_secret`"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_secret_and_its_file_in_one_layer_are_an_error_and_in_two_the_higher_counts() {
    let both = Place::with_secret()
        .file("secret", SECRET)
        .variable("PARLANCE_AUTH__HMAC_SECRET_FILE", "secret");
    let ended = both.run(&["config", "check"]);
    assert_eq!(ended.code, Some(64));
    assert!(
        ended
            .stderr
            .contains("`auth.hmac_secret` is given here and at PARLANCE_AUTH__HMAC_SECRET")
    );

    let layered = Place::with_secret()
        .file("parlance.toml", "[auth]\nhmac_secret_file = \"secret\"\n")
        .file("secret", "another secret, as long as the first: 0123456789");
    let ended = layered.run(&["--config", "parlance.toml", "config", "print", "--origins"]);
    let line = "auth.hmac_secret = \"<redacted>\"  # PARLANCE_AUTH__HMAC_SECRET";
    assert!(ended.stdout.contains(line), "{}", ended.stdout);
}

#[test]
fn urls_of_redis_come_from_a_file_of_their_own_and_are_never_shown() {
    let place = Place::with_secret()
        .file("urls", "redis://chat:xyzzy@a\nredis://chat:xyzzy@b\n")
        .file("wrong", "redis://chat:xyzzy@a\nredis://chat:xyzzy@b/3\n")
        .file("parlance.toml", "[redis]\nurls_file = \"urls\"\n");
    let shown = place.run(&["--config", "parlance.toml", "config", "print", "--origins"]);
    let line = "redis.urls = [\"<redacted>\", \"<redacted>\"]  # parlance.toml:2";
    assert!(shown.stdout.contains(line), "{}", shown.stdout);

    let place = place.variable("PARLANCE_REDIS__URLS_FILE", "wrong");
    let ended = place.run(&["config", "check"]);

    let said =
        "PARLANCE_REDIS__URLS_FILE: `redis.urls` is not usable: the URL redis://…@b/3 chooses";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    let all = shown.stdout + &shown.stderr + &ended.stdout + &ended.stderr;
    assert!(!all.contains("xyzzy"), "{all}");
}

#[test]
fn serve_refuses_a_log_that_others_would_not_share() {
    for (name, value, said) in [
        (
            "PARLANCE_REDIS__URLS",
            "redis://127.0.0.1:1",
            "PARLANCE_REDIS__URLS: `redis.urls` is set, but this node would keep its log",
        ),
        (
            "PARLANCE_LOG__KIND",
            "redis",
            "PARLANCE_LOG__KIND: `log.kind` is \"redis\", but `parlance serve` keeps its log in its data directory",
        ),
    ] {
        let place = Place::with_secret().variable(name, value);
        for arguments in [&["serve"][..], &["serve", "--dev"]] {
            let ended = place.run(arguments);
            assert_eq!(ended.code, Some(64), "{ended:?}");
            assert!(ended.stderr.contains(said), "{}", ended.stderr);
        }
    }
}

#[test]
fn variables_that_kubernetes_sets_for_a_service_are_no_faults() {
    let place = Place::with_secret()
        .variable("PARLANCE_SERVICE_HOST", "10.0.0.1")
        .variable("PARLANCE_PORT_8080_TCP_ADDR", "10.0.0.1");
    let ended = place.run(&["config", "check"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn the_template_is_a_valid_configuration_that_changes_nothing() {
    let place = Place::with_secret();
    let template = place.run(&["config", "template"]).stdout;
    let defaults = place.run(&["config", "print"]).stdout;
    let place = place.file("parlance.toml", &template);

    assert_eq!(
        place
            .run(&["--config", "parlance.toml", "config", "check"])
            .code,
        Some(0)
    );
    let shown = place
        .run(&["--config", "parlance.toml", "config", "print"])
        .stdout;

    assert_eq!(shown, defaults);
}

#[test]
fn what_is_printed_can_be_read_again() {
    let place = Place::new().variable("PARLANCE_SHARDS", "3");
    let printed = place.run(&["config", "print"]).stdout;
    let place = Place::new().file("parlance.toml", &printed);
    let again = place.run(&["--config", "parlance.toml", "config", "print"]);
    assert_eq!(again.stdout, printed, "{again:?}");
}

#[test]
fn the_schema_is_json() {
    let printed = Place::new().run(&["config", "schema"]).stdout;
    let schema: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(schema["properties"]["listen"]["type"], "string");
}

#[test]
fn every_setting_stands_in_the_documentation_with_its_default() {
    let page = include_str!("../../../../docs/configuration.md");
    let template = Place::new().run(&["config", "template"]).stdout;
    let mut section = String::new();
    for line in template.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.replace(']', ".");
        }
        let setting = line.strip_prefix('#').filter(|line| !line.starts_with(' '));
        if let Some((name, value)) = setting.and_then(|setting| setting.split_once(" = ")) {
            let row = format!("| `{section}{name}` | `{value}` |");
            let unset = format!("| `{section}{name}` | – |");
            assert!(
                page.contains(&row) || page.contains(&unset),
                "no {row} in the page"
            );
        }
    }
}
