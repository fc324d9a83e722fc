//! Which security settings of a client go together. librdkafka would refuse many of these mistakes only with a time-out.

use std::collections::BTreeMap;

use super::settings::{SettingProblem, problem};

const PROTOCOLS: [&str; 4] = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];
const MECHANISMS: [&str; 5] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "GSSAPI"];

/// Checks the settings that say how a client proves who it is.
pub(super) fn check(client: &BTreeMap<String, String>, problems: &mut Vec<SettingProblem>) {
    let get = |key: &str| client.get(key).map(String::as_str);
    let protocol = get("security.protocol").unwrap_or("PLAINTEXT").to_ascii_uppercase();
    if !PROTOCOLS.contains(&protocol.as_str()) {
        let message = format!("`{protocol}` is none of {}", PROTOCOLS.join(", "));
        problems.push(problem("security.protocol", message, None));
        return;
    }
    let (uses_sasl, uses_tls) = (protocol.starts_with("SASL"), protocol.ends_with("SSL"));
    let without = |uses: bool, prefix: &str, wanted: &str| {
        let stray = client.keys().find(|key| !uses && key.starts_with(prefix))?;
        let message = format!("has no effect while `security.protocol` is {protocol}");
        Some(problem(stray, message, Some(&format!("set `security.protocol` to {wanted}, or remove it"))))
    };
    problems.extend(without(uses_sasl, "sasl.", "SASL_SSL"));
    problems.extend(without(uses_tls, "ssl.", if uses_sasl { "SASL_SSL" } else { "SSL" }));
    if get("ssl.certificate.location").is_some() && get("ssl.key.location").or(get("ssl.key.pem")).is_none() {
        problems.push(problem(
            "ssl.certificate.location",
            "a certificate needs its key",
            Some("set `ssl.key.location`"),
        ));
    }
    if uses_sasl {
        check_sasl(client, problems);
    }
}

fn check_sasl(client: &BTreeMap<String, String>, problems: &mut Vec<SettingProblem>) {
    let get = |key: &str| client.get(key).map(String::as_str);
    let Some(mechanism) = get("sasl.mechanism").or(get("sasl.mechanisms")) else {
        let hint = format!("set `sasl.mechanism` to one of {}", MECHANISMS.join(", "));
        problems.push(problem("sasl.mechanism", "SASL needs a mechanism", Some(&hint)));
        return;
    };
    let mut require = |key: &str| {
        if get(key).is_none_or(str::is_empty) {
            problems.push(problem(key, format!("{mechanism} needs it"), None));
        }
    };
    match mechanism.to_ascii_uppercase().as_str() {
        "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512" => {
            require("sasl.username");
            require("sasl.password");
        }
        "OAUTHBEARER" => {
            let is_unsecure = get("enable.sasl.oauthbearer.unsecure.jwt") == Some("true");
            if !is_unsecure {
                require("sasl.oauthbearer.token.endpoint.url");
                require("sasl.oauthbearer.client.id");
                require("sasl.oauthbearer.client.secret");
            }
        }
        "GSSAPI" if cfg!(feature = "gssapi") => require("sasl.kerberos.service.name"),
        "GSSAPI" => {
            let hint = "build Weir with `--features gssapi`, which needs the SASL headers of the system";
            problems.push(problem("sasl.mechanism", "this build cannot speak Kerberos", Some(hint)));
        }
        _ => {
            let message = format!("`{mechanism}` is none of {}", MECHANISMS.join(", "));
            problems.push(problem("sasl.mechanism", message, None));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(client: &[(&str, &str)]) -> Vec<String> {
        let client = client.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let mut problems = Vec::new();
        check(&client, &mut problems);
        problems.into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn settings_that_do_not_go_together_are_refused() {
        let sasl = ("security.protocol", "sasl_ssl");
        assert_eq!(keys(&[("security.protocol", "TLS")]), ["security.protocol"]);
        assert_eq!(keys(&[sasl]), ["sasl.mechanism"]);
        assert_eq!(keys(&[sasl, ("sasl.mechanism", "SCRAM")]), ["sasl.mechanism"]);
        assert_eq!(keys(&[sasl, ("sasl.mechanism", "PLAIN"), ("sasl.username", "u")]), ["sasl.password"]);
        assert_eq!(keys(&[("sasl.password", "x")]), ["sasl.password"]);
        assert_eq!(keys(&[("ssl.ca.location", "/ca")]), ["ssl.ca.location"]);
        assert_eq!(
            keys(&[("security.protocol", "SSL"), ("ssl.certificate.location", "/c")]),
            ["ssl.certificate.location"]
        );
        assert_eq!(keys(&[sasl, ("sasl.mechanism", "OAUTHBEARER")]).len(), 3);
    }

    #[test]
    fn settings_that_go_together_pass() {
        let sasl = ("security.protocol", "SASL_SSL");
        let user = [("sasl.username", "u"), ("sasl.password", "p")];
        assert!(keys(&[]).is_empty());
        assert!(keys(&[("security.protocol", "ssl"), ("ssl.ca.location", "/ca")]).is_empty());
        assert!(keys(&[sasl, ("sasl.mechanisms", "SCRAM-SHA-512"), user[0], user[1]]).is_empty());
        let unsecure = ("enable.sasl.oauthbearer.unsecure.jwt", "true");
        assert!(keys(&[sasl, ("sasl.mechanism", "OAUTHBEARER"), unsecure]).is_empty());
    }
}
