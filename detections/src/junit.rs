//! Test results as JUnit XML, which every build server reads.

use std::fmt::Write as _;

/// The cases of one test file.
#[derive(Debug, Clone)]
pub struct Suite {
    /// The file.
    pub name: String,
    /// Its cases.
    pub cases: Vec<Case>,
}

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// How long it took, where that was measured.
    pub seconds: Option<f64>,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a case ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// As expected.
    Passed,
    /// Not as expected; the text says how.
    Failed(String),
    /// Not run; the text says why.
    Skipped(String),
}

/// The XML document.
#[must_use]
pub fn xml(suites: &[Suite]) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let all = || suites.iter().flat_map(|suite| &suite.cases);
    line(&mut out, 0, &format!("<testsuites name=\"weir\"{}>", totals(all())));
    for suite in suites {
        line(&mut out, 1, &format!("<testsuite name=\"{}\"{}>", escaped(&suite.name), totals(suite.cases.iter())));
        suite.cases.iter().for_each(|case| write_case(&mut out, &suite.name, case));
        line(&mut out, 1, "</testsuite>");
    }
    line(&mut out, 0, "</testsuites>");
    out
}

fn write_case(out: &mut String, suite: &str, case: &Case) {
    let time = case.seconds.map_or_else(String::new, |seconds| format!(" time=\"{seconds:.3}\""));
    let open = format!("<testcase classname=\"{}\" name=\"{}\"{time}", escaped(suite), escaped(&case.name));
    match &case.outcome {
        Outcome::Passed => line(out, 2, &format!("{open}/>")),
        Outcome::Failed(text) => {
            line(out, 2, &format!("{open}>"));
            let first = escaped(text.lines().next().unwrap_or_default());
            line(out, 3, &format!("<failure message=\"{first}\">{}</failure>", escaped(text)));
            line(out, 2, "</testcase>");
        }
        Outcome::Skipped(text) => {
            line(out, 2, &format!("{open}>"));
            line(out, 3, &format!("<skipped message=\"{}\"/>", escaped(text)));
            line(out, 2, "</testcase>");
        }
    }
}

fn totals<'a>(cases: impl Iterator<Item = &'a Case>) -> String {
    let (mut tests, mut failures, mut skipped, mut seconds) = (0, 0, 0, 0.0);
    for case in cases {
        tests += 1;
        failures += usize::from(matches!(case.outcome, Outcome::Failed(_)));
        skipped += usize::from(matches!(case.outcome, Outcome::Skipped(_)));
        seconds += case.seconds.unwrap_or(0.0);
    }
    format!(" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\" time=\"{seconds:.3}\"")
}

fn line(out: &mut String, depth: usize, text: &str) {
    // Writing to a String cannot fail.
    writeln!(out, "{:width$}{text}", "", width = depth * 2).ok();
}

/// Text for an attribute or an element. What XML 1.0 cannot hold at all becomes U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\n' | '\t' => out.push(c),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Case, Outcome, Suite, xml};

    #[test]
    fn results_are_counted_and_hostile_text_stays_text() {
        let case = |name: &str, outcome| Case { name: name.to_owned(), seconds: Some(0.25), outcome };
        let suite = Suite {
            name: "a.test.yaml".to_owned(),
            cases: vec![
                case("fires", Outcome::Passed),
                case("<b> & \"c\"", Outcome::Failed("no alert\n  ]]> \u{1}".to_owned())),
                case("later", Outcome::Skipped("needs data".to_owned())),
            ],
        };
        let expected = "\
<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<testsuites name=\"weir\" tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\" time=\"0.750\">
  <testsuite name=\"a.test.yaml\" tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\" time=\"0.750\">
    <testcase classname=\"a.test.yaml\" name=\"fires\" time=\"0.250\"/>
    <testcase classname=\"a.test.yaml\" name=\"&lt;b&gt; &amp; &quot;c&quot;\" time=\"0.250\">
      <failure message=\"no alert\">no alert
  ]]&gt; \u{fffd}</failure>
    </testcase>
    <testcase classname=\"a.test.yaml\" name=\"later\" time=\"0.250\">
      <skipped message=\"needs data\"/>
    </testcase>
  </testsuite>
</testsuites>
";
        assert_eq!(xml(&[suite]), expected);
    }
}
