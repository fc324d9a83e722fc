//! Functions that detections need and DataFusion does not have.
//!
//! All are total: NULL in gives NULL out, a value that cannot be read gives NULL, and nothing that data can contain is an
//! error. A pattern that an author wrote as a constant is read once per batch; one that cannot be read is refused when
//! the query is planned, because it would be NULL for ever.

mod address;
mod content;
mod domain;
mod fields;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, StringViewArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use address::{Network, is_private, parse_address};
use fields::{Path, Separators, UrlPart};

/// All of them.
pub(super) fn functions() -> Vec<ScalarUDF> {
    Function::ALL.into_iter().map(|function| ScalarUDF::new_from_impl(SecurityFunction::new(function))).collect()
}

/// What can be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Function {
    /// `cidr_match(ip, cidr)`: whether an address is in a network.
    CidrMatch,
    /// `ip_in_private(ip)`: whether an address means nothing outside its own network.
    IpInPrivate,
    /// `domain_suffix(domain, suffix)`: whether a domain is `suffix` or below it.
    DomainSuffix,
    /// `registered_domain(domain)`: the part of a domain that somebody registered, by the public suffix list.
    RegisteredDomain,
    /// `entropy(text)`: Shannon entropy in bits per character.
    Entropy,
    /// `decode_base64(text)`: the text behind Base64.
    DecodeBase64,
    /// `parse_url(url, part)`: scheme, host, port, path, query or fragment of a URL.
    ParseUrl,
    /// `parse_kv(text, key [, pair_sep [, kv_sep]])`: a value out of `key=value` pairs.
    ParseKv,
    /// `json_get(text, path)`: a value out of JSON in text.
    JsonGet,
}

impl Function {
    const ALL: [Self; 9] = [
        Self::CidrMatch,
        Self::IpInPrivate,
        Self::DomainSuffix,
        Self::RegisteredDomain,
        Self::Entropy,
        Self::DecodeBase64,
        Self::ParseUrl,
        Self::ParseKv,
        Self::JsonGet,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::CidrMatch => "cidr_match",
            Self::IpInPrivate => "ip_in_private",
            Self::DomainSuffix => "domain_suffix",
            Self::RegisteredDomain => "registered_domain",
            Self::Entropy => "entropy",
            Self::DecodeBase64 => "decode_base64",
            Self::ParseUrl => "parse_url",
            Self::ParseKv => "parse_kv",
            Self::JsonGet => "json_get",
        }
    }

    /// How it is called, for messages.
    const fn usage(self) -> &'static str {
        match self {
            Self::CidrMatch => "cidr_match(ip, '10.0.0.0/8')",
            Self::IpInPrivate => "ip_in_private(ip)",
            Self::DomainSuffix => "domain_suffix(domain, 'example.com')",
            Self::RegisteredDomain => "registered_domain(domain)",
            Self::Entropy => "entropy(text)",
            Self::DecodeBase64 => "decode_base64(text)",
            Self::ParseUrl => "parse_url(url, 'host'), of scheme, host, port, path, query and fragment",
            Self::ParseKv => "parse_kv(text, 'key'), and if need be a separator of pairs and one of key and value",
            Self::JsonGet => "json_get(text, 'a.b[0].c')",
        }
    }

    const fn takes(self, arguments: usize) -> bool {
        match self {
            Self::IpInPrivate | Self::RegisteredDomain | Self::Entropy | Self::DecodeBase64 => arguments == 1,
            Self::CidrMatch | Self::DomainSuffix | Self::ParseUrl | Self::JsonGet => arguments == 2,
            Self::ParseKv => 2 <= arguments && arguments <= 4,
        }
    }

    const fn gives(self) -> DataType {
        match self {
            Self::CidrMatch | Self::IpInPrivate | Self::DomainSuffix => DataType::Boolean,
            Self::Entropy => DataType::Float64,
            _ => DataType::Utf8View,
        }
    }

    /// Whether a constant argument, counted from 0, can be read.
    fn reads(self, argument: usize, constant: &str) -> bool {
        match (self, argument) {
            (Self::CidrMatch, 1) => Network::parse(constant).is_some(),
            (Self::DomainSuffix, 1) => domain::Suffix::parse(constant).is_some(),
            (Self::ParseUrl, 1) => UrlPart::parse(constant).is_some(),
            (Self::JsonGet, 1) => Path::parse(constant).is_some(),
            (Self::ParseKv, 2 | 3) => !constant.is_empty(),
            _ => true,
        }
    }

    /// Whether a constant argument is a network where an address belongs: then the arguments are in the wrong order.
    fn is_network_for_address(self, argument: usize, constant: &str) -> bool {
        self == Self::CidrMatch
            && argument == 0
            && parse_address(constant).is_none()
            && Network::parse(constant).is_some()
    }

    fn call(self, args: &[Texts], rows: usize) -> ArrayRef {
        match self {
            Self::CidrMatch => booleans(with_pattern(args, rows, Network::parse, |text, network| {
                Some(network.holds(parse_address(text)?))
            })),
            Self::IpInPrivate => booleans(of_one(args, rows, |text| Some(is_private(parse_address(text)?)))),
            Self::DomainSuffix => {
                booleans(with_pattern(args, rows, domain::Suffix::parse, |text, suffix| suffix.holds(text)))
            }
            Self::RegisteredDomain => texts(of_one(args, rows, |text| domain::registered(text).map(Cow::Owned))),
            Self::Entropy => {
                Arc::new(of_one(args, rows, |text| Some(content::entropy(text))).collect::<Float64Array>())
            }
            Self::DecodeBase64 => texts(of_one(args, rows, |text| content::decode_base64(text).map(Cow::Owned))),
            Self::ParseUrl => {
                texts(with_pattern(args, rows, UrlPart::parse, |text, part| part.of(text).map(Cow::Owned)))
            }
            Self::ParseKv => texts((0..rows).map(|row| {
                let (text, key) = (args[0].get(row)?, args[1].get(row)?);
                let pair = args.get(2).map_or(Some(None), |separator| separator.get(row).map(Some))?;
                let value = args.get(3).map_or(Some("="), |separator| separator.get(row))?;
                Separators::new(pair, value)?.find(text, key)
            })),
            Self::JsonGet => texts(with_pattern(args, rows, Path::parse, |text, path| path.of(text).map(Cow::Owned))),
        }
    }
}

