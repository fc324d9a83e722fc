//! Claims about the guard.

use super::*;
use crate::openc2::{Action, Args, Target};
use crate::sample::at;

fn command(action: Action, kind: TargetKind, value: &str) -> Command {
    Command { action, target: Target::of_text(kind, value).unwrap(), args: Args::default(), command_id: "c".into() }
}

fn guard() -> Guard {
    Guard::new(Rules {
        hosts: vec!["dc-*".into(), "mail01.corp.example".into()],
        users: vec!["svc-*".into(), "ceo".into()],
        networks: vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
        domains: vec!["corp.example".into()],
        ..Rules::default()
    })
}

fn verdict(action: Action, kind: TargetKind, value: &str) -> Result<(), Refusal> {
    guard().check("p", &command(action, kind, value), at(0))
}

#[test]
fn what_is_on_a_never_touch_list_is_refused_however_it_is_written() {
    use TargetKind::{Account, Device, DomainName, EmailAddr, Ipv4Net, Ipv6Net, Uri};
    for (action, kind, value) in [
        (Action::Contain, Device, "DC-01"),
        (Action::Contain, Device, "dc-01.elsewhere.example"),
        (Action::Contain, Device, "mail01"),
        (Action::Contain, Device, "10.1.2.3"),
        (Action::Set, Account, "CORP\\svc-backup"),
        (Action::Set, Account, "CEO@other.example"),
        (Action::Delete, EmailAddr, "ceo@other.example"),
        (Action::Deny, Ipv4Net, "10.200.0.0/24"),
        (Action::Deny, Ipv4Net, "::ffff:10.1.1.1"),
        (Action::Deny, Ipv6Net, "2001:db8:1::/48"),
        (Action::Deny, Ipv6Net, "::ffff:10.0.0.0/124"),
        (Action::Deny, DomainName, "mail.CORP.example"),
        (Action::Deny, Uri, "https://www.corp.example/x"),
        (Action::Deny, Uri, "http://10.0.0.1/"),
    ] {
        assert!(matches!(verdict(action, kind, value), Err(Refusal::NeverTouch { .. })), "{action} {kind} {value}");
    }
}

#[test]
fn domain_above_a_protected_one_is_protected_too() {
    let mut guard = Guard::new(Rules { domains: vec!["mail.corp.example".into()], ..Rules::default() });
    assert!(guard.check("p", &command(Action::Deny, TargetKind::DomainName, "corp.example"), at(0)).is_err());
    assert!(guard.check("p", &command(Action::Deny, TargetKind::DomainName, "web.corp.example"), at(0)).is_ok());
}

#[test]
fn what_looks_like_it_but_is_not_passes() {
    use TargetKind::{Device, DomainName, Ipv4Net};
    for (kind, value) in [
        (Device, "ws-dc-01"),
        (DomainName, "notcorp.example"),
        (Ipv4Net, "11.0.0.1"),
        (DomainName, "corp.example.evil.test"),
    ] {
        assert_eq!(verdict(Action::Deny, kind, value), Ok(()), "{value}");
    }
}

#[test]
fn releasing_is_never_refused_by_a_list() {
    assert_eq!(verdict(Action::Allow, TargetKind::Device, "dc-01"), Ok(()));
}

#[test]
fn half_of_the_internet_is_not_blocked() {
    assert!(matches!(verdict(Action::Deny, TargetKind::Ipv4Net, "0.0.0.0/1"), Err(Refusal::TooLarge(_))));
    assert!(matches!(verdict(Action::Deny, TargetKind::Ipv6Net, "::/0"), Err(Refusal::TooLarge(_))));
}

#[test]
fn hourly_limit_holds_per_kind_over_all_playbooks_and_frees_after_an_hour() {
    let mut guard =
        Guard::new(Rules { per_kind_per_hour: BTreeMap::from([(TargetKind::Device, 2)]), ..Rules::default() });
    let contain = command(Action::Contain, TargetKind::Device, "ws1");
    for playbook in ["a", "b"] {
        guard.check(playbook, &contain, at(0)).unwrap();
        guard.count(playbook, &contain, at(0));
    }
    assert!(matches!(guard.check("c", &contain, at(3_599)), Err(Refusal::TooMany { limit: 2, .. })));
    assert_eq!(guard.check("c", &contain, at(3_600)), Ok(()));
}

#[test]
fn hourly_limit_holds_per_playbook() {
    let mut guard = Guard::new(Rules { per_playbook_per_hour: 1, ..Rules::default() });
    let deny = command(Action::Deny, TargetKind::DomainName, "bad.test");
    guard.count("a", &deny, at(0));
    assert!(matches!(guard.check("a", &deny, at(1)), Err(Refusal::TooMany { .. })));
    assert_eq!(guard.check("b", &deny, at(1)), Ok(()));
}

#[test]
fn one_list_of_anything_protects_what_it_names() {
    let mut rules = Rules::default();
    for entry in ["10.0.0.0/8", "ceo@corp.example", "*.corp.example", "dc-*", "*-adm"] {
        rules.never_touch(entry);
    }
    let mut guard = Guard::new(rules);
    let mut refused = |action, kind, value| guard.check("p", &command(action, kind, value), at(0)).is_err();
    assert!(refused(Action::Deny, TargetKind::Ipv4Net, "10.9.9.9"));
    assert!(refused(Action::Set, TargetKind::Account, "ceo@corp.example"));
    assert!(refused(Action::Deny, TargetKind::DomainName, "www.corp.example"));
    assert!(refused(Action::Contain, TargetKind::Device, "dc-7"));
    assert!(refused(Action::Set, TargetKind::Account, "kim-adm"));
    assert!(!refused(Action::Contain, TargetKind::Device, "ws17"));
}

#[test]
fn hourly_limit_holds_over_all_playbooks_and_kinds() {
    let mut guard = Guard::new(Rules { per_hour: 1, ..Rules::default() });
    guard.count("a", &command(Action::Contain, TargetKind::Device, "ws1"), at(0));
    assert!(guard.check("b", &command(Action::Deny, TargetKind::DomainName, "bad.test"), at(1)).is_err());
}

#[test]
fn what_is_taken_back_frees_every_limit_and_leaves_what_others_sent() {
    let deny = command(Action::Deny, TargetKind::DomainName, "bad.test");
    let kind = BTreeMap::from([(TargetKind::DomainName, 2)]);
    let none = Rules { per_hour: 9, per_playbook_per_hour: 9, per_other_kind_per_hour: 9, ..Rules::default() };
    for rules in [
        Rules { per_hour: 2, ..none.clone() },
        Rules { per_playbook_per_hour: 2, ..none.clone() },
        Rules { per_kind_per_hour: kind, ..none },
    ] {
        let mut guard = Guard::new(rules.clone());
        guard.count("p", &deny, at(0));
        guard.count("p", &deny, at(10));
        assert!(guard.check("p", &deny, at(11)).is_err(), "{rules:?}");
        guard.take_back("p", &deny, at(5));
        assert!(guard.check("p", &deny, at(11)).is_err(), "nothing was counted then: {rules:?}");
        guard.take_back("p", &deny, at(0));
        assert_eq!(guard.check("p", &deny, at(11)), Ok(()), "{rules:?}");
        guard.count("p", &deny, at(11));
        assert!(guard.check("p", &deny, at(3_600)).is_err(), "the one at 10 still counts: {rules:?}");
    }
}
