use super::*;

fn read_with(text: &str, variables: &[(&str, &str)], need: Need) -> (Config, Vec<String>) {
    let environment =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let (config, diagnostics) = Config::read(text, Path::new("/project"), &environment, need);
    (config, diagnostics.iter().map(ToString::to_string).collect())
}

fn read(text: &str) -> (Config, Vec<String>) {
    read_with(text, &[], Need::Everything)
}

#[test]
fn empty_file_means_defaults() {
    let (config, diagnostics) = read("");
    assert_eq!(diagnostics, Vec::<String>::new());
    assert!(config.kafka.is_none());
    assert_eq!(config.alerts_topic, "weir.alerts");
    assert_eq!(config.archive.url.as_str(), "file:///project/archive/");
    assert_eq!(config.state.journal, Path::new("/project/weir.db"));
    assert_eq!(config.playbooks.mode, Mode::DryRun);
    assert_eq!(config.engine.epoch, Duration::from_secs(1));
}

#[test]
fn fast_alerts_have_a_topic_of_their_own() {
    let topic = |text: &str| {
        let (config, diagnostics) = read(text);
        assert_eq!(diagnostics, Vec::<String>::new());
        config.fast_topic
    };
    assert_eq!(topic("").as_deref(), Some("weir.alerts.fast"));
    assert_eq!(topic("[alerts]\ntopic = \"soc\"\n").as_deref(), Some("soc.fast"));
    assert_eq!(topic("[alerts]\nfast_topic = \"early\"\n").as_deref(), Some("early"));
    assert_eq!(topic(&format!("[alerts]\ntopic = \"{}\"\n", "a".repeat(245))), None);
    let shared = "C003 fast alerts cannot share a topic with alerts or dead letters; name another topic";
    let (_, told) = read("[alerts]\ntopic = \"soc\"\nfast_topic = \"soc\"\n");
    assert_eq!(told, [format!("weir.toml:3:14: {shared}")]);
    let (_, told) = read("[dead_letters]\ntopic = \"weir.alerts.fast\"\n");
    assert_eq!(told, [format!("weir.toml:2:9: {shared}")]);
}

#[test]
fn every_mistake_of_a_file_is_reported_with_its_place() {
    let (_, diagnostics) = read(
        "[kafka]\nbootstrap_server = \"a:1\"\ngrupo = \"x\"\nstart = \"yesterday\"\n[engine]\nepoch_ms = \"1s\"\n\
         parallelism = 0\n[archiv]\nurl = \"x\"\n[playbooks]\nmode = \"alive\"\n",
    );
    assert_eq!(
        diagnostics,
        [
            "weir.toml:2:1: C002 unknown key `bootstrap_server`; did you mean `bootstrap_servers`?",
            "weir.toml:3:1: C002 unknown key `grupo`; did you mean `group`?",
            "weir.toml:4:9: C003 `yesterday` is not a place to begin; `earliest`, `latest`, or a time such as \
             `2026-01-31T00:00:00Z`",
            "weir.toml:6:12: C003 `epoch_ms` takes a whole number that is not negative, not \"1s\"",
            "weir.toml:7:15: C003 0 is out of range; from 1 to 256",
            "weir.toml:8:2: C002 unknown key `archiv`; did you mean `archive`?",
            "weir.toml:11:8: C003 `alive` is not one of the values of this key; it takes `dry-run`, `live`",
        ]
    );
}

#[test]
fn every_syntax_error_is_reported() {
    let (_, diagnostics) = read("[kafka]\ngroup = \nx = 1 2\n");
    assert!(diagnostics.len() >= 2, "{diagnostics:?}");
    assert!(diagnostics.iter().all(|text| text.contains(" C001 ")), "{diagnostics:?}");
}

#[test]
fn dollars_can_be_escaped() {
    let (_, diagnostics) = read("[alerts]\ntopic = \"$${x}\"\n");
    assert!(diagnostics[0].contains("`${x}` is not a topic name"), "{diagnostics:?}");
}

#[test]
fn environment_is_read_in_any_text() {
    let text = "[kafka]\nbootstrap_servers = \"${HOST}:${PORT}\"\n[alerts]\ntopic = \"a.${PORT}\"\n";
    let (config, diagnostics) = read_with(text, &[("HOST", "broker"), ("PORT", "9092")], Need::Everything);
    assert_eq!(diagnostics, Vec::<String>::new());
    let settings = config.kafka.and_then(|kafka| kafka.settings).expect("the section is right");
    assert_eq!(settings.bootstrap_servers(), "broker:9092");
    assert_eq!(config.alerts_topic, "a.9092");
}

#[test]
fn missing_variable_is_an_error_only_where_it_is_needed() {
    let text = "[responders.edr]\ntoken = \"${EDR_TOKEN}\"\n";
    let (_, needed) = read_with(text, &[], Need::Everything);
    let message = "the environment has no variable `EDR_TOKEN`";
    assert_eq!(needed, [format!("weir.toml:2:9: C004 {message}; set it before `weir run`: export EDR_TOKEN=...")]);
    let environment = |_: &str| None;
    let (_, checked) = Config::read(text, Path::new("/project"), &environment, Need::Texts);
    assert_eq!(checked[0].level, weir_engine::Level::Warning);
}

