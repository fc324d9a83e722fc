//! Every code that this room refuses a text with. The engine's own, `D0xx`, are in [`weir_engine::error::codes`].

/// The header is not TOML.
pub const HEADER_SYNTAX: &str = "D101";
/// A header key that does not exist.
pub const HEADER_UNKNOWN_KEY: &str = "D102";
/// A header value of the wrong type.
pub const HEADER_WRONG_TYPE: &str = "D103";
/// A header value that is not one of those allowed.
pub const HEADER_WRONG_VALUE: &str = "D104";
/// A header key that every detection must have.
pub const HEADER_MISSING: &str = "D105";
/// A detection file without SQL.
pub const NO_SQL: &str = "D106";
/// A header line below the SQL, where it would be taken for a comment.
pub const HEADER_TOO_LATE: &str = "D107";
/// Two detections of one id.
pub const DUPLICATE_ID: &str = "D108";
/// A reserved output column with a value that it cannot have.
pub const BAD_OUTPUT: &str = "D109";
/// A parameter of the header that the SQL does not name.
pub const UNUSED_PARAMETER: &str = "D110";
/// `related` names a detection that does not exist.
pub const UNKNOWN_RELATED: &str = "D111";

/// The rule test is not YAML.
pub const TEST_SYNTAX: &str = "T001";
/// A key that does not exist in a rule test.
pub const TEST_UNKNOWN_KEY: &str = "T002";
/// A value of the wrong type in a rule test.
pub const TEST_WRONG_TYPE: &str = "T003";
/// A value that is not one of those allowed in a rule test.
pub const TEST_WRONG_VALUE: &str = "T004";
/// A key that is missing in a rule test.
pub const TEST_MISSING: &str = "T005";
/// A rule test that names a stream or table which does not exist.
pub const TEST_UNKNOWN_NAME: &str = "T006";
/// A rule test without a detection beside it.
pub const TEST_WITHOUT_DETECTION: &str = "T007";

/// A rule test that names a file which cannot be read.
pub const TEST_UNREADABLE_FILE: &str = "T008";

/// The exceptions are not YAML.
pub const EXCEPTION_SYNTAX: &str = "X001";
/// A key that does not exist in an exception.
pub const EXCEPTION_UNKNOWN_KEY: &str = "X002";
/// A value of the wrong type in an exception.
pub const EXCEPTION_WRONG_TYPE: &str = "X003";
/// A value that is not one of those allowed in an exception.
pub const EXCEPTION_WRONG_VALUE: &str = "X004";
/// A key that is missing in an exception.
pub const EXCEPTION_MISSING: &str = "X005";
/// An exception whose last day is over.
pub const EXCEPTION_EXPIRED: &str = "X006";
/// An exception about a detection that does not exist.
pub const EXCEPTION_UNKNOWN_DETECTION: &str = "X007";
/// Two exceptions of one name.
pub const EXCEPTION_DUPLICATE_NAME: &str = "X008";
