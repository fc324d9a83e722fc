//! Claims about commands and targets.

use serde_json::json;

use super::*;

fn command(action: Action, kind: TargetKind, value: &str) -> Command {
    Command { action, target: Target::of_text(kind, value).unwrap(), args: Args::default(), command_id: "c1".into() }
}

#[test]
fn message_has_the_shape_of_the_standard() {
    let mut contain = command(Action::Contain, TargetKind::Device, "pc7");
    contain.args.duration = Some(3_600_000);
    contain.args.comment = Some("case 42".into());
    let created = Moment::from_timestamp_millis(1_545_257_700_000).unwrap();
    assert_eq!(
        contain.message(created, "soc@x", &["edr@x"]),
        json!({
            "headers": {"request_id": "c1", "created": 1_545_257_700_000_i64, "from": "soc@x", "to": ["edr@x"]},
            "body": {"openc2": {"request": {
                "action": "contain", "target": {"device": {"hostname": "pc7"}},
                "args": {"duration": 3_600_000, "response_requested": "complete", "comment": "case 42"},
                "profile": "er", "command_id": "c1"
            }}}
        })
    );
}

#[test]
fn every_action_has_an_undo_or_says_why_not() {
    for action in Action::ALL {
        let undo = command(*action, TargetKind::Device, "pc7").undo();
        match undo {
            Undo::Command(undo) => assert_eq!(undo.command_id, "c1-undo"),
            Undo::None(why) => assert!(!why.is_empty()),
        }
    }
    let undo = |action, kind, value| command(action, kind, value).undo().to_string();
    assert_eq!(undo(Action::Contain, TargetKind::Device, "pc7"), "allow device pc7");
    assert_eq!(undo(Action::Deny, TargetKind::DomainName, "Bad.Example."), "allow domain_name bad.example");
}

#[test]
fn password_reset_says_that_it_has_no_undo_and_a_disabled_account_is_enabled_again() {
    let mut set = command(Action::Set, TargetKind::Account, "mara");
    set.args.extra.insert("password".into(), "reset".into());
    assert!(matches!(set.undo(), Undo::None(why) if why.contains("old password is gone")));
    set.args.extra = Map::from_iter([("enabled".to_owned(), json!(false))]);
    let Undo::Command(undo) = set.undo() else { panic!("a disabled account can be enabled") };
    assert_eq!(undo.args.extra["enabled"], json!(true));
}

#[test]
fn account_is_an_extension_target() {
    let set = command(Action::Set, TargetKind::Account, "mara");
    assert_eq!(set.request()["target"], json!({"x-user": {"name": "mara"}}));
}

#[test]
fn value_that_is_not_of_the_kind_never_becomes_a_target() {
    for (kind, value) in [
        (TargetKind::DomainName, "com"),
        (TargetKind::DomainName, "a b.example"),
        (TargetKind::DomainName, "x.example/../admin"),
        (TargetKind::DomainName, "1.2.3.4"),
        (TargetKind::DomainName, "a%2eexample.org"),
        (TargetKind::DomainName, "x.example' OR 1=1"),
        (TargetKind::Ipv4Net, "1.2.3"),
        (TargetKind::Ipv4Net, "1.2.3.4/33"),
        (TargetKind::Ipv4Net, "1.2.3.4; reboot"),
        (TargetKind::Ipv6Net, "1.2.3.4"),
        (TargetKind::Device, "pc7/../../admin"),
        (TargetKind::Device, "pc7\r\nX-Evil: 1"),
        (TargetKind::Device, ""),
        (TargetKind::EmailAddr, "a@b@c"),
        (TargetKind::EmailAddr, "Mara <mara@x.example>"),
        (TargetKind::Uri, "not a url"),
        (TargetKind::MacAddr, "00:11:22:33:44"),
        (TargetKind::Account, "mara\u{0}"),
        (TargetKind::Ipv4Connection, "1.2.3.4"),
    ] {
        assert!(Target::of_text(kind, value).is_err(), "{kind} {value:?}");
    }
}

#[test]
fn targets_are_written_in_one_way() {
    let main = |kind, value| Target::of_text(kind, value).unwrap().main();
    assert_eq!(main(TargetKind::DomainName, "BÜCHER.example"), "xn--bcher-kva.example");
    assert_eq!(main(TargetKind::Ipv4Net, "::ffff:10.0.0.1"), "10.0.0.1");
    assert_eq!(main(TargetKind::MacAddr, "00-1A-2B-3C-4D-5E"), "00:1a:2b:3c:4d:5e");
    assert_eq!(main(TargetKind::EmailAddr, "Mara@X.Example"), "Mara@x.example");
    assert_eq!(Target::of_text(TargetKind::Process, "4711").unwrap().value, json!({"pid": 4711}));
}