#[test]
fn secrets_come_from_files_and_are_never_shown() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("token"), "s3cret\n").expect("a file");
    let text = "[responders.edr]\ntoken = \"file:token\"\nother = \"file:none\"\n";
    let (config, diagnostics) = Config::read(text, dir.path(), &|_| None, Need::Everything);
    assert_eq!(diagnostics.len(), 1, "{diagnostics:?}");
    assert!(diagnostics[0].to_string().contains("C005 cannot read the secret file"), "{diagnostics:?}");
    assert_eq!(config.responder_setting("edr", "token").as_deref(), Some("s3cret"));
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn kafka_settings_are_checked_at_their_place() {
    let (config, diagnostics) = read(
        "[kafka]\nbootstrap_servers = \"127.0.0.1:9092\"\n[kafka.client]\n\"enable.auto.commit\" = true\n\
         \"linger.ms\" = 5\n\"lingr.ms\" = 5\n",
    );
    assert!(config.kafka.is_some_and(|kafka| kafka.settings.is_none()));
    assert_eq!(diagnostics.len(), 2, "{diagnostics:?}");
    assert!(diagnostics[0].starts_with("weir.toml:4:24: C006 `enable.auto.commit`"), "{diagnostics:?}");
    assert!(diagnostics[1].starts_with("weir.toml:6:14: C006 `lingr.ms`"), "{diagnostics:?}");
}

#[test]
fn guard_of_playbooks_is_read() {
    let (config, diagnostics) = read(
        "[playbooks]\nmode = \"live\"\n[playbooks.never_touch]\nhosts = [\"dc-*\", \"*\"]\n\
         networks = [\"10.0.0.0/8\", \"ten\"]\n[playbooks.limits]\nper_hour = 5\n\
         per_kind_per_hour = { device = 1, devise = 2 }\n",
    );
    assert_eq!(config.playbooks.mode, Mode::Live);
    let guard = config.playbooks.guard;
    assert_eq!((guard.per_hour, guard.networks.len()), (5, 1));
    assert_eq!(guard.per_kind_per_hour[&weir_playbooks::openc2::TargetKind::Device], 1);
    assert_eq!(
        diagnostics,
        [
            "weir.toml:4:18: C003 `*` names nothing; name one, or several as in `dc-*`; `mode = \"dry-run\"` stops \
             everything",
            "weir.toml:5:27: C003 `ten` is no address or network; an address such as `10.1.2.3`, or a network such as \
             `10.0.0.0/8`",
            "weir.toml:8:44: C003 `devise` is not a kind of target; did you mean `device`?",
        ]
    );
}

#[test]
fn one_detection_may_have_the_memory_of_all_where_nothing_else_is_said() {
    let bytes = |text: &str| {
        let (config, diagnostics) = read(text);
        assert_eq!(diagnostics, Vec::<String>::new());
        (config.engine.memory_bytes >> 20, config.engine.detection_memory_bytes >> 20)
    };
    assert_eq!(bytes(""), (2048, 2048));
    assert_eq!(bytes("[engine]\nmemory_mb = 512\n"), (512, 512));
    assert_eq!(bytes("[engine]\nmemory_mb = 512\ndetection_memory_mb = 16\n"), (512, 16));
    let (_, diagnostics) = read("[engine]\ndetection_memory_mb = 0\n");
    assert_eq!(diagnostics, ["weir.toml:2:23: C003 0 is out of range; from 1 to 1048576"]);
}

#[test]
fn places_of_tables_are_folders_and_buckets() {
    let place = |url: &str| {
        let (config, diagnostics) = read(&format!("[archive]\nurl = \"{url}\"\n"));
        (config.archive.url.to_string(), diagnostics.len())
    };
    assert_eq!(place("file:./data/a"), ("file:///project/data/a/".to_owned(), 0));
    assert_eq!(place("/abs"), ("file:///abs/".to_owned(), 0));
    assert_eq!(place("s3://bucket/prefix"), ("s3://bucket/prefix".to_owned(), 0));
    assert_eq!(place("ftp://host/x"), ("file:///project/archive/".to_owned(), 1));
}

#[test]
fn responder_settings_beyond_the_known_keys_are_kept() {
    let (config, diagnostics) = read("[responders.edr]\nbase_url = \"https://edr.example\"\ntoken = \"t\"\n");
    assert_eq!(diagnostics, Vec::<String>::new());
    assert_eq!(config.responders["edr"].settings["token"].expose(), "t");
    let (_, diagnostics) = read("[responders.edr]\nbase_url = \"edr\"\n");
    assert_eq!(diagnostics.len(), 1);
}

#[test]
fn a_setting_that_a_store_does_not_have_is_refused_at_its_place() {
    let text = "[archive]\nurl = \"s3://a/x\"\n[archive.options]\naws_regoin = \"one\"\naws_region = \"one\"\n\
                [state.options]\naws_region = \"two\"\n";
    let (_, diagnostics) = read(text);
    let begins: Vec<_> = diagnostics.iter().filter_map(|text| text.split(';').next()).collect();
    assert_eq!(
        begins,
        [
            "weir.toml:4:14: C003 `aws_regoin` is no setting of the store at s3://a/x",
            "weir.toml:7:14: C003 `aws_region` is no setting of the store at file:///project/state/",
        ]
    );
}

#[test]
fn state_and_archive_have_settings_of_their_own() {
    let text = "[archive]\nurl = \"s3://a/x\"\n[archive.options]\naws_region = \"one\"\n\
                [state]\nurl = \"s3://b/y\"\n[state.options]\naws_region = \"two\"\naws_access_key_id = \"${ID}\"\n";
    let (config, diagnostics) = read_with(text, &[("ID", "key")], Need::Everything);
    assert_eq!(diagnostics, Vec::<String>::new());
    assert_eq!(exposed(&config.archive.options), [("aws_region".to_owned(), "one".to_owned())].into());
    let expected = [("aws_access_key_id", "key"), ("aws_region", "two")];
    assert_eq!(exposed(&config.state.options), expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
}