/// One of the functions as DataFusion knows it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SecurityFunction {
    function: Function,
    signature: Signature,
}

impl SecurityFunction {
    fn new(function: Function) -> Self {
        Self { function, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for SecurityFunction {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.function.gives())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        for (index, constant) in args.scalar_arguments.iter().enumerate() {
            let Some(Some(text)) = constant.and_then(ScalarValue::try_as_str) else { continue };
            if self.function.is_network_for_address(index, text) {
                let usage = format!("cidr_match(ip, '{text}'), the network behind the address");
                return plan_err!("`{}` cannot read '{text}' as an address; write {usage}", self.name());
            }
            if !self.function.reads(index, text) {
                return plan_err!("`{}` cannot read '{text}'; write {}", self.name(), self.function.usage());
            }
        }
        Ok(Arc::new(Field::new(self.name(), self.function.gives(), true)))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let all_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if all_constant { 1 } else { args.number_rows };
        let texts = args.args.into_iter().map(Texts::try_from).collect::<Result<Vec<_>>>()?;
        let values = self.function.call(&texts, rows);
        Ok(if all_constant {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?)
        } else {
            ColumnarValue::Array(values)
        })
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let is_text = |data_type: &DataType| {
            matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null)
        };
        if !self.function.takes(arg_types.len()) {
            let count = match arg_types.len() {
                1 => "1 argument".to_owned(),
                several => format!("{several} arguments"),
            };
            return plan_err!("`{}` does not take {count}; write {}", self.name(), self.function.usage());
        }
        match arg_types.iter().find(|data_type| !is_text(data_type)) {
            Some(other) => {
                let other = crate::sql::types::type_name(other);
                plan_err!("`{}` takes text, not {other}; write {}", self.name(), self.function.usage())
            }
            // A constant stays a constant: a cast around it would hide it from the check of `return_field_from_args`.
            None => Ok(arg_types
                .iter()
                .map(|given| if given.is_null() { DataType::Utf8View } else { given.clone() })
                .collect()),
        }
    }
}

/// The texts of one argument.
enum Texts {
    Constant(Option<String>),
    Column(StringViewArray),
}

impl TryFrom<ColumnarValue> for Texts {
    type Error = datafusion::error::DataFusionError;

    fn try_from(value: ColumnarValue) -> Result<Self> {
        Ok(match value {
            ColumnarValue::Scalar(constant) => Self::Constant(constant.try_as_str().flatten().map(str::to_owned)),
            ColumnarValue::Array(column) => Self::Column(cast(&column, &DataType::Utf8View)?.as_string_view().clone()),
        })
    }
}

impl Texts {
    fn get(&self, row: usize) -> Option<&str> {
        match self {
            Self::Constant(constant) => constant.as_deref(),
            Self::Column(column) => column.is_valid(row).then(|| column.value(row)),
        }
    }
}

/// One value per row from the first argument.
fn of_one<'a, R>(
    args: &'a [Texts],
    rows: usize,
    value: impl Fn(&'a str) -> Option<R>,
) -> impl Iterator<Item = Option<R>> {
    (0..rows).map(move |row| args[0].get(row).and_then(&value))
}

/// One value per row from the first argument and the pattern in the second, which is parsed once where it is constant.
fn with_pattern<'a, P: 'a, R: 'a>(
    args: &'a [Texts],
    rows: usize,
    parse: impl Fn(&str) -> Option<P> + 'a,
    value: impl Fn(&'a str, &P) -> Option<R> + 'a,
) -> Box<dyn Iterator<Item = Option<R>> + 'a> {
    match &args[1] {
        Texts::Constant(constant) => {
            let pattern = constant.as_deref().and_then(parse);
            Box::new((0..rows).map(move |row| value(args[0].get(row)?, pattern.as_ref()?)))
        }
        Texts::Column(_) => Box::new((0..rows).map(move |row| {
            let (text, pattern) = (args[0].get(row)?, args[1].get(row)?);
            value(text, &parse(pattern)?)
        })),
    }
}

fn booleans(values: impl Iterator<Item = Option<bool>>) -> ArrayRef {
    Arc::new(values.collect::<BooleanArray>())
}

fn texts<'a>(values: impl Iterator<Item = Option<Cow<'a, str>>>) -> ArrayRef {
    let mut builder = StringViewBuilder::new();
    values.for_each(|value| builder.append_option(value));
    Arc::new(builder.finish())
}
