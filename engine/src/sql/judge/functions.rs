//! What is wrong with the call of a function: how many arguments it takes, and of which kinds.

use std::collections::BTreeSet;

use arrow::datatypes::DataType;
use datafusion::logical_expr::TypeSignature;
use datafusion::logical_expr_common::signature::Arity;
use datafusion::sql::sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::Text;
use crate::error::{Diagnostic, codes};
use crate::sql::functions::FUNCTIONS;
use crate::sql::types::type_name;

/// A call that has no type, though its arguments have.
pub(super) fn of(
    type_of: &dyn Fn(&Expr) -> Option<DataType>,
    text: &Text<'_>,
    function: &Function,
    whole: &Expr,
    message: &str,
) -> Diagnostic {
    let name = function.name.to_string().trim_matches('"').to_lowercase();
    let args = arguments(&function.args);
    if let Some(own) = own_words(message) {
        return own.at(constant_of(&args, message).or(Some(whole)).and_then(|expr| text.whole(expr)));
    }
    let counts = signature(&name).and_then(counts);
    if args.is_empty() || counts.as_ref().is_some_and(|counts| !counts.contains(&args.len())) {
        let message = match counts {
            Some(counts) => {
                format!("`{name}` takes {}, and {} given", arguments_in_words(&counts), number(args.len()))
            }
            None => format!("`{name}` is called without arguments"),
        };
        return Diagnostic::error(codes::WRONG_TYPE, message).at(text.whole(whole)).maybe_hint(form(&name));
    }
    let types: Vec<DataType> = args.iter().map(|arg| type_of(arg).unwrap_or(DataType::Null)).collect();
    wrong_kind(text, &name, whole, &args, &types, message)
}

/// The message for arguments of which at least one is of a kind that is not taken.
fn wrong_kind(
    text: &Text<'_>,
    name: &str,
    whole: &Expr,
    args: &[&Expr],
    types: &[DataType],
    message: &str,
) -> Diagnostic {
    let wanted = wanted(message);
    let is_told = |data_type: &DataType| message.contains(&format!("(DataType: {data_type})"));
    let told: Vec<usize> = (0..args.len()).filter(|at| args.len() == 1 || is_told(&types[*at])).collect();
    let ([at], false) = (&told[..], wanted.is_empty()) else {
        let types = types.iter().map(type_name).collect::<Vec<_>>().join(" and ");
        let message = format!("`{name}` does not take {types}");
        return Diagnostic::error(codes::WRONG_TYPE, message).at(text.whole(whole)).maybe_hint(form(name));
    };
    let here = if args.len() > 1 { " here" } else { "" };
    let message = format!("`{name}` takes {}{here}, not {}", wanted.join(" or "), type_name(&types[*at]));
    let quoted = text.quoted(args[*at]);
    let hint = if types[*at].is_string() && wanted.contains(&NUMBER) {
        Some(format!("make a number of it with CAST({quoted} AS DOUBLE)"))
    } else if wanted == [TEXT] && types[*at].is_numeric() {
        Some(format!("make a text of it with CAST({quoted} AS STRING)"))
    } else {
        form(name)
    };
    Diagnostic::error(codes::WRONG_TYPE, message).at(text.whole(args[*at])).maybe_hint(hint)
}

/// What a function of ours says of its arguments.
fn own_words(message: &str) -> Option<Diagnostic> {
    let (_, rest) = message.split_once('`')?;
    let rest = rest.split(". No function matches").next()?;
    let code = if rest.contains("` cannot read '") { codes::PLAN } else { codes::WRONG_TYPE };
    let (message, hint) = rest.rsplit_once("; write ")?;
    Some(Diagnostic::error(code, format!("`{message}")).hint(format!("write {hint}")))
}

/// The constant that a message is about.
fn constant_of<'a>(args: &[&'a Expr], message: &str) -> Option<&'a Expr> {
    let is_meant =
        |arg: &Expr| matches!(arg, Expr::Value(value) if message.contains(&format!("cannot read {}", value.value)));
    args.iter().copied().find(|arg| is_meant(arg))
}

pub(super) fn arguments(arguments: &FunctionArguments) -> Vec<&Expr> {
    let FunctionArguments::List(list) = arguments else { return vec![] };
    let plain = list.args.iter().filter_map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    plain.collect()
}

fn signature(name: &str) -> Option<&'static TypeSignature> {
    let scalar = FUNCTIONS.scalar.get(name).map(|function| &function.signature().type_signature);
    let aggregate = || FUNCTIONS.aggregate.get(name).map(|function| &function.signature().type_signature);
    let window = || FUNCTIONS.window.get(name).map(|function| &function.signature().type_signature);
    scalar.or_else(aggregate).or_else(window)
}

/// How many arguments can be given, where that is a list of numbers.
fn counts(signature: &TypeSignature) -> Option<BTreeSet<usize>> {
    if let TypeSignature::OneOf(several) = signature {
        let several: Option<Vec<_>> = several.iter().map(counts).collect();
        return Some(several?.into_iter().flatten().collect());
    }
    match signature.arity() {
        Arity::Fixed(count) => Some(BTreeSet::from([count])),
        Arity::Variable => None,
    }
}

fn arguments_in_words(counts: &BTreeSet<usize>) -> String {
    let numbers = counts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
    format!("{numbers} argument{}", if numbers == "1" { "" } else { "s" })
}

fn number(count: usize) -> String {
    match count {
        0 => "none is".to_owned(),
        1 => "1 is".to_owned(),
        several => format!("{several} are"),
    }
}

/// How a function is called.
fn form(name: &str) -> Option<String> {
    let scalar = FUNCTIONS.scalar.get(name).and_then(|function| function.documentation());
    let aggregate = || FUNCTIONS.aggregate.get(name).and_then(|function| function.documentation());
    let window = || FUNCTIONS.window.get(name).and_then(|function| function.documentation());
    let documentation = scalar.or_else(aggregate).or_else(window)?;
    let form = documentation.syntax_example.lines().next()?.trim();
    (!form.is_empty()).then(|| format!("write {form}"))
}

const NUMBER: &str = "a number";
const TEXT: &str = "a text";

/// The kinds of values that would be taken, each once.
fn wanted(message: &str) -> Vec<&'static str> {
    let asked = message.split("requires ").skip(1).chain(message.split("expects ").skip(1));
    let words = asked.filter_map(|rest| rest.split([',', ' ']).next());
    let mut kinds: Vec<&'static str> = vec![];
    for kind in words.filter_map(kind) {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds
}

fn kind(word: &str) -> Option<&'static str> {
    Some(match word.split('(').next().unwrap_or(word) {
        "Decimal" | "Integer" | "Numeric" | "Float" => NUMBER,
        number if number.starts_with("Int") && number != "Interval" => NUMBER,
        number if number.starts_with("UInt") || number.starts_with("Float") => NUMBER,
        "String" | "Utf8" | "Utf8View" | "LargeUtf8" => TEXT,
        "Timestamp" | "Date" | "Date32" | "Time" => "a time",
        "Duration" | "Interval" => "a span of time",
        "Boolean" => "TRUE or FALSE",
        "Binary" | "BinaryView" => "bytes",
        "List" | "Array" => "a list",
        _ => return None,
    })
}
